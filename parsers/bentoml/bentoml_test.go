package bentoml_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/bentoml"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/vllm"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser() parsers.Parser {
	c := parsers.Config{Name: "bento", Capture: parsertest.Capture}
	engine, err := vllm.New(c)
	if err != nil {
		panic(err)
	}
	return must(bentoml.New(bentoml.Config{Config: c, Engine: engine}))
}

func newBare() parsers.Parser {
	return must(bentoml.New(bentoml.Config{Config: parsers.Config{Name: "bento", Provider: "local"}}))
}

func must(p *bentoml.Parser, err error) parsers.Parser {
	if err != nil {
		panic(err)
	}
	return p
}

// samples are logs of several versions; see testdata.
var samples = []string{"text-1.0", "versions"}

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

// TestBare: without an engine its lines are unparsed, and BentoML's are the same.
func TestBare(t *testing.T) {
	for _, name := range samples {
		with, without := newParser(), newBare()
		for _, line := range read(t, name) {
			drafts, outcome := parsertest.Parse(t, with, line)
			own, bare := parsertest.Parse(t, without, line)
			ofEngine := bytes.Contains(line.Data, []byte(".py:43]")) || bytes.Contains(line.Data, []byte("llm_engine.py")) ||
				bytes.Contains(line.Data, []byte("Started server process"))
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
	for _, line := range read(t, "versions") {
		parsertest.Parse(t, p, line)
	}
	s := p.(parsers.Stateful)
	good := s.Snapshot()
	if len(good) == 0 || s.Held() != 1 {
		t.Fatalf("%d bytes, %d lines held", len(good), s.Held())
	}
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

// TestIDs: ids of both bases are the same ids.
func TestIDs(t *testing.T) {
	for trace, want := range map[string]string{
		"trace=175923203261911804790364073480797463970,span=2163644694959317809,sampled=0":  "84599395fe3f00c6baf2a433d32aa5a2 1e06cf62f7356331",
		"trace=0AF7651916CD43DD8448EB211C80319C,span=B7AD6B7169203331,sampled=1":            "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331",
		"trace=af7651916cd43dd8448eb211c80319c,span=7ad6b7169203331,sampled=1":              "0af7651916cd43dd8448eb211c80319c 07ad6b7169203331",
		"trace=340282366920938463463374607431768211455,span=18446744073709551615,sampled=0": "ffffffffffffffffffffffffffffffff ffffffffffffffff",
		"trace=340282366920938463463374607431768211456,span=18446744073709551616,sampled=0": " ",
		"trace=01234567890123456789012345678901,span=0123456789012345,sampled=0":            "01234567890123456789012345678901 0123456789012345",
		"trace=1,span=18446744073709551616,sampled=0":                                       "00000000000000000000000000000001 ",
		"trace=0,span=0,sampled=0": " ",
	} {
		line := "2022-09-18T23:18:01+0000 [INFO] [api_server:a:1] 127.0.0.1:1 (scheme=http,method=POST,path=/x) (status=200) 1.0ms (" + trace + ")"
		drafts, outcome := parsertest.Parse(t, newBare(), parsers.Line{Data: []byte(line)})
		if len(drafts) != 1 {
			t.Errorf("%s: %+v", line, outcome)
			continue
		}
		r := &drafts[0].Record
		if got := string(r.Text(audit.SessionTraceID)) + " " + string(r.Text(audit.SessionSpanID)); got != want {
			t.Errorf("%s: %s, want %s", trace, got, want)
		}
	}
}

// TestCalls: the message of a call has to fit to the last byte.
func TestCalls(t *testing.T) {
	for message, want := range map[string]string{
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=200) 1.0ms":                             "model.inference success /x",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x y,length=3) (status=200,length=) 1.0ms":          "model.inference success /x y",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=403,type=a,length=1) 1.0ms) 2.0ms":      "",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=200) 1.0ms, (status=500) 2.0ms":         "",
		"1.2.3.4:5 (scheme=http,method=GET,path=/x) (status=200) 1.0ms":                              "data.access success /x",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=405) 1.0ms":                             "data.modify failed /x",
		"1.2.3.4:5 (scheme=http,method=post,path=/x) (status=200) 1.0ms":                             "",
		"1.2.3.4:5 (scheme=ftp,method=POST,path=/x) (status=200) 1.0ms":                              "",
		"1.2.3.4:5 (scheme=http,method=POST,path=) (status=200) 1.0ms":                               "",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=2000) 1.0ms":                            "",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=200) 1.0s":                              "",
		"1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=200) 1.0ms and more":                    "",
		"he said 1.2.3.4:5 (scheme=http,method=POST,path=/x) (status=200) 1.0ms":                     "",
		"1.2.3.4:5 (scheme=http,method=POST) (status=200) 1.0ms":                                     "",
		"1.2.3.4:5 (scheme=http,path=/a.B/C,size=1) (http_status=200,grpc_status=0,size=1) 1.0ms":    "data.access success /a.B/C",
		"1.2.3.4:5 (scheme=http,path=/a.B/C,size=1) (http_status=200,grpc_status=zero,size=1) 1.0ms": "",
		"1.2.3.4:5 (scheme=ws,path=/v1/realtime) - Connection established":                           "model.inference success /v1/realtime",
		"1.2.3.4:5 (scheme=ws,path=/v1/realtime) - Connection lost":                                  "",
	} {
		line := "2022-09-18T23:18:01+0000 [INFO] [api_server:a:1] " + message
		drafts, outcome := parsertest.Parse(t, newBare(), parsers.Line{Data: []byte(line)})
		got := ""
		if len(drafts) == 1 {
			r := &drafts[0].Record
			got = string(r.Text(audit.Event)) + " " + string(r.Text(audit.Outcome)) + " " + string(r.Text(audit.APIPath))
		}
		if got != want || (got == "") != (outcome.Verdict == parsers.Unparsed) {
			t.Errorf("%s: %q, want %q (%+v)", message, got, want, outcome)
		}
	}
}

func FuzzParse(f *testing.F)   { parsertest.Fuzz(f, newParser) }
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, newParser) }

const (
	accessLine = "2022-09-18T23:18:01+0000 [INFO] [api_server:iris_classifier:1] 127.0.0.1:55723 (scheme=http,method=POST,path=/classify,type=application/json,length=9) (status=200,type=application/json,length=1) 0.465ms (trace=175923203261911804790364073480797463970,span=2163644694959317809,sampled=0,service.name=iris_classifier)\n"
	rpcLine    = "2022-12-01T08:00:00+0000 [INFO] [grpc_api_server:fraud:3] ipv4:10.0.0.9:52114 (scheme=http,path=/bentoml.grpc.v1.BentoService/Call,type=application/grpc,size=17) (http_status=200,grpc_status=0,type=application/grpc,size=60) 1.213ms (trace=0af7651916cd43dd8448eb211c80319c,span=b7ad6b7169203331,sampled=0,service.name=fraud)\n"
)

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, newParser(), accessLine+rpcLine) }

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, newParser(), accessLine) }
func BenchmarkRPC(b *testing.B)    { parsertest.Benchmark(b, newParser(), rpcLine) }
