package sglang_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/sglang"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser() parsers.Parser {
	p, err := sglang.New(parsers.Config{Name: "sglang", Location: time.FixedZone("", 60*60), Capture: parsertest.Capture})
	if err != nil {
		panic(err)
	}
	return p
}

// samples are logs of several versions; see testdata.
var samples = []string{"v0.4-text", "versions", "json"}

func TestGolden(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) { parsertest.Log(t, newParser, name) })
	}
}

func read(t testing.TB, name string) []parsers.Line {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return parsertest.Lines(name, log)
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

// TestSecrets: neither the API key of the banner nor a header reaches a record or
// a snapshot, and a prompt only as the policy left it.
func TestSecrets(t *testing.T) {
	for _, name := range samples {
		p := newParser()
		for _, line := range read(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				if r := drafts[i].Record.Append(nil, 0); bytes.Contains(r, []byte("sk-test")) {
					t.Errorf("%s: %s", line.Data, r)
				}
			}
			if bytes.Contains(p.(parsers.Stateful).Snapshot(), []byte("sk-test")) {
				t.Errorf("in the snapshot behind %s", line.Data)
			}
		}
	}
	bare, err := sglang.New(parsers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	line := `[2025-12-30 02:38:12] Receive: obj=GenerateReqInput(rid='a', text='the launch code', sampling_params={}, stream=False)`
	if _, outcome := parsertest.Parse(t, bare, parsers.Line{Data: []byte(line)}); outcome.Verdict != parsers.Held {
		t.Fatal(outcome)
	}
	if bytes.Contains(bare.Snapshot(), []byte("launch")) {
		t.Error("without a policy the prompt is in the snapshot")
	}
}

// TestCut: the head of a line beyond max_line is used as far as it goes.
func TestCut(t *testing.T) {
	for line, want := range map[string]string{
		`[2025-12-30 02:38:12] Receive: obj=GenerateReqInput(rid='a', text='it is lo`:                                                "held",
		`[2025-12-30 02:38:12] Receive: obj=GenerateReqInput(text='it is lo`:                                                         "unknown ",
		`[2025-12-30 02:38:12] Finish: obj=GenerateReqInput(rid='a', text='it is lo`:                                                 "unknown a",
		`[2025-12-30 02:38:12] Finish: obj=GenerateReqInput(rid='a', text='p'), out={'text': 'long`:                                  "unknown a",
		`[2025-12-30 02:38:12] Finish: obj=GenerateReqInput(rid='a'), out={'meta_info': {'finish_reason': {'type': 'stop'}, 'x': [1`: "success a",
		`[2025-12-30 02:38:12] Receive OpenAI: obj={'model': 'm', 'messages': [{'role': 'user', 'content': 'lo`:                      "unknown ",
		`{"event": "request.received", "rid": "a", "obj": {"stream": true, "text": "lo`:                                              "held",
		`[2025-12-30 02:38:12] Receive: obj=Gene`:                                                                                    "unparsed",
	} {
		drafts, outcome := parsertest.Parse(t, newParser(), parsers.Line{Data: []byte(line), Cut: true})
		got := map[parsers.Verdict]string{parsers.Held: "held", parsers.Unparsed: "unparsed"}[outcome.Verdict]
		if len(drafts) == 1 {
			r := &drafts[0].Record
			got = string(r.Text(audit.Outcome)) + " " + string(r.Text(audit.SessionRequestID))
			if r.Flags()&audit.Truncated == 0 {
				t.Errorf("%s: not marked truncated", line)
			}
			if c := drafts[0].Input; c.Parts > 0 && bytes.HasSuffix(c.Text, []byte("lo")) && !c.Truncated {
				t.Errorf("%s: the content is not marked truncated", line)
			}
		}
		if got != want {
			t.Errorf("%s\n got %q\nwant %q", line, got, want)
		}
	}
}

// TestBounds: neither many requests nor long ones make the state grow without end,
// and all of them are recorded.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		requests, held int
		prompt         string
	}{
		"many": {requests: 3000, prompt: "p", held: 1024},
		"long": {requests: 12, prompt: strings.Repeat("p", 1<<20), held: 8},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParser()
			records := 0
			for i := range c.requests {
				line := parsers.Line{
					Data:   fmt.Appendf(nil, "[2025-12-30 02:38:12] Receive: obj=GenerateReqInput(rid='%d', text='%s', stream=False)", i, c.prompt),
					Offset: int64(i), Size: 1, Generation: "g",
				}
				drafts, outcome, err := p.Parse(nil, line)
				if err != nil || outcome.Verdict != parsers.Held {
					t.Fatal(outcome, err)
				}
				records += len(drafts)
				if n := p.(parsers.Stateful).Held(); n > c.held {
					t.Fatalf("%d lines are held", n)
				}
			}
			drafts, _ := p.(parsers.Stateful).Flush(time.Time{}, nil)
			if records += len(drafts); records != c.requests {
				t.Errorf("%d records of %d requests", records, c.requests)
			}
		})
	}
}

