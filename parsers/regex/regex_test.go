package regex_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/regex"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func config() regex.Config {
	return regex.Config{
		Config: parsers.Config{Name: "in", Provider: "gateway", Location: time.FixedZone("", 3600)},
		Patterns: []string{
			`(?P<ts>\w+ +\d+ [\d:]+) (?P<user>\w+) asked (?P<model>[\w.-]+): (?P<status>\d+)`,
			`refused (?P<user>\w+) \((?P<why>\w+)\)`,
		},
		Fields: []parsers.Mapping{
			{Field: "time", Path: []string{"ts"}, Layout: "Jan _2 15:04:05"},
			{Field: "actor.id", Path: []string{"user"}},
			{Field: "model.name", Path: []string{"model"}},
			{Field: "api.status", Path: []string{"status"}},
			{Field: "reason", Path: []string{"why"}},
		},
		Set: []parsers.Constant{{Field: "api.operation", Value: "chat"}},
	}
}

func newParser(t testing.TB) *regex.Parser {
	t.Helper()
	p, err := regex.New(config())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden: a pattern matches whole lines; a time without a year is the newest
// that is not ahead.
func TestGolden(t *testing.T) { parsertest.Golden(t, newParser(t), "text") }

func TestNew(t *testing.T) {
	for want, change := range map[string]func(*regex.Config){
		"at least one pattern":            func(c *regex.Config) { c.Patterns = nil },
		"pattern 2: error parsing regexp": func(c *regex.Config) { c.Patterns[1] = "(" },
		"has a group (?P<why>…)":          func(c *regex.Config) { c.Patterns = c.Patterns[:1] },
	} {
		c := config()
		change(&c)
		if _, err := regex.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestExplain: how far each pattern comes.
func TestExplain(t *testing.T) {
	for line, want := range map[string]string{
		"refused eve (no quota)": `pattern 1 does not fit the beginning "refused eve (no quota)"; ` +
			`pattern 2 fits "refused eve (no", to its group why; what comes next does not fit " quota)"`,
		"refused eve (quota) twice": `pattern 1 does not fit the beginning "refused eve (quota) twice"; ` +
			`pattern 2 fits "refused eve (quota)" and leaves " twice"`,
	} {
		if got := newParser(t).Explain([]byte(line)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Nov 20 23:59:59 ann asked llama-3-8b: 200")
	f.Add("refused \xff (quota)")
	f.Fuzz(func(t *testing.T, line string) {
		p := newParser(t)
		if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(line), Seen: time.Unix(1795251994, 0)}); outcome.Verdict == parsers.Unparsed {
			p.Explain([]byte(line))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := newParser(b)
	line := parsers.Line{Data: []byte("Nov 20 23:59:59 ann asked llama-3-8b: 200"), Seen: time.Now()}
	var drafts []parsers.Draft
	b.SetBytes(int64(len(line.Data)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, _, _ = p.Parse(drafts[:0], line)
	}
}
