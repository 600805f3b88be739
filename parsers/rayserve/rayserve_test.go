package rayserve_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/rayserve"
	"github.com/auditail/auditail/parsers/vllm"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser() parsers.Parser {
	c := parsers.Config{Name: "ray", Capture: parsertest.Capture}
	engine, err := vllm.New(c)
	if err != nil {
		panic(err)
	}
	return must(rayserve.New(rayserve.Config{Config: c, Engine: engine}))
}

func newBare() parsers.Parser {
	return must(rayserve.New(rayserve.Config{Config: parsers.Config{Name: "ray", Provider: "local"}}))
}

func must(p *rayserve.Parser, err error) parsers.Parser {
	if err != nil {
		panic(err)
	}
	return p
}

// samples are logs of several versions; see testdata.
var samples = []string{"text-2.40", "versions"}

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
		t.Run(name, func(t *testing.T) { parsertest.Log(t, newParser, name) })
	}
}

// TestBare: without an engine its lines are unparsed, and Ray's are the same.
func TestBare(t *testing.T) {
	for _, name := range samples {
		with, without := newParser(), newBare()
		for _, line := range read(t, name) {
			drafts, outcome := parsertest.Parse(t, with, line)
			own, bare := parsertest.Parse(t, without, line)
			ofEngine := bytes.Contains(line.Data, []byte(".py:43]")) || bytes.Contains(line.Data, []byte("llm_engine.py")) ||
				bytes.Contains(line.Data, []byte("async_llm.py"))
			switch {
			case ofEngine && (bare.Verdict != parsers.Unparsed || len(own) > 0):
				t.Errorf("%s: %+v without an engine", line.Data, bare)
			case !ofEngine && (bare.Verdict != outcome.Verdict || len(own) != len(drafts)):
				t.Errorf("%s: %+v, without an engine %+v", line.Data, outcome, bare)
			}
		}
		if without.(parsers.Stateful).Held() != 0 {
			t.Error("lines are held without an engine")
		}
	}
}

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true,
		audit.ModelProvider: true, audit.APIServer: true,
	}
	for _, name := range samples {
		p := newParser()
		trace := p.(parsers.Traced).Trace()
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

// TestRestoreDamage: a damaged snapshot is refused, and the state stays.
func TestRestoreDamage(t *testing.T) {
	p := newParser()
	for _, line := range read(t, "text-2.40") {
		parsertest.Parse(t, p, line)
	}
	s := p.(parsers.Stateful)
	good := s.Snapshot()
	for n := 1; n < len(good); n++ {
		if s.Restore(good[:n]) == nil {
			t.Fatalf("the first %d of %d bytes were taken", n, len(good))
		}
	}
	if !bytes.Equal(s.Snapshot(), good) || s.Held() != 1 {
		t.Error("the state changed")
	}
	if newBare().(parsers.Stateful).Restore(good) == nil {
		t.Error("a parser without an engine took an engine's state")
	}
}

// TestCalls: the message of a call has to fit to the last byte.
func TestCalls(t *testing.T) {
	for message, want := range map[string]string{
		"POST /v1/rerank 200 1.0ms":                  "model.inference success",
		"POST /v1/rerank 200 1.0ms and more":         "",
		"POST /v1/re rank 200 1.0ms":                 "",
		"POST /v1/rerank 200 1.0s":                   "",
		"POST /v1/rerank ok 1.0ms":                   "",
		"post /v1/rerank 200 1.0ms":                  "",
		"client said POST /v1/rerank 200 1.0ms":      "",
		"10.0.0.1:1 CALL chat OK 1.0ms":              "",
		"CALL chat OK 1.0ms":                         "model.inference success",
		"CALL chat DEADLINE_EXCEEDED 1.0ms":          "model.inference failed",
		"CALL chat StatusCode.PERMISSION_DENIED 1ms": "model.inference denied",
		"CHAT 200 1.0ms":                             "model.inference success",
		"WS /v1/realtime 1006 1.0ms":                 "model.inference failed",
		"DELETE /v1/files/x 204 1.0ms":               "data.delete success",
		"CALL reconfigure OK 1.0ms":                  "data.access success",
	} {
		line := "INFO 2025-06-01 09:00:00,001 llm_LLM ab12 id1 -- " + message
		drafts, outcome := parsertest.Parse(t, newBare(), parsers.Line{Data: []byte(line)})
		got := ""
		if len(drafts) == 1 {
			got = string(drafts[0].Record.Text(audit.Event)) + " " + string(drafts[0].Record.Text(audit.Outcome))
		}
		if got != want || (got == "") != (outcome.Verdict == parsers.Unparsed) {
			t.Errorf("%s: %q, want %q (%+v)", message, got, want, outcome)
		}
	}
}

func FuzzParse(f *testing.F)   { parsertest.Fuzz(f, newParser) }
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, newParser) }

const (
	accessLine = "INFO 2024-11-20 13:54:10,001 llm_app_LLMRouter ab12cd34 f6cfe59c-6d15-4f94-afb6-dfeb4ff43586 -- POST /v1/chat/completions 200 812.4ms\n"
	callLine   = "(ServeReplica:app:LLM pid=7) INFO 2024-11-20 13:54:10,001 llm_app_LLMServer ab12cd34 f6cfe59c-6d15-4f94-afb6-dfeb4ff43586 -- CALL chat OK 812.4ms\n"
)

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, newParser(), accessLine+callLine) }

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, newParser(), accessLine) }
func BenchmarkCall(b *testing.B)   { parsertest.Benchmark(b, newParser(), callLine) }
