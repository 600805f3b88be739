package otlp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resources "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/inputs/internal/web"
	"github.com/auditail/auditail/inputs/internal/web/webtest"
)

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func pair(key string, v *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: v}
}

func list(values ...*common.AnyValue) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}}
}

// full is a request in which every field that becomes part of a line has a value.
func full() *collector.ExportLogsServiceRequest {
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resources.Resource{Attributes: []*common.KeyValue{pair("service.name", text("chat"))}},
		ScopeLogs: []*logs.ScopeLogs{{
			Scope: &common.InstrumentationScope{
				Name: "gateway", Version: "1.2", Attributes: []*common.KeyValue{pair("build", text("a"))},
			},
			LogRecords: []*logs.LogRecord{
				{
					TimeUnixNano: 1_700_000_000_123_456_789, ObservedTimeUnixNano: 1_700_000_001_000_000_000,
					SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO", EventName: "gen_ai.call",
					Body: text("a \"body\"\n\\ \x01 \u2028 ü"),
					Attributes: []*common.KeyValue{
						pair("gen_ai.request.model", text("llama-3-8b")),
						pair("tokens", &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: math.MinInt64}}),
						pair("temperature", &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: 0.7}}),
						pair("nan", &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: math.NaN()}}),
						pair("stream", &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}),
						pair("raw", &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{0, 255}}}),
						pair("list", list(text("x"), list(), &common.AnyValue{})),
						pair("map", &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{
							Values: []*common.KeyValue{pair("a", text("b")), pair("none", nil)},
						}}}),
					},
					DroppedAttributesCount: 3, Flags: 1,
					TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: bytes.Repeat([]byte{0x0c}, 8),
				},
				{},
			},
		}},
	}}}
}

const fullLine = `{"time_unix_nano":1700000000123456789,"observed_time_unix_nano":1700000001000000000,"severity_number":9,"severity_text":"INFO",` +
	`"event_name":"gen_ai.call","body":"a \"body\"\n\\ \u0001 ` + "\u2028" + ` ü","attributes":{"gen_ai.request.model":"llama-3-8b","tokens":-9223372036854775808,` +
	`"temperature":0.7,"nan":"NaN","stream":true,"raw":"AP8=","list":["x",[],null],"map":{"a":"b","none":null}},"dropped_attributes_count":3,"flags":1,` +
	`"trace_id":"abababababababababababababababab","span_id":"0c0c0c0c0c0c0c0c","resource":{"service.name":"chat"},` +
	`"scope":{"name":"gateway","version":"1.2","attributes":{"build":"a"}}}`

const emptyLine = `{"resource":{"service.name":"chat"},"scope":{"name":"gateway","version":"1.2","attributes":{"build":"a"}}}`

// inJSON encodes a request as OTLP's JSON encoding has it: as protobuf's, but
// ids in hexadecimal.
func inJSON(t testing.TB, request *collector.ExportLogsServiceRequest) []byte {
	t.Helper()
	body, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	for _, rl := range request.GetResourceLogs() {
		for _, sl := range rl.GetScopeLogs() {
			for _, r := range sl.GetLogRecords() {
				for _, id := range [][]byte{r.GetTraceId(), r.GetSpanId()} {
					if len(id) > 0 {
						body = bytes.ReplaceAll(body, []byte(`Id":"`+base64.StdEncoding.EncodeToString(id)), []byte(`Id":"`+strings.ToUpper(hex.EncodeToString(id))))
						body = bytes.ReplaceAll(body, []byte(`Id": "`+base64.StdEncoding.EncodeToString(id)), []byte(`Id": "`+strings.ToUpper(hex.EncodeToString(id))))
					}
				}
			}
		}
	}
	return body
}

