package vllm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/vllm"
)

// TestSeveralAnswers: with n=2 the request ends with its second answer.
func TestSeveralAnswers(t *testing.T) {
	log := strings.Replace(received("chatcmpl-a", "'p'"), "n=1", "n=2", 1) +
		generated("chatcmpl-a", "'first'") + generated("chatcmpl-a", "'second'") + access("10.0.0.1:1", chat, 200)
	list, words := drafts(t, log)
	if len(list) != 1 || strings.Join(words, " ") != "held held held recorded" {
		t.Fatalf("%d records, verdicts %v", len(list), words)
	}
	d := &list[0]
	if got := revealed(t, d.Output); got != "first" || !d.Output.Truncated {
		t.Errorf("output %q, truncated %t", got, d.Output.Truncated)
	}
	if got := string(d.Record.Text(audit.OutputFinish)); got != `["stop","stop"]` {
		t.Errorf("finish %s", got)
	}
	if got := d.Record.Int(audit.UsageOutputTokens); got != 4 {
		t.Errorf("%d output tokens", got)
	}
	if len(d.Held) != 3 {
		t.Errorf("made from %d held lines", len(d.Held))
	}
}

// TestHostile: neither a prompt nor an id can pass for another part of the line.
func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want string // of the only draft; empty: the line is unparsed
	}{
		"sections within the prompt": {
			log:  received("chatcmpl-a", `'x\', params: SamplingParams(n=9), prompt: "y", lora_request: None.'`),
			want: `model.inference unknown outcome_not_logged chatcmpl-a "x', params: SamplingParams(n=9), prompt: \"y\", lora_request: None."`,
		},
		"quotes of the other kind": {
			log:  received("chatcmpl-a", `"it's, params: x"`),
			want: `model.inference unknown outcome_not_logged chatcmpl-a "it's, params: x"`,
		},
		"escapes": {
			log:  received("chatcmpl-a", `'\\\\\'\n\r\t\x1b\xe9\u20ac\U0001f600 \q é'`),
			want: `model.inference unknown outcome_not_logged chatcmpl-a "\\\\'\n\r\t\x1bé€😀 \\q é"`,
		},
		"no prompt": {
			log:  received("chatcmpl-a", "None"),
			want: `model.inference unknown outcome_not_logged chatcmpl-a`,
		},
		"an id that imitates the line":      {log: received("chatcmpl-a: prompt: 'forged', params: SamplingParams(n=1), lora_request: None.", "'real'")},
		"an id that opens a string":         {log: received("chatcmpl-a: prompt: 'forged', x: 'open", "'real'")},
		"an id with a blank":                {log: received("chatcmpl-a b", "'real'")},
		"an id with a comma":                {log: aborted("chatcmpl-a,chatcmpl-b")},
		"a header and nothing behind":       {log: "INFO 11-07 04:35:20 \n"},
		"an id too long":                    {log: received("chatcmpl-"+strings.Repeat("a", 300), "'real'")},
		"text behind the prompt":            {log: received("chatcmpl-a", "'real' 'more'")},
		"a prompt that does not end":        {log: stamp + "[logger.py:40] Received request chatcmpl-a: prompt: 'real\n"},
		"brackets that do not match":        {log: received("chatcmpl-a", "'p', params: (]")},
		"nothing but brackets":              {log: stamp + "[logger.py:40] Received request chatcmpl-a: params: " + strings.Repeat("(", 500) + "\n"},
		"an answer with something behind":   {log: strings.TrimSuffix(generated("chatcmpl-a", "'o'"), "\n") + ", x: y\n"},
		"an access line within a message":   {log: stamp + `[x.py:1] 10.0.0.1:1 - "POST /v1/chat/completions HTTP/1.1" 200 OK` + "\n"},
		"a message without a place":         {log: "INFO 11-07 04:35:20 Received request chatcmpl-a: params: None.\n"},
		"a stamp that is no time":           {log: "INFO 13-07 04:35:20 [logger.py:40] Finished request chatcmpl-a.\n"},
		"a progress bar with a hidden line": {log: "\rLoading safetensors checkpoint shards:   0% Completed\rINFO: hidden\n"},
		"an indented line alone":            {log: "    secret = 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			list, words := drafts(t, c.log)
			if c.want == "" {
				if len(list) != 0 || words[0] != "unparsed" {
					t.Fatalf("%d records, verdicts %v", len(list), words)
				}
				return
			}
			if len(list) != 1 {
				t.Fatalf("%d records, verdicts %v", len(list), words)
			}
			if got := summary(t, &list[0]); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestAccess: what an access line of a server says that logs no requests.
func TestAccess(t *testing.T) {
	for log, want := range map[string]string{
		"INFO:     ::1:36536 - \"POST /v1/completions HTTP/1.1\" 200 OK":                                        "recorded model.inference success ::1 200",
		"INFO:     2001:db8::7:443 - \"POST /v1/embeddings HTTP/1.1\" 200 OK":                                   "recorded model.inference success 2001:db8::7 200",
		"INFO:     10.0.0.1:1 - \"GET /?x=\"%20200 HTTP/1.1\" 404 Not Found":                                    "recorded data.access failed http_404 10.0.0.1 404",
		"INFO:      - \"POST /v1/chat/completions HTTP/1.1\" 403 Forbidden":                                     "recorded model.inference denied http_403 403",
		"INFO:     testclient:50000 - \"POST /v1/completions HTTP/2\" 500 X":                                    "recorded model.inference failed http_500 500",
		"INFO:     10.0.0.1:1 - \"GET /health HTTP/1.1\" 200 OK":                                                "ignored health_check",
		"INFO:     10.0.0.1:1 - \"GET /health HTTP/1.1\" 503 Service Unavailable":                               "recorded data.access failed http_503 10.0.0.1 503",
		"(APIServer pid=1) INFO:     10.0.0.1:1 - \"GET /metrics HTTP/1.1\" 200 OK":                             "ignored metrics_scrape",
		"\x1b[32mINFO\x1b[0m:     10.0.0.1:1 - \"\x1b[1mGET /v1/models HTTP/1.1\x1b[0m\" \x1b[32m200 OK\x1b[0m": "recorded model.list success 10.0.0.1 200",
		"INFO:     10.0.0.1:1 - \"get / HTTP/1.1\" 200 OK":                                                      "unparsed",
		"INFO:     10.0.0.1:1 - \"GET / HTTP/1.1\" 2000 OK":                                                     "unparsed",
		"INFO:     10.0.0.1:1 - \"GET /":                                                                        "unparsed",
		"INFO:     - \"":                                                                                        "unparsed",
	} {
		list, words := drafts(t, log+"\n")
		got := words[0]
		for i := range list {
			got += " " + summary(t, &list[i])
		}
		if got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", log, got, want)
		}
	}
}

// TestTime: the year is the newest that is not more than a day ahead.
func TestTime(t *testing.T) {
	for _, c := range []struct{ stamp, seen, want string }{
		{"11-21 09:00:00", "2026-11-21T08:00:00Z", "2026-11-21T09:00:00+01:00"},
		{"11-22 08:59:59", "2026-11-21T08:00:00Z", "2026-11-22T08:59:59+01:00"},
		{"11-22 09:00:01", "2026-11-21T08:00:00Z", "2025-11-22T09:00:01+01:00"},
		{"12-31 23:59:59", "2027-01-01T00:00:10Z", "2026-12-31T23:59:59+01:00"},
		{"01-01 00:00:01", "2026-12-31T23:00:00Z", "2027-01-01T00:00:01+01:00"},
		{"02-29 12:00:00", "2026-11-21T08:00:00Z", "2024-02-29T12:00:00+01:00"},
		{"07-01 12:00:00", "2026-11-21T08:00:00Z", "2026-07-01T12:00:00+02:00"},
	} {
		line := text(strings.Replace(finished("chatcmpl-a"), "11-07 04:35:20", c.stamp, 1))[0]
		at, err := time.Parse(time.RFC3339, c.seen)
		if err != nil {
			t.Fatal(err)
		}
		line.Seen = at
		list, _, err := newParser(t).Parse(nil, line)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d records, %v", len(list), err)
		}
		if got := string(list[0].Record.Text(audit.Time)); got != c.want {
			t.Errorf("%s seen %s: got %s, want %s", c.stamp, c.seen, got, c.want)
		}
	}
}

