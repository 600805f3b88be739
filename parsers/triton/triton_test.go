package triton_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/triton"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := triton.New(parsers.Config{Name: "triton"})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) {
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".log")
		t.Run(name, func(t *testing.T) { parsertest.Log(t, fresh, name) })
	}
}

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

// FuzzRestore: bytes that are taken for a state are one.
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

const (
	traced = `,{"id":1,"model_name":"simple","model_version":1,"request_id":"G-1"},{"id":1,"timestamps":[{"name":"REQUEST_START","ns":2356425054785863}]},` +
		`{"id":1,"timestamps":[{"name":"REQUEST_END","ns":2356425057643164}]}` + "\n"
	process  = `I0131 00:45:01.169500 760 infer_handler.cc:754] "Process for ModelInferHandler, rpc_ok=1, 0 step START"` + "\n"
	request  = `I0131 00:45:01.169500 760 http_server.cc:4619] "HTTP request: 2 /v2/models/identity_fp32/versions/1/infer"` + "\n"
	prepared = `I0131 00:45:01.169611 760 infer_request.cc:905] "[request id: <id_unknown>] prepared: [0x0x7efe841eb340] request id: , model: identity_fp32, requested version: 1, actual version: 1, flags: 0x0, correlation id: 0, batch size: 1, priority: 0, timeout (us): 0\noriginal inputs:\n"` + "\n"
)

func TestNoAllocations(t *testing.T) {
	parsertest.NoAllocations(t, fresh(), traced)
	parsertest.NoAllocations(t, fresh(), process)
}

func BenchmarkTrace(b *testing.B) { parsertest.Benchmark(b, fresh(), traced) }

func BenchmarkIgnored(b *testing.B) { parsertest.Benchmark(b, fresh(), process) }

// BenchmarkCall joins a request line and what was prepared.
func BenchmarkCall(b *testing.B) { parsertest.Benchmark(b, fresh(), request+prepared) }

// TestSeveralTraces: a line of a trace file may hold several requests. Each is a record
// of its own of that line.
func TestSeveralTraces(t *testing.T) {
	line := parsertest.Lines("trace", []byte("["+traced[1:len(traced)-1]+`,{"id":2,"model_name":"other","activity":"TENSOR_QUEUE_INPUT","tensor":{"name":"INPUT0","data":"1"}}]`))[0]
	drafts, outcome := parsertest.Parse(t, fresh(), line)
	if outcome.Verdict != parsers.Recorded || len(drafts) != 2 || drafts[0].Sub != 0 || drafts[1].Sub != 1 {
		t.Errorf("%v, %d records", outcome, len(drafts))
	}
}

// TestZone: Triton writes UTC; an input may say otherwise.
func TestZone(t *testing.T) {
	line := parsertest.Lines("triton", []byte(`I0729 15:15:05.000001 1 model_lifecycle.cc:636] successfully unloaded 'm' version 1`))[0]
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[*time.Location]string{nil: "2026-07-29T15:15:05.000001Z", berlin: "2026-07-29T15:15:05.000001+02:00"} {
		p, err := triton.New(parsers.Config{Location: zone})
		if err != nil {
			t.Fatal(err)
		}
		drafts, _ := parsertest.Parse(t, p, line)
		if len(drafts) != 1 || string(drafts[0].Record.Text(audit.Time)) != want {
			t.Errorf("%v: %q, want %s", zone, drafts[0].Record.Text(audit.Time), want)
		}
	}
}

// TestBounds: neither many calls nor many loads nor many servers make the state grow
// without end, and nothing is lost.
func TestBounds(t *testing.T) {
	p := fresh().(*triton.Parser)
	line := parsertest.Lines("triton", []byte("x"))[0]
	records := 0
	parse := func(path, text string) {
		line.Path, line.Data = path, []byte(text)
		drafts, _ := parsertest.Parse(t, p, line)
		records += len(drafts)
		if p.Held() > 4*(256+64*256) {
			t.Fatalf("%d lines held", p.Held())
		}
	}
	for i := range 600 {
		parse("a", fmt.Sprintf("I0729 15:15:05.000001 1 http_server.cc:1] HTTP request: 2 /v2/models/m%d/infer", i))
		parse("a", fmt.Sprintf("I0729 15:15:05.000001 1 model_lifecycle.cc:1] loading: m%d:1", i))
		parse(fmt.Sprint("b", i), "I0729 15:15:05.000001 1 model_lifecycle.cc:1] loading: m:1")
	}
	drafts, _ := p.Flush(time.Time{}, nil)
	if records += len(drafts); records != 1800 {
		t.Errorf("%d records of 600 calls and 1200 loads", records)
	}
}
