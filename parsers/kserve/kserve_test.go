package kserve_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/kserve"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := kserve.New(parsers.Config{Location: time.UTC})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) {
	for _, name := range []string{"cloudevents", "model-server", "versions"} {
		t.Run(name, func(t *testing.T) { parsertest.Log(t, fresh, name) })
	}
}

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

const ask = `{"type":"org.kubeflow.serving.inference.request","id":"a","time":"2026-04-10T00:23:26Z","inferenceservicename":"m","namespace":"n","data":{"prompt":"secret"}}`

// TestWindow: a request waits for its response, and not for ever.
func TestWindow(t *testing.T) {
	p := fresh().(*kserve.Parser)
	line := parsertest.Lines("kserve", []byte(ask))[0]
	if _, outcome := parsertest.Parse(t, p, line); outcome.Verdict != parsers.Held {
		t.Fatalf("%+v", outcome)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{9 * time.Minute, 0}, {11 * time.Minute, 1}} {
		drafts, released := p.Flush(line.Seen.Add(c.after), nil)
		if len(drafts) != c.want || released != 0 {
			t.Errorf("after %v: %d records, %d lines let go", c.after, len(drafts), released)
		}
		if c.want == 1 && string(drafts[0].Record.Text(audit.Reason)) != parsers.ReasonOutcomeNotLogged {
			t.Errorf("%s", drafts[0].Record.Append(nil, 0))
		}
	}
}

// TestCapture: nothing is held of a request's content but what the policy keeps.
func TestCapture(t *testing.T) {
	c := parsers.Config{Capture: func(dst []byte, c *parsers.Content, _ parsers.Direction) []byte {
		return append(append(dst, "kept of "...), c.Model...)
	}}
	p, err := kserve.New(c)
	if err != nil {
		t.Fatal(err)
	}
	parsertest.Parse(t, p, parsertest.Lines("kserve", []byte(ask))[0])
	if snapshot := string(p.Snapshot()); len(snapshot) == 0 || contains(snapshot, "secret") || !contains(snapshot, "kept of m") {
		t.Errorf("the snapshot is %q", snapshot)
	}
	drafts, _ := p.Flush(time.Time{}, nil)
	if len(drafts) != 1 || string(drafts[0].Input.Applied) != "kept of m" || drafts[0].Input.Parts != 1 {
		t.Errorf("%+v", drafts)
	}
}

// TestBound: no more than 1,024 requests wait; the oldest leaves first.
func TestBound(t *testing.T) {
	p := fresh().(*kserve.Parser)
	id := []byte("0000")
	left := 0
	for i := range 1030 {
		id[0], id[1], id[2], id[3] = byte('0'+i/1000), byte('0'+i/100%10), byte('0'+i/10%10), byte('0'+i%10)
		line := parsers.Line{Data: []byte(`{"type":"x.inference.request","id":"` + string(id) + `","inferenceservicename":"m","data":{}}`), Offset: int64(i)}
		drafts, _ := parsertest.Parse(t, p, line)
		left += len(drafts)
	}
	if p.Held() != 1024 || left != 6 {
		t.Errorf("%d wait, %d left", p.Held(), left)
	}
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

func BenchmarkPair(b *testing.B) {
	p := fresh()
	lines := parsertest.Lines("kserve", []byte(ask+"\n"+`{"type":"org.kubeflow.serving.inference.response","id":"a","time":"2026-04-10T00:23:27Z","inferenceservicename":"m","namespace":"n","data":{"id":"c"}}`))
	var dst []parsers.Draft
	b.ReportAllocs()
	for b.Loop() {
		for i := range lines {
			var err error
			if dst, _, err = p.Parse(dst[:0], lines[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
