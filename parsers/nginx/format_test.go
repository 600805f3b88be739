package nginx_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/nginx"
	"github.com/auditail/auditail/parsers/parsertest"
)

func withFormat(t testing.TB, format string) *nginx.Parser {
	t.Helper()
	p, err := nginx.New(nginx.Config{Config: parsers.Config{Name: "nginx", Provider: "vllm"}, Format: format})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const ownFormat = `$time_iso8601 rid=$request_id $remote_addr $upstream_addr "$request" $status $body_bytes_sent $request_time "$http_user_agent"`

// TestFormat: values stand where the format says.
func TestFormat(t *testing.T) {
	for _, c := range []struct{ format, line, want string }{
		{
			ownFormat, `2026-11-21T09:06:34+00:00 rid=4f3a 10.0.0.1 10.1.0.5:80 "POST /v1/embeddings HTTP/1.1" 200 15 0.004 "curl/8.5"`,
			"2026-11-21T09:06:34Z|10.0.0.1|4f3a|/v1/embeddings|200|4|curl/8.5|",
		},
		{
			ownFormat, `2026-11-21T09:06:34+00:00 rid=4f3a 10.0.0.1 10.1.0.5:80, 10.1.0.6:80 : unix:/run/s "POST /v1/embeddings HTTP/1.1" 502 15 0.004 "a \x22b\x22"`,
			`2026-11-21T09:06:34Z|10.0.0.1|4f3a|/v1/embeddings|502|4|a "b"|`,
		},
		{
			`$remote_addr - $remote_user $time_local "$request_method" "$uri" $status`, `10.0.0.1 - john doe 21/Nov/2026:09:06:34 +0000 "GET" "/v1/a b" 404`, "",
		},
		{
			`$remote_addr ($remote_user) $time_local "$request_method" "$uri" $status end`, `10.0.0.1 (john doe) 21/Nov/2026:09:06:34 +0000 "GET" "/v1/a b" 404 end`,
			"2026-11-21T09:06:34Z|10.0.0.1||/v1/a b|404|0||john doe",
		},
		// A line in another format is read as without one; one in none is unparsed.
		{
			ownFormat, `10.0.0.2 - - [21/Nov/2026:09:06:34 +0000] "GET /v1/models HTTP/1.1" 200 15`,
			"2026-11-21T09:06:34Z|10.0.0.2||/v1/models|200|0||",
		},
		{ownFormat, `2026-11-21T09:06:34+00:00 rid=4f3a 10.0.0.1 10.1.0.5:80 "POST /v1/embeddings HTTP/1.1" 200 15 0.004 "curl`, ""},
		{ownFormat, `yesterday rid=4f3a 10.0.0.1 10.1.0.5:80 "POST /v1/embeddings HTTP/1.1" 200 15 0.004 "curl/8.5"`, ""},
	} {
		drafts, _ := parsertest.Parse(t, withFormat(t, c.format), parsers.Line{Data: []byte(c.line)})
		got := ""
		for i := range drafts {
			r := &drafts[i].Record
			got = strings.Join([]string{
				string(r.Text(audit.Time)), string(r.Text(audit.ClientIP)), string(r.Text(audit.SessionRequestID)), string(r.Text(audit.APIPath)),
				number(r.Int(audit.APIStatus)), number(r.Int(audit.UsageDurationMs)), string(r.Text(audit.ClientUserAgent)), string(r.Text(audit.ActorID)),
			}, "|")
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func TestBadFormat(t *testing.T) {
	for format, want := range map[string]string{
		`$remote_addr $request`:               "",
		`$request $status`:                    "$request must stand in quotes",
		`"$request" $http_user_agent $status`: "$http_user_agent must stand in quotes",
		`"$request" $status$request_time`:     "nothing stands between $status and $request_time",
		`"$request" $`:                        "a $ has no name",
		`$remote_addr $status`:                "has none of $request",
		`{"a":"$request"}`:                    "JSON is read by the names",
	} {
		_, err := nginx.New(nginx.Config{Format: format})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", format, err, want)
		}
	}
}

// TestFormatProves: a certificate that the server verified proves who called only
// where no client can move the border of fields.
func TestFormatProves(t *testing.T) {
	for format, line := range map[string]string{
		`$remote_addr "$remote_user" "$request" $status $ssl_client_verify "$ssl_client_s_dn"`: `10.0.0.1 "-" "GET /v1/models HTTP/1.1" 200 SUCCESS "CN=alice"`,
		`$remote_addr $remote_user "$request" $status $ssl_client_verify "$ssl_client_s_dn"`:   `10.0.0.1 - "GET /v1/models HTTP/1.1" 200 SUCCESS "CN=alice"`,
	} {
		drafts, _ := parsertest.Parse(t, withFormat(t, format), parsers.Line{Data: []byte(line)})
		if len(drafts) != 1 || drafts[0].Record.Bool(audit.ActorVerified) != strings.Contains(format, `"$remote_user"`) {
			t.Errorf("%s: %d records", format, len(drafts))
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte(`2026-11-21T09:06:34+00:00 rid=4f3a 10.0.0.1 10.1.0.5:80, 10.1.0.6:80 "POST /v1/embeddings HTTP/1.1" 200 15 0.004 "curl/8.5"`))
	p := withFormat(f, ownFormat)
	f.Fuzz(func(t *testing.T, data []byte) { parsertest.Parse(t, p, parsers.Line{Data: data}) })
}
