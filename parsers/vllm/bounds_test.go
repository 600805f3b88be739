package vllm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// TestWindow: requests leave by Flush when their time is over, not before.
func TestWindow(t *testing.T) {
	p := newParser(t)
	list := text(received("chatcmpl-a", "'p'") + received("embd-b-0", "'q'") + stamp + "[x.py:1] Finished request embd-b-0.\n")
	for _, line := range list {
		if _, outcome, err := p.Parse(nil, line); err != nil || outcome.Verdict != parsers.Held {
			t.Fatal(outcome, err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{time.Second, ""},
		{4 * time.Second, `model.inference success embd-b-0 "q"`},
		{9 * time.Minute, ""},
		{11 * time.Minute, `model.inference unknown outcome_not_logged chatcmpl-a "p"`},
	} {
		var got []string
		p = restart(t, p)
		flushed, _ := p.Flush(seen.Add(c.after), nil)
		for i := range flushed {
			got = append(got, summary(t, &flushed[i]))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("after %s: got %v, want %q", c.after, got, c.want)
		}
	}
	if p.Held() != 0 {
		t.Errorf("%d lines held", p.Held())
	}
}

// TestBounds: neither many requests nor long ones make the state grow without
// end, and all of them are recorded.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		requests int
		prompt   string
		held     int // at most
	}{
		"many": {requests: 3000, prompt: "'p'", held: 1024},
		"long": {requests: 40, prompt: "'" + strings.Repeat("p", 1<<20) + "'", held: 8},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParser(t)
			records := 0
			var line parsers.Line
			for i := range c.requests {
				line = text(received(fmt.Sprintf("chatcmpl-%d", i), c.prompt))[0]
				list, _, err := p.Parse(nil, line)
				if err != nil {
					t.Fatal(err)
				}
				records += len(list)
				if p.Held() > c.held {
					t.Fatalf("%d lines held", p.Held())
				}
			}
			rest, _ := p.Flush(time.Time{}, nil)
			if records += len(rest); records != c.requests {
				t.Errorf("%d records of %d requests", records, c.requests)
			}
		})
	}
}

// TestRoom: requests that were recorded take no room.
func TestRoom(t *testing.T) {
	long := "'" + strings.Repeat("p", 1<<20) + "'"
	once := text(received("chatcmpl-a", long) + generated("chatcmpl-a", long) + access("10.0.0.1:1", chat, 200))
	p := newParser(t)
	for range 20 {
		for _, line := range once {
			if _, _, err := p.Parse(nil, line); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 4 {
		line := text(received(fmt.Sprintf("chatcmpl-%d", i), long))[0]
		if list, _, err := p.Parse(nil, line); err != nil || len(list) > 0 {
			t.Fatalf("%d records, %v", len(list), err)
		}
	}
}

// TestNewServer: what the old server said is no evidence for the new one.
func TestNewServer(t *testing.T) {
	list, _ := drafts(t, stamp+"[utils.py:233] non-default args: {'model': 'a/b', 'enable_log_outputs': True}\n"+
		access("10.0.0.1:1", chat, 200)+
		stamp+"[api_server.py:1839] vLLM API server version 0.11.0\n"+
		received("chatcmpl-a", "'p'")+access("10.0.0.1:1", chat, 200))
	if len(list) != 2 {
		t.Fatalf("%d records", len(list))
	}
	if r := &list[0].Record; string(r.Text(audit.ModelID)) != "hf:a/b" {
		t.Errorf("%s", r.Append(nil, 0))
	}
	if r := &list[1].Record; r.Has(audit.ModelName) || r.Has(audit.ModelBasis) {
		t.Errorf("%s", r.Append(nil, 0))
	}
}

// TestManyServers: the logs of more servers than are remembered lose nothing.
func TestManyServers(t *testing.T) {
	p := newParser(t)
	records := 0
	for i := range 600 {
		line := text(received("chatcmpl-a", "'p'"))[0]
		line.Path = fmt.Sprintf("/var/log/vllm/%d.log", i)
		list, _, err := p.Parse(nil, line)
		if err != nil {
			t.Fatal(err)
		}
		records += len(list)
	}
	rest, _ := p.Flush(time.Time{}, nil)
	if records += len(rest); records != 600 {
		t.Errorf("%d records of 600 requests", records)
	}
}
