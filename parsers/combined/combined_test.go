package combined_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/combined"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser(t testing.TB) *combined.Parser {
	t.Helper()
	p, err := combined.New(combined.Config{Config: parsers.Config{Name: "nginx", Provider: "vllm"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"nginx", "nginx-llama", "nginx-extended", "odd"} {
		t.Run(name, func(t *testing.T) { parsertest.Golden(t, newParser(t), name) })
	}
}

// TestTimes compares every rewritten time with what package time makes of it.
func TestTimes(t *testing.T) {
	p := newParser(t)
	for _, text := range []string{
		"21/Nov/2026:09:06:34 +0000", "29/Feb/2028:23:59:59 +0530", "29/Feb/2027:00:00:00 +0000", "29/Feb/1900:00:00:00 +0000",
		"29/Feb/2000:00:00:00 +0000", "31/Apr/2026:00:00:00 +0000", "01/Jan/0001:00:00:00 -0930", "31/Dec/9999:23:59:59 +1400",
		"00/Jan/2026:00:00:00 +0000", "32/Jan/2026:00:00:00 +0000", "01/Foo/2026:00:00:00 +0000", "01/jan/2026:00:00:00 +0000",
		"01/Jan/2026:24:00:00 +0000", "01/Jan/2026:00:60:00 +0000", "01/Jan/2026:00:00:60 +0000", "01/Jan/2026:00:00:00 x0000",
		"01/Jan/2026:00:00:00 +2x00", "0a/Jan/2026:00:00:00 +0000", "01/Jan/2026 00:00:00 +00000",
	} {
		line := parsers.Line{Data: []byte(`10.0.0.1 - - [` + text + `] "GET /v1/models HTTP/1.1" 200 1`)}
		drafts, _ := parsertest.Parse(t, p, line)
		want, err := time.Parse("02/Jan/2006:15:04:05 -0700", text)
		if strings.Contains(text, "jan") {
			err = errors.New("package time ignores case, no server writes it so")
		}
		switch {
		case err != nil && len(drafts) > 0:
			t.Errorf("%s: accepted as %s", text, drafts[0].Record.Text(audit.Time))
		case err == nil && len(drafts) == 0:
			t.Errorf("%s: refused", text)
		case err == nil:
			got, err := time.Parse(time.RFC3339, string(drafts[0].Record.Text(audit.Time)))
			if err != nil || !got.Equal(want) {
				t.Errorf("%s: %v, %v; want %v", text, got, err, want)
			}
		}
	}
}

// TestDropped: what has no home is counted, and the record says so.
func TestDropped(t *testing.T) {
	p := newParser(t)
	line := parsers.Line{Data: []byte(`10.0.0.1 ident - [21/Nov/2026:09:06:34 +0000] "GET /v1/models HTTP/1.1" 200 1 "http://referer" "-" more`)}
	drafts, _ := parsertest.Parse(t, p, line)
	if len(drafts) != 1 || drafts[0].Record.Flags()&audit.FieldsDropped == 0 || p.Dropped() != 3 {
		t.Errorf("%d records, %d dropped", len(drafts), p.Dropped())
	}
}

// TestCut: the head of a line beyond max_line is used when it holds the status.
func TestCut(t *testing.T) {
	p := newParser(t)
	const head = `10.0.0.1 - - [21/Nov/2026:09:06:34 +0000] "GET /v1/models HTTP/1.1" 200 1 "-" "long age`
	drafts, _ := parsertest.Parse(t, p, parsers.Line{Data: []byte(head), Cut: true})
	if len(drafts) != 1 || drafts[0].Record.Flags()&audit.Truncated == 0 {
		t.Fatalf("%d records", len(drafts))
	}
	if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(head[:60]), Cut: true}); outcome.Rule != "longer than max_line" {
		t.Errorf("outcome %+v", outcome)
	}
}

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	p := newParser(t)
	log, err := os.ReadFile("testdata/odd.log")
	if err != nil {
		t.Fatal(err)
	}
	trace := p.Trace()
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true, audit.ModelProvider: true,
	}
	for _, line := range parsertest.Lines("odd", log) {
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

func FuzzParse(f *testing.F) {
	for _, name := range []string{"nginx", "nginx-extended", "odd"} {
		log, err := os.ReadFile("testdata/" + name + ".log")
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range parsertest.Lines(name, log) {
			f.Add(line.Data, false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, cut bool) {
		parsertest.Parse(t, newParser(t), parsers.Line{Data: data, Cut: cut})
	})
}

const benchLine = `203.0.113.9 - alice [21/Nov/2026:09:06:34 +0000] "POST /v1/chat/completions HTTP/1.1" 200 4717 "-" "openai-python/1.99.2"`

func TestNoAllocations(t *testing.T) {
	p := newParser(t)
	line := parsers.Line{Data: []byte(benchLine)}
	var drafts []parsers.Draft
	parse := func() { drafts, _, _ = p.Parse(drafts[:0], line) }
	parse()
	if n := testing.AllocsPerRun(100, parse); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func BenchmarkParse(b *testing.B) {
	p := newParser(b)
	line := parsers.Line{Data: []byte(benchLine)}
	var drafts []parsers.Draft
	b.SetBytes(int64(len(line.Data)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, _, _ = p.Parse(drafts[:0], line)
	}
	if len(drafts) != 1 {
		b.Fatal("no record")
	}
}