func inProtobuf(t testing.TB, request proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func convert(t testing.TB, media string, body []byte) web.Lines {
	t.Helper()
	lines, err := format{}.Convert(media, body, web.NewShare(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLinesOfBothEncodings(t *testing.T) {
	want := fullLine + "\n" + emptyLine
	fromProtobuf := convert(t, typeProtobuf, inProtobuf(t, full()))
	if string(fromProtobuf.Data) != want || fromProtobuf.Count != 2 {
		t.Errorf("protobuf: %d lines\n%s\nwant\n%s", fromProtobuf.Count, fromProtobuf.Data, want)
	}
	fromJSON := convert(t, typeJSON, inJSON(t, full()))
	// protojson escapes what it likes to; the values are the same.
	for i, line := range strings.Split(string(fromJSON.Data), "\n") {
		if got, want := canonical(t, line), canonical(t, strings.Split(want, "\n")[i]); got != want {
			t.Errorf("JSON: line %d\n%s\nwant\n%s", i, got, want)
		}
	}
	if !json.Valid([]byte(fullLine)) {
		t.Error("the line is no JSON")
	}
}

// canonical spells strings and numbers of a JSON text in one way and keeps the
// order of its members.
func canonical(t testing.TB, line string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	var out strings.Builder
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		fmt.Fprintf(&out, "%T %[1]v\n", token)
	}
	if decoder.More() {
		t.Errorf("%q is no JSON", line)
	}
	return out.String()
}

func TestConformance(t *testing.T) {
	for media, encode := range map[string]func(lines []string) []byte{
		typeProtobuf: func(lines []string) []byte { return inProtobuf(t, ofBodies(lines)) },
		typeJSON:     func(lines []string) []byte { return inJSON(t, ofBodies(lines)) },
	} {
		t.Run(media, func(t *testing.T) {
			inputstest.Test(t, func(t testing.TB) inputstest.Subject {
				socket := webtest.Socket(t)
				sender := webtest.NewSender(t, socket, "/v1/logs", func(lines []string) (string, []byte) { return media, encode(lines) })
				return inputstest.Subject{
					Memory: inputstest.Repeats,
					Feed:   sender.Feed,
					New: func(t testing.TB) inputs.Input {
						limits := web.DefaultLimits(web.DefaultMaxBody)
						limits.Grace = 100 * time.Millisecond
						in, err := web.New(Config{Name: "otlp", Listen: "unix:" + socket}, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), limits, nil)
						if err != nil {
							t.Fatal(err)
						}
						return bodies{in: in, t: t}
					},
				}
			})
		})
	}
}

// ofBodies makes a record of each line. What is no UTF-8 goes as bytes.
func ofBodies(lines []string) *collector.ExportLogsServiceRequest {
	scope := &logs.ScopeLogs{}
	for _, line := range lines {
		body := text(line)
		if !utf8.ValidString(line) {
			body = &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte(line)}}
		}
		scope.LogRecords = append(scope.LogRecords, &logs.LogRecord{
			Body: body, EventName: map[bool]string{true: "text", false: "bytes"}[utf8.ValidString(line)],
		})
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{scope}}}}
}

// bodies is an input that hands over the bodies of the records alone, which is
// what the conformance suite sent.
type bodies struct {
	in inputs.Input
	t  testing.TB
}

func (b bodies) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	return b.in.Run(ctx, resume, unwrapped{to, b.t})
}

type unwrapped struct {
	to inputs.Appender
	t  testing.TB
}

func (u unwrapped) Append(ctx context.Context, c inputs.Chunk) error {
	c.Lines = slices.Clone(c.Lines)
	for i := range c.Lines {
		var line struct {
			Name string `json:"event_name"`
			Body string
		}
		if err := json.Unmarshal(c.Lines[i].Data, &line); err != nil {
			u.t.Errorf("%q: %v", c.Lines[i].Data, err)
		}
		c.Lines[i].Data = []byte(line.Body)
		if line.Name == "bytes" {
			raw, err := base64.StdEncoding.DecodeString(line.Body)
			if err != nil {
				u.t.Error(err)
			}
			c.Lines[i].Data = raw
		}
	}
	return u.to.Append(ctx, c)
}

func start(t *testing.T, config Config, limits web.Limits, to *inputstest.Recorder) (*http.Client, *inputstest.Running) {
	t.Helper()
	socket := webtest.Socket(t)
	config.Name, config.Listen = "otlp", "unix:"+socket
	ready := make(chan struct{})
	in, err := web.New(config, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), limits, func(net.Addr) { close(ready) })
	if err != nil {
		t.Fatal(err)
	}
	running := inputstest.Start(t, in, to)
	<-ready
	return webtest.Client(t, socket), running
}

