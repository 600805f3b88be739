//go:build otelcollector

package endtoend

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// collected is a LogRecord as the collector's file exporter writes it (OTLP/JSON).
type collected struct {
	EventName    string `json:"eventName"`
	TraceID      string `json:"traceId"`
	TimeUnixNano string `json:"timeUnixNano"`
	Body         value  `json:"body"`
	Attributes   []pair `json:"attributes"`
}

type pair struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

// value is an AnyValue.
type value struct {
	String *string  `json:"stringValue"`
	Int    *string  `json:"intValue"`
	Double *float64 `json:"doubleValue"`
	Bool   *bool    `json:"boolValue"`
	Array  *struct {
		Values []value `json:"values"`
	} `json:"arrayValue"`
	Map *struct {
		Values []pair `json:"values"`
	} `json:"kvlistValue"`
}

// text returns what the value holds, without its type.
func (v value) text() string {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		return *v.Int
	case v.Double != nil:
		return fmt.Sprint(*v.Double)
	case v.Bool != nil:
		return fmt.Sprint(*v.Bool)
	case v.Array != nil:
		items := make([]string, len(v.Array.Values))
		for i, item := range v.Array.Values {
			if items[i] = item.text(); item.Array != nil {
				items[i] = "an array"
			}
		}
		return fmt.Sprint(items)
	}
	return ""
}

// conventions are the names that OpenTelemetry's semantic conventions have for
// fields of the samples' records.
var conventions = map[string]string{
	"model.name": "gen_ai.request.model", "model.served": "gen_ai.response.model", "model.provider": "gen_ai.provider.name",
	"api.operation": "gen_ai.operation.name", "session.response_id": "gen_ai.response.id",
	"params.temperature": "gen_ai.request.temperature", "params.top_p": "gen_ai.request.top_p", "params.top_k": "gen_ai.request.top_k",
	"params.max_tokens": "gen_ai.request.max_tokens", "params.seed": "gen_ai.request.seed", "params.n": "gen_ai.request.choice.count",
	"usage.input_tokens": "gen_ai.usage.input_tokens", "usage.output_tokens": "gen_ai.usage.output_tokens",
	"usage.cached_tokens": "gen_ai.usage.cache_read.input_tokens",
	"output.finish":       "gen_ai.response.finish_reasons",
	"id":                  "log.record.uid", "actor.id": "user.id", "client.ip": "client.address",
	"api.method": "http.request.method", "api.path": "url.path", "api.status": "http.response.status_code",
}

// A real OpenTelemetry Collector takes the copy: each record that the archive
// holds once, under the names of the conventions. `make otel-collector` runs this.
func TestCollector(t *testing.T) {
	var inputs strings.Builder
	for folder, preset := range map[string]string{
		"azureopenai": "azure-openai", "bedrock": "bedrock", "caddy": "caddy", "envoyaigateway": "envoy-ai-gateway", "kong": "kong",
		"litellm": "litellm", "llamacpp": "llamacpp", "nginx": "nginx", "ollama": "ollama", "openaiaudit": "openai-audit",
		"sglang": "sglang", "tgi": "tgi", "triton": "triton", "vertex": "vertex", "vllm": "vllm",
	} {
		logs, err := filepath.Abs("../../parsers/" + folder + "/testdata")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&inputs, "[[inputs.file]]\nname = %q\npaths = [%q]\nparser = %q\nservice = \"chat\"\n", preset, logs+"/*.log", preset)
	}
	address := freeAddress(t)
	s := newSite(t, inputs.String(), directoryOutput+`
[capture]
default = "full"
[[outputs.otlp]]
name = "siem"
url = "http://`+address+`"
required = true
`)
	stop := startCollector(t, s, address)
	s.once()
	stop()
	records := readCollected(t, s.path("collected.json"))
	c := s.read(s.path("archive"))
	var sent, taken []string
	for _, line := range c.raw {
		sent = append(sent, string(line))
	}
	seen := make(map[string]int)
	for i := range records {
		taken = append(taken, records[i].Body.text())
		records[i].compare(t, seen)
	}
	slices.Sort(sent)
	slices.Sort(taken)
	if len(sent) < 1000 || !slices.Equal(sent, taken) {
		t.Errorf("the archive holds %d records, the collector wrote %d, or others", len(sent), len(taken))
	}
	for _, name := range conventions {
		if seen[name] == 0 {
			t.Errorf("no record came with %s", name)
		}
	}
	if seen["gen_ai.input.messages"] == 0 || seen["gen_ai.output.messages"] == 0 {
		t.Errorf("prompts and answers came %d and %d times", seen["gen_ai.input.messages"], seen["gen_ai.output.messages"])
	}
	t.Logf("%d records, %d names of attributes", len(taken), len(seen))
}

