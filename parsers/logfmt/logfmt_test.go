package logfmt_test

import (
	"flag"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/logfmt"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser(t testing.TB) *logfmt.Parser {
	t.Helper()
	p, err := logfmt.New(logfmt.Config{
		Config: parsers.Config{Name: "in", Provider: "gateway", Location: time.UTC},
		Fields: []parsers.Mapping{
			{Field: "time", Path: []string{"time"}},
			{Field: "actor.id", Path: []string{"user", "id"}},
			{Field: "model.name", Path: []string{"model"}},
			{Field: "api.status", Path: []string{"status"}},
			{Field: "usage.input_tokens", Path: []string{"tokens"}},
			{Field: "input", Path: []string{"msg"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) { parsertest.Golden(t, newParser(t), "slog") }

// TestCut: of a line that was cut, what may go on is not taken.
func TestCut(t *testing.T) {
	for line, want := range map[string]string{
		`user.id=ann model=lla`:    "",
		`user.id=ann model="ll`:    "",
		`user.id=ann model="m" st`: "m",
		`user.id=ann model=m `:     "m",
	} {
		drafts, _ := parsertest.Parse(t, newParser(t), parsers.Line{Data: []byte(line), Cut: true})
		if len(drafts) != 1 {
			t.Errorf("%s: %d records", line, len(drafts))
			continue
		}
		r := &drafts[0].Record
		if got := string(r.Text(audit.ModelName)); got != want {
			t.Errorf("%s: model %q, want %q", line, got, want)
		}
		if r.Flags()&audit.Truncated == 0 {
			t.Errorf("%s: not flagged", line)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`a=b c="d \" e" f`, `user.id="`, `= == ="`, "user.id=\xff model=\"\\x00\""} {
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, line string, cut bool) {
		drafts, _ := parsertest.Parse(t, newParser(t), parsers.Line{Data: []byte(line), Cut: cut})
		for i := range drafts {
			if !utf8.Valid(drafts[i].Record.Append(nil, 0)) {
				t.Errorf("%q: the record is no UTF-8", line)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := newParser(b)
	line := parsers.Line{Data: []byte(`time=2026-11-21T09:06:34.123+01:00 level=INFO msg="request done" user.id=ann model=llama-3-8b status=200 tokens=12`)}
	var drafts []parsers.Draft
	b.SetBytes(int64(len(line.Data)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, _, _ = p.Parse(drafts[:0], line)
	}
}
