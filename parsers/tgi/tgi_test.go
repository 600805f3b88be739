package tgi_test

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
	"github.com/auditail/auditail/parsers/tgi"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func newParser() parsers.Parser {
	p, err := tgi.New(parsers.Config{Name: "tgi"})
	if err != nil {
		panic(err)
	}
	return p
}

// samples are logs of several versions; see testdata.
var samples = []string{"v2-text", "versions", "json"}

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

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true,
		audit.ModelProvider: true, audit.APIServer: true, audit.ClientApp: true,
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

// TestSecrets: the API key of the banner, the query string and the text of errors
// reach neither a record nor a snapshot.
func TestSecrets(t *testing.T) {
	for _, name := range samples {
		p := newParser()
		for _, line := range read(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				if r := drafts[i].Record.Append(nil, 0); bytes.Contains(r, []byte("sk-test")) || bytes.Contains(r, []byte("4375")) {
					t.Errorf("%s: %s", line.Data, r)
				}
			}
			if bytes.Contains(p.(parsers.Stateful).Snapshot(), []byte("sk-test")) {
				t.Errorf("in the snapshot behind %s", line.Data)
			}
		}
	}
}

// TestTokens: the count is found wherever the router's division leaves one number
// open, and none is claimed elsewhere.
func TestTokens(t *testing.T) {
	p := newParser()
	count := func(inference, perToken time.Duration) int64 {
		line := fmt.Sprintf(`2024-02-14T06:49:51.437631Z  INFO chat_completions{total_time="1s" inference_time="%s" time_per_token="%s" seed="None"}: `+
			`text_generation_router::server: router/src/server.rs:299: Success`, debug(inference), debug(perToken))
		drafts, _ := parsertest.Parse(t, p, parsers.Line{Data: []byte(line)})
		if len(drafts) != 1 {
			t.Fatal(line)
		}
		if !drafts[0].Record.Has(audit.UsageOutputTokens) {
			return -1
		}
		return drafts[0].Record.Int(audit.UsageOutputTokens)
	}
	for _, inference := range []time.Duration{999, 12345678, 734172108, 3625371193, 120000000001} {
		for _, n := range []int64{1, 2, 3, 7, 20, 93, 512, 4096, 8191} {
			got := count(inference, inference/time.Duration(n))
			if got != n && got != -1 || got == -1 && inference > time.Duration(2*n*n) {
				t.Errorf("%d tokens in %v: %d", n, inference, got)
			}
		}
	}
	if n := count(time.Second, 0); n != -1 {
		t.Errorf("without a time per token: %d", n)
	}
	if n := count(511100000, 25500000); n != -1 {
		t.Errorf("of times that do not fit: %d", n)
	}
}

// debug prints a duration as Rust's Debug does.
func debug(d time.Duration) string {
	switch {
	case d >= time.Second:
		return figure(int64(d), 9) + "s"
	case d >= time.Millisecond:
		return figure(int64(d), 6) + "ms"
	case d >= time.Microsecond:
		return figure(int64(d), 3) + "µs"
	default:
		return fmt.Sprintf("%dns", d)
	}
}

func figure(n int64, digits int) string {
	s := fmt.Sprintf("%0*d", digits+1, n)
	return strings.TrimRight(strings.TrimRight(s[:len(s)-digits]+"."+s[len(s)-digits:], "0"), ".")
}

// TestForged: what a caller sends is read as what it is.
func TestForged(t *testing.T) {
	p := newParser()
	const tail = ` total_time="1s" inference_time="1s" time_per_token="100ms" seed="None"}: text_generation_router::server: router/src/server.rs:299: Success`
	for name, spans := range map[string]string{
		"stop": `generate{parameters=GenerateParameters { temperature: Some(0.5), stop: [" total_time=\"9s\" }: x: Success", "}:chat_completions{"] }`,
		"user agent": `HTTP request{otel.name=POST / http.client_ip=203.0.113.9 http.method=POST http.target=/generate http.user_agent=x}:chat_completions{total_time="9s"}: y ` +
			`http.client_ip=6.6.6.6 otel.kind=server trace_id=f8b5423a711ca0fdf3266912b4a6105c}:generate{parameters=GenerateParameters { temperature: Some(0.5) }`,
		"nested": "generate" + strings.Repeat(":generate", 1<<18) + "{x=1",
	} {
		drafts, _ := parsertest.Parse(t, p, parsers.Line{Data: []byte("2024-02-14T06:49:51.437631Z  INFO " + spans + tail)})
		if len(drafts) != 1 {
			t.Errorf("%s: %d records", name, len(drafts))
			continue
		}
		r := &drafts[0].Record
		if op := string(r.Text(audit.APIOperation)); op != "text_completion" {
			t.Errorf("%s: operation %s", name, op)
		}
		if name != "nested" && (r.Int(audit.UsageDurationMs) != 1000 || r.Int(audit.UsageOutputTokens) != 10) {
			t.Errorf("%s: %s", name, r.Append(nil, 0))
		}
		if ip := string(r.Text(audit.ClientIP)); ip != "" && ip != "203.0.113.9" {
			t.Errorf("%s: client %s", name, ip)
		}
	}
}

func FuzzParse(f *testing.F)   { parsertest.Fuzz(f, newParser) }
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, newParser) }

const (
	chatLine = `2024-12-10T21:50:03.478010Z  INFO chat_completions{total_time="735.200735ms" validation_time="955.594µs" queue_time="73.176µs" ` +
		`inference_time="734.172108ms" time_per_token="36.708605ms" seed="None"}: text_generation_router::server: router/src/server.rs:622: Success` + "\n"
	generateLine = `2024-12-10T21:50:09.130222Z  INFO generate{parameters=GenerateParameters { best_of: None, temperature: None, repetition_penalty: None, ` +
		`frequency_penalty: None, top_k: None, top_p: None, typical_p: None, do_sample: false, max_new_tokens: Some(100), return_full_text: None, stop: [], ` +
		`truncate: None, watermark: false, details: false, decoder_input_details: false, seed: Some(42), top_n_tokens: None, grammar: None, adapter_id: None } ` +
		`total_time="4.065504959s" validation_time="440.038965ms" queue_time="94.981µs" inference_time="3.625371193s" time_per_token="38.982485ms" seed="None"}: ` +
		`text_generation_router::server: router/src/server.rs:402: Success` + "\n"
)

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, newParser(), chatLine+generateLine) }

func BenchmarkChat(b *testing.B)     { parsertest.Benchmark(b, newParser(), chatLine) }
func BenchmarkGenerate(b *testing.B) { parsertest.Benchmark(b, newParser(), generateLine) }