// TestLinear: reading a line takes time in proportion to its length, wherever its
// quotes, backslashes and brackets stand. Each of these lines would take minutes if
// it did not, more than a test may.
func TestLinear(t *testing.T) {
	const length, head = 2 << 20, "Receive: obj=GenerateReqInput("
	for name, line := range map[string]string{
		"escapes":  head + "rid='a', text='" + strings.Repeat(`\n`, length/2) + "')",
		"open":     head + "rid='a', text='" + strings.Repeat(`\n`, length/2),
		"halves":   head + "rid='a', text='a'" + strings.Repeat(" ... 'a'", length/8) + ")",
		"texts":    head + "rid='a', text=[" + strings.Repeat("'a', ", length/5) + "])",
		"ids":      head + "rid=[" + strings.Repeat("'a', ", length/5) + "])",
		"pairs":    head + strings.Repeat("n=1, ", length/5) + ")",
		"brackets": head + "rid='a', x=" + strings.Repeat("[]", length/2) + ")",
		"nested":   "Receive OpenAI: obj={'messages': " + strings.Repeat("[{'content': ", length/13),
		"messages": "Receive OpenAI: obj={'messages': [" + strings.Repeat("{'content': 'a'}, ", length/18) + "]}",
		"json":     `{"event": "request.received", "rid": [` + strings.Repeat(`"a",`, length/4) + `"a"], "obj": {"stream": true}}`,
		"bars":     strings.Repeat("\rCapturing batches (1%", length/22),
	} {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []bool{false, true} {
				if _, _, err := newParser().Parse(nil, parsers.Line{Data: []byte(line), Cut: cut}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F)   { parsertest.Fuzz(f, newParser) }
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, newParser) }

const (
	accessLine = `[2025-03-03 17:53:04] INFO:     10.27.1.1:65179 - "POST /v1/chat/completions HTTP/1.1" 200 OK` + "\n"
	statsLine  = `[2025-03-03 17:53:05 TP0] Decode batch. #running-req: 1, #token: 104, token usage: 0.00, gen throughput (token/s): 4.07, #queue-req: 0` + "\n"
)

func TestNoAllocations(t *testing.T) {
	p := newParser()
	parsertest.Parse(t, p, parsers.Line{Data: []byte(`[2025-03-03 17:50:01] server_args=ServerArgs(model_path='deepseek-ai/DeepSeek-R1', revision=None)`), Path: "steady.log"})
	parsertest.NoAllocations(t, p, accessLine+statsLine)
}

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, newParser(), accessLine) }
func BenchmarkStats(b *testing.B)  { parsertest.Benchmark(b, newParser(), statsLine) }

// BenchmarkRequest opens and ends a request with a prompt of 4 KB.
func BenchmarkRequest(b *testing.B) {
	request := `obj=GenerateReqInput(text='` + strings.Repeat(`It\'s a line of sixty-four bytes, with an escape at its end.\n`, 64) +
		`', sampling_params={'temperature': 0.1, 'max_new_tokens': 32, 'top_p': 0.9}, rid='6b62f9deb538c6b189b590d388e6fd99', stream=False)`
	parsertest.Benchmark(b, newParser(), "[2025-03-03 17:53:11] Receive: "+request+"\n[2025-03-03 17:53:11] Finish: "+request+
		", out={'text': ' me', 'meta_info': {'id': '6b62f9deb538c6b189b590d388e6fd99', 'prompt_tokens': 5, 'completion_tokens': 32}}\n")
}