// TestCut: a prompt longer than max_line is kept as far as it was read.
func TestCut(t *testing.T) {
	p := newParser(t)
	whole := received("chatcmpl-a", "'a long prompt'")
	line := text(whole)[0]
	line.Cut = true
	line.Data = line.Data[:strings.Index(whole, "prompt'")]
	if _, outcome, err := p.Parse(nil, line); err != nil || outcome.Verdict != parsers.Held {
		t.Fatal(outcome, err)
	}
	list, _ := p.Flush(time.Time{}, nil)
	if len(list) != 1 || list[0].Record.Flags()&audit.Truncated == 0 {
		t.Fatalf("%d records, flagged %v", len(list), list)
	}
	if got := revealed(t, list[0].Input); got != "a long " || !list[0].Input.Truncated {
		t.Errorf("input %q, truncated %t", got, list[0].Input.Truncated)
	}
}

// TestLimit: texts that the server itself cut are marked, and tokens not counted.
func TestLimit(t *testing.T) {
	list, _ := drafts(t, stamp+"[utils.py:233] non-default args: {'model': '/models/x', 'max_log_len': 2}\n"+
		strings.Replace(received("chatcmpl-a", "'é'"), "ids: None", "ids: [7]", 1)+aborted("chatcmpl-a")+
		strings.Replace(received("chatcmpl-b", "'éa'"), "ids: None", "ids: [7, 8]", 1)+generated("chatcmpl-b", "'o'"))
	if len(list) != 2 || list[0].Input.Truncated || !list[1].Input.Truncated || list[1].Output.Truncated {
		t.Errorf("%d records, %+v", len(list), list)
	}
	if n := list[0].Record.Int(audit.UsageInputTokens); n != 1 {
		t.Errorf("%d input tokens", n)
	}
	if list[1].Record.Has(audit.UsageOutputTokens) || list[1].Record.Has(audit.UsageInputTokens) {
		t.Error("tokens of a cut list are counted")
	}
	if list[1].Record.Has(audit.ModelID) || string(list[1].Record.Text(audit.ModelName)) != "/models/x" {
		t.Errorf("model of a directory: %s", list[1].Record.Append(nil, 0))
	}
}

