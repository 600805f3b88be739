package vllm_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/vllm"
)

// restart returns a parser that goes on where p is.
func restart(t testing.TB, p *vllm.Parser) *vllm.Parser {
	t.Helper()
	snapshot := p.Snapshot()
	next := newParser(t)
	if err := next.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if again := next.Snapshot(); !bytes.Equal(again, snapshot) {
		t.Fatalf("a snapshot of the restored state differs:\n%q\n%q", snapshot, again)
	}
	if next.Held() != p.Held() {
		t.Fatalf("%d lines held, %d before", next.Held(), p.Held())
	}
	return next
}

// busy is a log in which calls overlap in every way.
func busy() string {
	var log strings.Builder
	for i := range 6 {
		id := fmt.Sprintf("chatcmpl-%d", i)
		log.WriteString(received(id, fmt.Sprintf("'secret %d'", i)))
		log.WriteString(stamp + "[async_llm.py:321] Added request " + id + ".\n")
		if i%2 == 0 {
			log.WriteString(access("10.0.0.1:1", chat, 200))
		}
		if i%3 == 2 {
			log.WriteString(generated(id, "'answer'"))
			log.WriteString(access("10.0.0.2:1", chat, 200))
		}
	}
	log.WriteString(received("embd-a-0", "'secret e'") + received("embd-a-1", "'secret f'"))
	log.WriteString(access("10.0.0.3:1", "/v1/embeddings", 200))
	log.WriteString(finished("embd-a-1") + aborted("chatcmpl-1") + finished("embd-a-0"))
	return log.String()
}

