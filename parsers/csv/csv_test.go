package csv_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/csv"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func config() csv.Config {
	return csv.Config{
		Config:  parsers.Config{Name: "in", Provider: "gateway", Location: time.UTC},
		Columns: []string{"time", "user", "model", "ms", "answer"}, Separator: ';',
		Fields: []parsers.Mapping{
			{Field: "time", Path: []string{"time"}},
			{Field: "actor.id", Path: []string{"user"}},
			{Field: "model.name", Path: []string{"model"}},
			{Field: "usage.duration_ms", Path: []string{"ms"}, Layout: "s"},
			{Field: "output", Path: []string{"answer"}},
		},
	}
}

func newParser(t testing.TB, c csv.Config) *csv.Parser {
	t.Helper()
	p, err := csv.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) { parsertest.Golden(t, newParser(t, config()), "columns") }

// TestNew: what can not be read is refused when the parser is made.
func TestNew(t *testing.T) {
	for want, change := range map[string]func(*csv.Config){
		"needs the names of its columns": func(c *csv.Config) { c.Columns = nil },
		"stands twice":                   func(c *csv.Config) { c.Columns = append(c.Columns, "user") },
		`there is no column "user"`:      func(c *csv.Config) { c.Columns[1] = "usr" },
	} {
		c := config()
		change(&c)
		if _, err := csv.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestCut: of a line that was cut, the last column is not taken: it may go on.
func TestCut(t *testing.T) {
	for line, want := range map[string]string{`t;ann;lla`: "", `t;ann;m;1`: "m", `t;ann;"open`: ""} {
		drafts, _ := parsertest.Parse(t, newParser(t, config()), parsers.Line{Data: []byte(line), Cut: true})
		if len(drafts) != 1 || string(drafts[0].Record.Text(audit.ModelName)) != want {
			t.Errorf("%s: %d records, want model %q", line, len(drafts), want)
		}
	}
}

// FuzzColumns: what encoding/csv reads as one row of five columns is read alike.
func FuzzColumns(f *testing.F) {
	f.Add(`a;b;c;1;e`)
	f.Add(`"a";"b;""";c;;"`)
	f.Add("\"\";\"\xff\";;;")
	f.Fuzz(func(t *testing.T, line string) {
		drafts, outcome := parsertest.Parse(t, newParser(t, config()), parsers.Line{Data: []byte(line)})
		if strings.ContainsAny(line, "\r\n") {
			return // no line has them
		}
		oracle := stdcsv.NewReader(strings.NewReader(line))
		oracle.Comma = ';'
		row, err := oracle.Read()
		if err != nil || len(row) != 5 || slices.Equal(row, config().Columns) {
			return
		}
		if outcome.Verdict == parsers.Unparsed {
			if row[1] != "" && row[1] != "-" {
				t.Errorf("%q: not read, encoding/csv reads %q", line, row)
			}
			return
		}
		if got, want := drafts[0].Record.Text(audit.ActorID), []byte(row[1]); row[1] != "-" && !bytes.Equal(got, bytes.ToValidUTF8(want, []byte("\ufffd"))) && bytes.Equal(bytes.ToValidUTF8(want, nil), want) {
			t.Errorf("%q: user %q, encoding/csv reads %q", line, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := newParser(b, config())
	line := parsers.Line{Data: []byte(`2026-11-21T09:06:34Z;ann;llama-3-8b;0.25;yes`)}
	var drafts []parsers.Draft
	b.SetBytes(int64(len(line.Data)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, _, _ = p.Parse(drafts[:0], line)
	}
}