func nested(depth int) *common.AnyValue {
	v := text("deep")
	for range depth - 1 {
		v = list(v)
	}
	return v
}

// TestPartialSuccess: what can not become a line is counted in the answer, and
// the other records are durable.
func TestPartialSuccess(t *testing.T) {
	request := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{
		{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{
			{Body: text("one")}, {Body: nested(maxDepth + 1)}, {Body: nested(maxDepth)}, {Body: text("two")},
		}}}},
		{
			Resource:  &resources.Resource{Attributes: []*common.KeyValue{pair("a", nested(maxDepth+1))}},
			ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{{Body: text("lost")}, {Body: text("lost")}}}},
		},
	}}
	for media, body := range map[string][]byte{typeProtobuf: inProtobuf(t, request), typeJSON: inJSON(t, request)} {
		to := inputstest.NewRecorder(t)
		client, running := start(t, Config{}, web.DefaultLimits(0), to)
		answer, err := webtest.Send(client, webtest.Post(t, "/v1/logs", media, body))
		if err != nil {
			t.Fatal(err)
		}
		running.Stop()
		response := decodeResponse(t, media, answer)
		if n := response.GetPartialSuccess().GetRejectedLogRecords(); n != 3 || response.GetPartialSuccess().GetErrorMessage() != errDepth.Error() {
			t.Errorf("%s: answered %v", media, response)
		}
		deepest := `{"body":` + strings.Repeat("[", maxDepth-1) + `"deep"` + strings.Repeat("]", maxDepth-1) + `}`
		to.Same([]string{`{"body":"one"}`, deepest, `{"body":"two"}`})
	}
}

func decodeResponse(t *testing.T, media string, answer webtest.Answer) *collector.ExportLogsServiceResponse {
	t.Helper()
	response := &collector.ExportLogsServiceResponse{}
	decode := proto.Unmarshal
	if media == typeJSON {
		decode = protojson.Unmarshal
	}
	if err := decode([]byte(answer.Body), response); err != nil || answer.Status != http.StatusOK || answer.Header.Get("Content-Type") != media {
		t.Fatalf("answered %d %v %q: %v", answer.Status, answer.Header, answer.Body, err)
	}
	return response
}

func TestSuccessHasNoPartialSuccess(t *testing.T) {
	for media, body := range map[string][]byte{typeProtobuf: inProtobuf(t, full()), typeJSON: inJSON(t, full())} {
		to := inputstest.NewRecorder(t)
		client, running := start(t, Config{}, web.DefaultLimits(0), to)
		for _, body := range [][]byte{body, inEmpty(media)} {
			answer, err := webtest.Send(client, webtest.Post(t, "/v1/logs", media, body))
			if err != nil {
				t.Fatal(err)
			}
			if response := decodeResponse(t, media, answer); response.PartialSuccess != nil {
				t.Errorf("%s: answered %v", media, response)
			}
		}
		running.Stop()
		if to.Count() != 2 {
			t.Errorf("%d lines are durable", to.Count())
		}
	}
}

func inEmpty(media string) []byte {
	if media == typeJSON {
		return []byte("{}")
	}
	return nil
}