// TestLogo: later versions print name and version beside block letters.
func TestLogo(t *testing.T) {
	list, words := drafts(t, stamp+"[utils.py:325]        █     █     █▄   ▄█\n"+
		stamp+"[utils.py:325]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.14.0\n"+
		stamp+"[utils.py:325]   █▄█▀ █     █     █     █  model   Qwen/Qwen3-0.6B\n"+
		access("10.0.0.1:1", chat, 200))
	if got := strings.Join(words, " "); got != strings.Repeat("ignored start_banner ", 3)+"recorded" {
		t.Errorf("verdicts %s", got)
	}
	r := &list[0].Record
	if string(r.Text(audit.APIServerVersion)) != "0.14.0" || string(r.Text(audit.ModelID)) != "hf:Qwen/Qwen3-0.6B" {
		t.Errorf("%s", r.Append(nil, 0))
	}
}

// TestValid: with what the agent adds, every record of the samples is complete
// by the format's own rules.
func TestValid(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for _, name := range samples(t) {
		p, err := vllm.New(parsers.Config{Location: zone, Capture: capture})
		if err != nil {
			t.Fatal(err)
		}
		var list []parsers.Draft
		for _, line := range sample(t, name) {
			if list, _, err = p.Parse(list, line); err != nil {
				t.Fatal(err)
			}
		}
		list, _ = p.Flush(time.Time{}, list)
		if len(list) == 0 {
			t.Fatalf("%s: no records", name)
		}
		for i := range list {
			r := &list[i].Record
			envelope(r)
			if err := audit.Validate(r.Append(nil, 1)); err != nil {
				t.Errorf("%s, record %d: %v\n%s", name, i, err, r.Append(nil, 1))
			}
		}
	}
}

// envelope adds what the agent does.
func envelope(r *audit.Record) {
	r.SetInt(audit.SchemaVersion, audit.Version)
	r.SetText(audit.ID, audit.AppendID(nil, "h", "s", "g", 0, 0))
	r.SetTime(audit.ObservedTime, seen)
	if !r.Has(audit.Time) {
		r.SetTime(audit.Time, seen)
		r.SetString(audit.TimeBasis, "observed")
	}
	action, _ := audit.EventAction(string(r.Text(audit.Event)))
	r.SetString(audit.Action, action)
	r.SetInt(audit.Severity, 1)
	for _, f := range []audit.Field{audit.Retention, audit.Service, audit.HostID, audit.HostName, audit.SourceID, audit.AgentID} {
		r.SetString(f, "x")
	}
	r.SetString(audit.Environment, "test")
	r.SetText(audit.Salt, audit.AppendSalt(nil, [8]byte{}))
	if r.Has(audit.ModelProvider) && !r.Has(audit.ModelBasis) {
		r.SetString(audit.ModelBasis, "unresolved")
	}
	if string(r.Text(audit.ModelBasis)) == "banner" {
		m := audit.Model{
			Provider: string(r.Text(audit.ModelProvider)), ID: string(r.Text(audit.ModelID)),
			Revision: string(r.Text(audit.ModelRevision)), Adapter: string(r.Text(audit.ModelAdapter)),
		}
		r.SetString(audit.ModelRef, m.Ref())
	}
}

// TestTrace: every field that the samples fill is traced to its source.
func TestTrace(t *testing.T) {
	p := newParser(t)
	trace := p.Trace()
	constant := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true,
		audit.ModelProvider: true, audit.APIServer: true,
	}
	for _, name := range samples(t) {
		var list []parsers.Draft
		for _, line := range sample(t, name) {
			list, _, _ = p.Parse(list, line)
		}
		for i := range list {
			for _, f := range audit.Fields() {
				if list[i].Record.Has(f) && trace[f] == "" && !constant[f] {
					t.Errorf("%s is filled and not traced", f)
				}
			}
		}
	}
}