// TestRestart: a restart behind any line, and behind every line, neither loses
// nor repeats nor changes a record.
func TestRestart(t *testing.T) {
	logs := map[string][]parsers.Line{"busy": text(busy())}
	for name, c := range joins() {
		logs[name] = text(c.log)
	}
	for _, name := range samples(t) {
		logs[name] = sample(t, name)
	}
	for name, list := range logs {
		t.Run(name, func(t *testing.T) {
			plain := parse(t, newParser(t), list)
			want := plain.String()
			for stop := range list {
				var r result
				p := newParser(t)
				for i := range list {
					r.line(t, p, list[i], i)
					if i == stop {
						p = restart(t, p)
					}
				}
				flush(t, &r, p, len(list))
				if got := r.String(); got != want {
					t.Fatalf("restart behind line %d:\n%s\nwithout:\n%s", stop+1, got, want)
				}
			}
			var r result
			p := newParser(t)
			for i := range list {
				r.line(t, p, list[i], i)
				p = restart(t, p)
			}
			flush(t, &r, p, len(list))
			if got := r.String(); got != want {
				t.Fatalf("restart behind every line:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
}

func flush(t testing.TB, r *result, p *vllm.Parser, at int) {
	t.Helper()
	drafts, _ := p.Flush(time.Time{}, nil)
	r.add(t, drafts, at)
}

// TestPrivacy: of a prompt or an answer a snapshot holds what the policy made
// of it and nothing else.
func TestPrivacy(t *testing.T) {
	const secret = "the-launch-code-is-4711"
	log := strings.Replace(received("chatcmpl-a", "'"+secret+"'"), "n=1", "n=2", 1) +
		generated("chatcmpl-a", "'answer "+secret+"'")
	p := newParser(t)
	captured := false
	for _, line := range text(log) {
		if _, outcome, err := p.Parse(nil, line); err != nil || outcome.Verdict != parsers.Held {
			t.Fatal(outcome, err)
		}
		snapshot := p.Snapshot()
		if bytes.Contains(snapshot, []byte(secret)) || bytes.Contains(snapshot, []byte("launch-code")) {
			t.Fatalf("content in clear: %q", snapshot)
		}
		captured = bytes.Contains(snapshot, capture(nil, &parsers.Content{
			Text: []byte(secret), Parts: 1,
		}, parsers.Entered))
	}
	if !captured {
		t.Error("what the policy kept is not in the snapshot")
	}
	// Without a policy nothing is kept at all.
	bare, err := vllm.New(parsers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range text(log) {
		if _, _, err := bare.Parse(nil, line); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := bare.Flush(time.Time{}, nil)
	if len(list) != 1 || len(list[0].Input.Text)+len(list[0].Input.Applied) > 0 || bytes.Contains(bare.Snapshot(), []byte(secret)) {
		t.Errorf("%d records, input %+v", len(list), list[0].Input)
	}
}

// TestSnapshotOfNothing: access lines alone are not remembered.
func TestSnapshotOfNothing(t *testing.T) {
	p := newParser(t)
	if _, _, err := p.Parse(nil, text(access("10.0.0.1:1", chat, 200))[0]); err != nil {
		t.Fatal(err)
	}
	if s := p.Snapshot(); s != nil {
		t.Errorf("snapshot %q", s)
	}
	if err := p.Restore(nil); err != nil {
		t.Error(err)
	}
}

// TestRestoreDamage: a damaged snapshot is refused, and the state stays.
func TestRestoreDamage(t *testing.T) {
	p := newParser(t)
	for _, line := range text(busy()) {
		if _, _, err := p.Parse(nil, line); err != nil {
			t.Fatal(err)
		}
	}
	good := p.Snapshot()
	for n := 1; n < len(good); n++ {
		if err := p.Restore(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", n, len(good))
		}
	}
	if err := p.Restore(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte too many was taken")
	}
	if err := p.Restore([]byte{1}); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("another version: %v", err)
	}
	if !bytes.Equal(p.Snapshot(), good) {
		t.Error("the state changed")
	}
}

// TestAccounting: whatever happens in whatever order, each line is in one place
// and a restart changes nothing.
func TestAccounting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ids := rapid.SampledFrom([]string{"chatcmpl-a", "chatcmpl-b", "chatcmpl-c", "cmpl-d-0", "cmpl-d-1", "embd-e-0", "00aa"})
		route := rapid.SampledFrom([]string{chat, "/v1/completions", "/v1/embeddings", "/generate", "/health"})
		status := rapid.SampledFrom([]int{200, 200, 200, 401, 500})
		events := []func() string{
			func() string { return received(ids.Draw(rt, "id"), "'p'") },
			func() string { return strings.Replace(received(ids.Draw(rt, "id"), "'p'"), "n=1", "n=2", 1) },
			func() string { return stamp + "[x.py:1] Added request " + ids.Draw(rt, "id") + ".\n" },
			func() string { return generated(ids.Draw(rt, "id"), "'o'") },
			func() string { return finished(ids.Draw(rt, "id")) },
			func() string { return aborted(ids.Draw(rt, "id")) },
			func() string { return aborted(ids.Draw(rt, "id") + "," + ids.Draw(rt, "other")) },
			func() string { return stamp + "[x.py:1] Request " + ids.Draw(rt, "id") + " failed.\n" },
			func() string { return access("10.0.0.1:1", route.Draw(rt, "route"), status.Draw(rt, "status")) },
			func() string { return "INFO 11-07 04:36:40 [x.py:1] Engine 000: later\n" },
			func() string { return stamp + "[api_server.py:1] vLLM API server version 0.11.0\n" },
		}
		var log strings.Builder
		for range rapid.IntRange(1, 60).Draw(rt, "lines") {
			log.WriteString(rapid.SampledFrom(events).Draw(rt, "event")())
		}
		p, kept := newParser(t), newParser(t)
		used := map[int64]bool{}
		for i, line := range text(log.String()) {
			before := p.Held()
			list, outcome, err := p.Parse(nil, line)
			if err != nil {
				rt.Fatal(err)
			}
			released := claim(rt, used, list)
			placed := 1
			if outcome.Verdict == parsers.Held {
				placed = 0
			}
			if before+1 != p.Held()+released+placed {
				rt.Fatalf("line %d: held %d, then %d, released %d, %+v\n%s", i+1, before, p.Held(), released, outcome, log.String())
			}
			if outcome.Verdict == parsers.Recorded && len(list) == 0 {
				rt.Fatalf("line %d is recorded without a record", i+1)
			}
			other, _, _ := kept.Parse(nil, line)
			compare(rt, t, list, other)
			p = restart(t, p)
		}
		held := p.Held()
		list, _ := p.Flush(time.Time{}, nil)
		if released := claim(rt, used, list); released != held || p.Held() != 0 {
			rt.Fatalf("flush released %d of %d lines, %d are left", released, held, p.Held())
		}
		other, _ := kept.Flush(time.Time{}, nil)
		compare(rt, t, list, other)
	})
}

// claim counts the held lines of drafts, each of which may stand in one only.
func claim(rt *rapid.T, used map[int64]bool, list []parsers.Draft) int {
	n := 0
	for i := range list {
		last := int64(-1)
		for _, ref := range list[i].Held {
			if used[ref.Offset] || ref.Offset <= last {
				rt.Fatalf("line at %d stands twice or out of order", ref.Offset)
			}
			used[ref.Offset], last = true, ref.Offset
			n++
		}
	}
	return n
}

func compare(rt *rapid.T, t *testing.T, a, b []parsers.Draft) {
	if len(a) != len(b) {
		rt.Fatalf("%d records, without a restart %d", len(a), len(b))
	}
	for i := range a {
		if x, y := render(t, &a[i]), render(t, &b[i]); x != y {
			rt.Fatalf("a restart changes a record:\n%s\n%s", x, y)
		}
	}
}
