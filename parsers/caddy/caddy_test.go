package caddy_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/caddy"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := caddy.New(parsers.Config{Location: time.FixedZone("", 3600)})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkAccess(b *testing.B) { parsertest.Throughput(b, fresh(), "json") }

// TestDurationText: a duration as Go writes it, in place of seconds.
func TestDurationText(t *testing.T) {
	for text, want := range map[string]int64{`"1.5ms"`: 2, `"1m2.5s"`: 62500, `"800ns"`: 0, `0.25`: 250, `1500000`: 2} {
		line := `{"ts":1763716000.5,"request":{"method":"GET","uri":"/v1/models"},"duration":` + text + `,"status":200}`
		drafts, outcome := parsertest.Parse(t, fresh(), parsers.Line{Data: []byte(line)})
		if len(drafts) != 1 {
			t.Fatal(text, outcome)
		}
		if got := drafts[0].Record.Int(audit.UsageDurationMs); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
		parsertest.NoAllocations(t, fresh(), line+"\n")
	}
}

func BenchmarkGateway(b *testing.B) { parsertest.Gateway(b, fresh(), "json") }
