package nginx_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/nginx"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

// keyID stands for the keyed fingerprint.
func keyID(dst, key []byte) []byte {
	sum := sha256.Sum256(key)
	return hex.AppendEncode(append(dst, "k_"...), sum[:4])
}

func newParser(t testing.TB) *nginx.Parser {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p, err := nginx.New(nginx.Config{Config: parsers.Config{Name: "nginx", Provider: "vllm", Location: zone, KeyID: keyID}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func logs(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) == 0 {
		t.Fatal("no logs", err)
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(filepath.Base(name), ".log")
	}
	return names
}

func lines(t testing.TB, name string) []parsers.Line {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return parsertest.Lines(name, log)
}

func TestGolden(t *testing.T) {
	for _, name := range logs(t) {
		t.Run(name, func(t *testing.T) { parsertest.Golden(t, newParser(t), name) })
	}
}

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	p := newParser(t)
	trace := p.Trace()
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true, audit.ModelProvider: true,
	}
	for _, name := range logs(t) {
		for _, line := range lines(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				for _, f := range audit.Fields() {
					if drafts[i].Record.Has(f) && trace[f] == "" && !derived[f] {
						t.Errorf("%s has no source", f)
					}
				}
			}
		}
	}
}

// TestNoKey: no part of a key that a line carries reaches a record.
func TestNoKey(t *testing.T) {
	p := newParser(t)
	for _, name := range logs(t) {
		for _, line := range lines(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				record := drafts[i].Record.Append(nil, 0)
				for _, secret := range []string{"sk-", "YWxpY2U6cHc", "Bearer"} {
					if bytes.Contains(record, []byte(secret)) {
						t.Errorf("%s\nkeeps a key: %s", line.Data, record)
					}
				}
			}
		}
	}
}

// TestCut: the head of a line beyond max_line is used when it holds the status.
func TestCut(t *testing.T) {
	p := newParser(t)
	for _, head := range []string{
		`10.0.0.1 - - [21/Nov/2026:09:06:34 +0000] "GET /v1/models HTTP/1.1" 200 1 "-" "long age`,
		`{"remote_addr":"10.0.0.1","request":"GET /v1/models HTTP/1.1","status":200,"http_user_agent":"long age`,
		`status=200 path=/v1/models method=GET user=ali`,
	} {
		drafts, _ := parsertest.Parse(t, p, parsers.Line{Data: []byte(head), Cut: true})
		if len(drafts) != 1 || drafts[0].Record.Flags()&audit.Truncated == 0 || drafts[0].Record.Int(audit.APIStatus) != 200 {
			t.Fatalf("%s: %d records", head, len(drafts))
		}
		if drafts[0].Record.Has(audit.ActorID) {
			t.Errorf("%s: half a user was taken as one", head)
		}
	}
	if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(`10.0.0.1 - - [21/Nov/2026:09:06:34 +0000] "GET /v1/mo`), Cut: true}); outcome.Rule != "longer than max_line" {
		t.Errorf("outcome %+v", outcome)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range logs(f) {
		for _, line := range lines(f, name) {
			f.Add(line.Data, false)
		}
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, data []byte, cut bool) {
		parsertest.Parse(t, p, parsers.Line{Data: data, Cut: cut})
	})
}

func samples() map[string]string {
	return map[string]string{
		"combined": `203.0.113.9 - alice [21/Nov/2026:09:06:34 +0000] "POST /v1/chat/completions HTTP/1.1" 200 4717 "-" "openai-python/1.99.2"`,
		"labelled": `127.0.0.1 - - [21/Nov/2026:09:06:34 +0000] "POST /v1/chat/completions HTTP/1.1" 200 15 "-" "openai-python/1.99.2" rt=0.001 uct="0.000" uht="0.001" urt="0.001" rid=8b0ce447e219633dd423f18630309855 key=key_alice_7f3a`,
		"json":     `{"time":"2026-11-21T09:06:34+00:00","msec":1795251994.308,"request_id":"673e7366ca99088349070432fdacaa1a","remote_addr":"127.0.0.1","method":"GET","uri":"/v1/models","protocol":"HTTP/1.1","status":200,"bytes_sent":166,"request_length":180,"request_time":0.003,"upstream_addr":"127.0.0.1:18080","upstream_status":"200","upstream_connect_time":"0.000","upstream_header_time":"0.003","upstream_response_time":"0.003","user_agent":"openai-python/1.99.2","key_id":"key_alice_7f3a","x_user":""}`,
		"error":    `2026/11/21 09:23:04 [info] 27975#27975: *39 epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while sending request to upstream, client: 127.0.0.1, server: , request: "POST /v1/chat/completions HTTP/1.1", upstream: "http://127.0.0.1:18080/v1/chat/completions", host: "x"`,
	}
}

func TestNoAllocations(t *testing.T) {
	for name, sample := range samples() {
		p := newParser(t)
		line := parsers.Line{Data: []byte(sample)}
		var drafts []parsers.Draft
		parse := func() { drafts, _, _ = p.Parse(drafts[:0], line) }
		parse()
		if n := testing.AllocsPerRun(100, parse); n > 0 {
			t.Errorf("%s: %v allocations a line", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, sample := range samples() {
		b.Run(name, func(b *testing.B) {
			p := newParser(b)
			line := parsers.Line{Data: []byte(sample)}
			var drafts []parsers.Draft
			b.SetBytes(int64(len(line.Data)))
			b.ReportAllocs()
			for b.Loop() {
				drafts, _, _ = p.Parse(drafts[:0], line)
			}
		})
	}
}

func BenchmarkGateway(b *testing.B) { parsertest.Gateway(b, newParser(b), "json") }