// compare compares a record's attributes with its body, which is the record as it
// was sealed, and counts them by name.
func (r *collected) compare(t *testing.T, seen map[string]int) {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal([]byte(r.Body.text()), &record); err != nil {
		t.Fatal(err)
	}
	attributes := make(map[string]value)
	for _, a := range r.Attributes {
		if _, twice := attributes[a.Key]; twice {
			t.Errorf("%s: %s is there twice", text(record, "id"), a.Key)
		}
		attributes[a.Key] = a.Value
		seen[a.Key]++
	}
	for field, name := range conventions {
		want, is := member(record, field)
		got, named := attributes[name]
		if is != named || is && got.text() != fmt.Sprint(want) {
			t.Errorf("%s: %s is %q (%v), %s is %v (%v)", text(record, "id"), name, got.text(), named, field, want, is)
		}
	}
	for field, name := range map[string]string{"input.text": "gen_ai.input.messages", "output.text": "gen_ai.output.messages"} {
		if want, is := member(record, field); is && !attributes[name].says(fmt.Sprint(want)) {
			t.Errorf("%s: %s is not the message %v", text(record, "id"), name, want)
		}
	}
	trace := r.TraceID
	if trace == "" { // one of another form is an attribute
		trace = attributes["auditail.session.trace_id"].text()
	}
	if r.EventName != text(record, "event") || trace != text(record, "session.trace_id") {
		t.Errorf("%s: event %q, trace %q", text(record, "id"), r.EventName, trace)
	}
	if at, err := time.Parse(time.RFC3339Nano, text(record, "time")); err != nil || fmt.Sprint(at.UnixNano()) != r.TimeUnixNano {
		t.Errorf("%s: time %s, %v", text(record, "id"), r.TimeUnixNano, err)
	}
}

// says tells whether the value is one message with one part of this text.
func (v value) says(content string) bool {
	if v.Array == nil || len(v.Array.Values) != 1 || v.Array.Values[0].Map == nil {
		return false
	}
	for _, member := range v.Array.Values[0].Map.Values {
		if member.Key != "parts" || member.Value.Array == nil || len(member.Value.Array.Values) != 1 || member.Value.Array.Values[0].Map == nil {
			continue
		}
		return slices.ContainsFunc(member.Value.Array.Values[0].Map.Values, func(p pair) bool {
			return p.Key == "content" && p.Value.text() == content
		})
	}
	return false
}

// member returns a field by its dotted path. Numbers are as they stand in JSON.
func member(record map[string]any, path string) (any, bool) {
	group, name, nested := strings.Cut(path, ".")
	found, is := record[group]
	if members, ok := found.(map[string]any); ok && nested {
		found, is = members[name]
	}
	if n, ok := found.(float64); ok && n == float64(int64(n)) {
		return int64(n), is
	}
	return found, is
}

// startCollector starts the program of the environment variable COLLECTOR; stop
// ends it, so that all of its file is written.
func startCollector(t *testing.T, s *site, address string) (stop func()) {
	t.Helper()
	s.write("collector.yaml", fmt.Sprintf(`receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
exporters:
  file: {path: %q}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [otlp], exporters: [file]}}
`, address, s.path("collected.json")))
	p := &process{t: t, command: exec.CommandContext(t.Context(), os.Getenv("COLLECTOR"), "--config", s.path("collector.yaml")), done: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if err := p.command.Start(); err != nil {
		t.Fatalf("start the collector, whose path the environment variable COLLECTOR gives: %v", err)
	}
	go func() { p.done <- p.command.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	p.logged("Everything is ready")
	return func() { p.terminate(patience) }
}

func readCollected(t *testing.T, name string) (all []collected) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var request struct {
			ResourceLogs []struct {
				ScopeLogs []struct {
					LogRecords []collected `json:"logRecords"`
				} `json:"scopeLogs"`
			} `json:"resourceLogs"`
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			t.Fatal(err)
		}
		for _, resource := range request.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				all = append(all, scope.LogRecords...)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
