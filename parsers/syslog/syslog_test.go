package syslog_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/syslog"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func path(name string) []string { return []string{name} }

func fresh() parsers.Parser {
	p, err := syslog.New(syslog.Config{
		Config: parsers.Config{Name: "in", Provider: "gateway", Location: time.FixedZone("", 3600)},
		Fields: []parsers.Mapping{
			{Field: "actor.id", Path: path("sd.call@32473.user"), Or: []parsers.Source{{Path: path("message.user.id")}}},
			{Field: "model.name", Path: path("sd.call@32473.model"), Or: []parsers.Source{{Path: path("message.model")}}},
			{Field: "usage.input_tokens", Path: path("message.tokens")},
			{Field: "extra.host", Path: path("host")},
			{Field: "extra.app", Path: path("app")},
			{Field: "extra.pid", Path: path("pid")},
			{Field: "extra.severity", Path: path("severity")},
			{Field: "extra.facility", Path: path("facility")},
			{Field: "extra.id", Path: path("msgid")},
		},
		Set: []parsers.Constant{{Field: "event", Value: "model.inference"}},
	})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkLine(b *testing.B) { parsertest.Throughput(b, fresh(), "forms") }

// TestMessage: the message itself can be mapped, and another time than the header's.
func TestMessage(t *testing.T) {
	p, err := syslog.New(syslog.Config{
		Config: parsers.Config{Location: time.UTC},
		Fields: []parsers.Mapping{
			{Field: "input", Path: path("message")},
			{Field: "time", Path: path("message.at"), Layout: "unix_ms"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	line := `<13>Nov 21 09:03:19 app: {"at":1763716000123}`
	drafts, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(line)})
	if len(drafts) != 1 {
		t.Fatal(outcome)
	}
	if got := string(drafts[0].Record.Text(audit.Time)); got != "2025-11-21T09:06:40.123Z" {
		t.Errorf("time %q", got)
	}
	if got := string(drafts[0].Input.Text); got != `{"at":1763716000123}` {
		t.Errorf("input %q", got)
	}
}

// TestNoSuchDay: a header with a day that there is not is one, but tells no time.
func TestNoSuchDay(t *testing.T) {
	drafts, outcome := parsertest.Parse(t, fresh(), parsers.Line{Data: []byte("Nov 31 09:03:19 gpu-box gateway[1]: x")})
	if len(drafts) != 1 {
		t.Fatal(outcome)
	}
	if r := &drafts[0].Record; r.Has(audit.Time) || r.Has(audit.TimeBasis) {
		t.Errorf("time %q", r.Text(audit.Time))
	}
}