// TestFailures: each is a google.rpc.Status in the encoding of the request.
func TestFailures(t *testing.T) {
	to := inputstest.NewRecorder(t)
	client, running := start(t, Config{}, web.DefaultLimits(0), to)
	for _, test := range []struct {
		media, path, body string
		status            int
		code              uint64
	}{
		{typeProtobuf, "/v1/logs", "\x0a\x05ab", http.StatusBadRequest, 3},
		{typeProtobuf, "/v1/logs", "\xff\xff", http.StatusBadRequest, 3},
		{typeProtobuf, "/v1/traces", "", http.StatusNotFound, 12},
		{typeJSON, "/v1/logs", "{", http.StatusBadRequest, 3},
		{typeJSON, "/v1/logs", "", http.StatusBadRequest, 3},
		{typeJSON, "/v1/logs", "[]", http.StatusBadRequest, 3},
		{typeJSON, "/v1/logs", `{"resourceLogs":{}}`, http.StatusBadRequest, 3},
		{typeJSON, "/v1/logs", `{"resourceLogs":[null]}`, http.StatusBadRequest, 3},
		{typeJSON, "/v1/logs", string(make([]byte, web.DefaultMaxBody+1)), http.StatusRequestEntityTooLarge, 8},
		{"text/plain", "/v1/logs", "line", http.StatusUnsupportedMediaType, 3},
	} {
		answer, err := webtest.Send(client, webtest.Post(t, test.path, test.media, []byte(test.body)))
		if err != nil {
			t.Fatal(err)
		}
		code, message := status(t, answer)
		if answer.Status != test.status || code != test.code || message == "" ||
			test.media != "text/plain" && answer.Header.Get("Content-Type") != test.media {
			t.Errorf("%.20q: answered %d %v, status %d %q; want %d, %d", test.body, answer.Status, answer.Header, code, message, test.status, test.code)
		}
	}
	running.Stop()
	to.Same(nil)
}

// status reads a google.rpc.Status.
func status(t *testing.T, answer webtest.Answer) (code uint64, message string) {
	t.Helper()
	if answer.Header.Get("Content-Type") == typeJSON {
		var s struct {
			Code    uint64
			Message string
		}
		if err := json.Unmarshal([]byte(answer.Body), &s); err != nil {
			t.Fatal(err)
		}
		return s.Code, s.Message
	}
	if err := fields([]byte(answer.Body), func(f field) error {
		if f.id == 1 {
			code = f.number
		} else {
			message = string(f.data)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return code, message
}

// TestFullBufferIsRetryable: 429 with Retry-After, as the OTLP specification
// wants it of a server that is overloaded.
func TestFullBufferIsRetryable(t *testing.T) {
	to := inputstest.NewRecorder(t)
	entered, release := make(chan struct{}), make(chan struct{})
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	limits := web.DefaultLimits(0)
	limits.Patience = 20 * time.Millisecond
	client, running := start(t, Config{}, limits, to)
	first := webtest.Post(t, "/v1/logs", typeProtobuf, inProtobuf(t, ofBodies([]string{"first"})))
	answered := make(chan int, 1)
	go func() {
		answer, err := webtest.Send(client, first)
		if err != nil {
			t.Error(err)
		}
		answered <- answer.Status
	}()
	<-entered
	answer, err := webtest.Send(client, webtest.Post(t, "/v1/logs", typeProtobuf, inProtobuf(t, ofBodies([]string{"second"}))))
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := status(t, answer); answer.Status != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" || code != 8 {
		t.Errorf("answered %d %v", answer.Status, answer.Header)
	}
	close(release)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the first request was answered with %d", status)
	}
	running.Stop()
	to.Same([]string{`{"event_name":"text","body":"first"}`})
}

// TestMemoryIsBounded: a request that would need more memory than the input
// has is refused, whatever makes it grow.
func TestMemoryIsBounded(t *testing.T) {
	large := strings.Repeat("x", 100<<10)
	records := make([]*logs.LogRecord, 1000)
	for i := range records {
		records[i] = &logs.LogRecord{}
	}
	request := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resources.Resource{Attributes: []*common.KeyValue{pair("a", text(large))}},
		ScopeLogs: []*logs.ScopeLogs{{LogRecords: records}},
	}}}
	for media, body := range map[string][]byte{typeProtobuf: inProtobuf(t, request), typeJSON: inJSON(t, request)} {
		_, err := format{}.Convert(media, body, web.NewShare(8<<20))
		if refusal, ok := errors.AsType[*web.RefusalError](err); !ok || refusal.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %v", media, err)
		}
	}
	empty := protowire.AppendTag(nil, 2, protowire.BytesType)
	empty = protowire.AppendBytes(empty, nil)
	scope := bytes.Repeat(empty, 1<<20) // empty records, two bytes each
	body := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), scope)
	body = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), body)
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if lines := convert(b, typeProtobuf, body); lines.Count != 1<<20 {
				b.Fatalf("%d lines", lines.Count)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 16<<20 {
		t.Errorf("%d bytes are allocated for a request of %d", allocated, len(body))
	}
}
