package uvicorn_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/uvicorn"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser() parsers.Parser   { return must(uvicorn.New(config())) }
func newGunicorn() parsers.Parser { return must(uvicorn.NewGunicorn(config())) }

func must(p *uvicorn.Parser, err error) parsers.Parser {
	if err != nil {
		panic(err)
	}
	return p
}

func config() parsers.Config {
	return parsers.Config{Name: "in", Provider: "local", Location: time.FixedZone("", 60*60)}
}

// samples are logs of both servers; see testdata.
var samples = []string{"plain", "ansi", "custom-log-config", "prefixes", "json", "gunicorn-uvicorn-worker", "gunicorn-combined"}

func read(t testing.TB, name string) []parsers.Line {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return parsertest.Lines(name, log)
}

func TestGolden(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			start := newParser
			if strings.HasPrefix(name, "gunicorn") {
				start = newGunicorn
			}
			parsertest.Log(t, start, name)
		})
	}
}

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	p := newParser()
	trace := p.(parsers.Traced).Trace()
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true,
		audit.ModelProvider: true, audit.APIServer: true, audit.ClientApp: true,
	}
	for _, name := range samples {
		for _, line := range read(t, name) {
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
}

// TestSecrets: nothing of a line that is no access line reaches a record, and a
// query string with a key in it is not kept.
func TestSecrets(t *testing.T) {
	p := newParser()
	for _, text := range []string{
		`INFO:     10.0.0.1:1 - "POST /v1/chat/completions?key=sk-test-alice HTTP/1.1" 200 OK`,
		`{"request":"POST /v1/chat/completions?api_key=sk-test-alice HTTP/1.1","status":200,"authorization":"Bearer sk-test-alice","message":"sk-test-alice"}`,
	} {
		drafts, _ := parsertest.Parse(t, p, parsers.Line{Data: []byte(text)})
		if len(drafts) != 1 || bytes.Contains(drafts[0].Record.Append(nil, 0), []byte("alice")) {
			t.Errorf("%s: %d records, %s", text, len(drafts), drafts[0].Record.Append(nil, 0))
		}
	}
}

// TestDropped: what has no home is counted.
func TestDropped(t *testing.T) {
	p := newParser()
	parsertest.Parse(t, p, parsers.Line{Data: []byte(`INFO:     testclient:1 - "GET /v1/models HTTP/1.1" 200 OK`)})
	if n := p.(parsers.Dropper).Dropped(); n != 1 {
		t.Errorf("%d dropped", n)
	}
}

func FuzzParse(f *testing.F) {
	parsertest.Fuzz(f, newGunicorn)
}

// access lines of each form.
var forms = map[string]string{
	"plain":    `INFO:     10.20.0.14:41022 - "POST /v1/chat/completions HTTP/1.1" 200 OK`,
	"coloured": "\x1b[32mINFO\x1b[0m:     10.20.0.14:41022 - \"\x1b[1mPOST /v1/chat/completions HTTP/1.1\x1b[0m\" \x1b[32m200 OK\x1b[0m",
	"stamped":  `2024-01-02 12:00:00,123 INFO:     10.20.0.14:41022 - "POST /v1/chat/completions HTTP/1.1" 200 OK`,
	"bare":     `10.20.0.14:41022 - "POST /v1/chat/completions HTTP/1.1" 200`,
	"combined": `10.20.0.14 - - [21/Nov/2026:09:06:34 +0000] "POST /v1/chat/completions HTTP/1.1" 200 517 "-" "openai-python/1.99.2"`,
	"json":     `{"ts":"2026-11-21T08:46:54,930Z","lvl":"INFO","client":"127.0.0.1:51516","request":"POST /v1/chat/completions HTTP/1.1","status":"200 OK"}`,
}

func TestNoAllocations(t *testing.T) {
	for _, line := range forms {
		parsertest.NoAllocations(t, newParser(), line)
	}
}

func BenchmarkParse(b *testing.B) {
	for name, line := range forms {
		b.Run(name, func(b *testing.B) { parsertest.Benchmark(b, newParser(), line) })
	}
}
