package litellm_test

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/litellm"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := litellm.New(parsers.Config{Provider: "litellm", Location: time.FixedZone("", 3600)})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

// TestTraps: what LiteLLM's own redaction let through, and what callers plant,
// reaches no record and no content.
func TestTraps(t *testing.T) {
	log, err := os.ReadFile("testdata/versions.log")
	if err != nil {
		t.Fatal(err)
	}
	p := fresh()
	for _, trap := range []string{"sk-test", "Bearer", "4111", "secret", "bomb", "diagnosis", "redacted-by-litellm"} {
		if !bytes.Contains(log, []byte(trap)) {
			t.Errorf("no line has the trap %q", trap)
		}
		for _, line := range parsertest.Lines("versions", log) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				d := &drafts[i]
				all := append(d.Record.Append(nil, 0), d.Input.Text...)
				if all = append(all, d.Output.Text...); bytes.Contains(all, []byte(trap)) {
					t.Errorf("%q survived: %s", trap, all)
				}
			}
		}
	}
}

func BenchmarkPayload(b *testing.B) { parsertest.Throughput(b, fresh(), "standard-logging-payload") }

func BenchmarkConsole(b *testing.B) { parsertest.Throughput(b, fresh(), "proxy-console") }
