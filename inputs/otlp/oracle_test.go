package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resources "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/auditail/auditail/inputs/internal/web"
)

// drawValue draws an AnyValue.
func drawValue(depth int) *rapid.Generator[*common.AnyValue] {
	return rapid.Custom(func(t *rapid.T) *common.AnyValue {
		most := 6
		if depth == 0 {
			most = 4
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return text(rapid.String().Draw(t, "text"))
		case 1:
			return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: rapid.Bool().Draw(t, "bool")}}
		case 2:
			return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: rapid.Int64().Draw(t, "int")}}
		case 3:
			return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: rapid.Float64().Draw(t, "double")}}
		case 4:
			return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "bytes")}}
		case 5:
			return list(rapid.SliceOfN(drawValue(depth-1), 0, 3).Draw(t, "list")...)
		default:
			return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: drawPairs(depth-1).Draw(t, "map")}}}
		}
	})
}

func drawPairs(depth int) *rapid.Generator[[]*common.KeyValue] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *common.KeyValue {
		return pair(rapid.String().Draw(t, "key"), drawValue(depth).Draw(t, "value"))
	}), 0, 3)
}

func drawRequest() *rapid.Generator[*collector.ExportLogsServiceRequest] {
	record := rapid.Custom(func(t *rapid.T) *logs.LogRecord {
		return &logs.LogRecord{
			TimeUnixNano: rapid.Uint64().Draw(t, "time"), ObservedTimeUnixNano: rapid.Uint64().Draw(t, "observed"),
			SeverityNumber: logs.SeverityNumber(rapid.Int32().Draw(t, "severity")), SeverityText: rapid.String().Draw(t, "severity text"),
			EventName: rapid.String().Draw(t, "event"), Body: drawValue(3).Draw(t, "body"), Attributes: drawPairs(3).Draw(t, "attributes"),
			DroppedAttributesCount: rapid.Uint32().Draw(t, "dropped"), Flags: rapid.Uint32().Draw(t, "flags"),
			TraceId: rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace"), SpanId: rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span"),
		}
	})
	scope := rapid.Custom(func(t *rapid.T) *logs.ScopeLogs {
		return &logs.ScopeLogs{
			Scope: &common.InstrumentationScope{
				Name: rapid.String().Draw(t, "name"), Version: rapid.String().Draw(t, "version"), Attributes: drawPairs(1).Draw(t, "attributes"),
			},
			LogRecords: rapid.SliceOfN(record, 0, 3).Draw(t, "records"), SchemaUrl: rapid.String().Draw(t, "schema"),
		}
	})
	resource := rapid.Custom(func(t *rapid.T) *logs.ResourceLogs {
		return &logs.ResourceLogs{
			Resource:  &resources.Resource{Attributes: drawPairs(2).Draw(t, "attributes"), DroppedAttributesCount: rapid.Uint32().Draw(t, "dropped")},
			ScopeLogs: rapid.SliceOfN(scope, 0, 3).Draw(t, "scopes"),
		}
	})
	return rapid.Custom(func(t *rapid.T) *collector.ExportLogsServiceRequest {
		return &collector.ExportLogsServiceRequest{ResourceLogs: rapid.SliceOfN(resource, 0, 3).Draw(t, "resources")}
	})
}

// plain is what a line of a message must say, by way of the published message
// types and the standard library.
func plain(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		switch {
		case math.IsNaN(v.DoubleValue):
			return "NaN"
		case math.IsInf(v.DoubleValue, 1):
			return "Infinity"
		case math.IsInf(v.DoubleValue, -1):
			return "-Infinity"
		}
		return v.DoubleValue
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue:
		out := []any{}
		for _, element := range v.ArrayValue.GetValues() {
			out = append(out, plain(element))
		}
		return out
	case *common.AnyValue_KvlistValue:
		return plainPairs(v.KvlistValue.GetValues())
	default:
		return nil
	}
}

func plainPairs(pairs []*common.KeyValue) map[string]any {
	out := map[string]any{}
	for _, p := range pairs {
		out[p.GetKey()] = plain(p.GetValue())
	}
	return out
}

func plainLines(request *collector.ExportLogsServiceRequest) []map[string]any {
	var lines []map[string]any
	for _, rl := range request.GetResourceLogs() {
		for _, sl := range rl.GetScopeLogs() {
			for _, r := range sl.GetLogRecords() {
				line := map[string]any{"body": plain(r.GetBody())}
				set := func(to map[string]any, key string, value any, some bool) {
					if some {
						to[key] = value
					}
				}
				set(line, "time_unix_nano", r.GetTimeUnixNano(), r.GetTimeUnixNano() != 0)
				set(line, "observed_time_unix_nano", r.GetObservedTimeUnixNano(), r.GetObservedTimeUnixNano() != 0)
				set(line, "severity_number", r.GetSeverityNumber(), r.GetSeverityNumber() != 0)
				set(line, "severity_text", r.GetSeverityText(), r.GetSeverityText() != "")
				set(line, "event_name", r.GetEventName(), r.GetEventName() != "")
				set(line, "attributes", plainPairs(r.GetAttributes()), len(r.GetAttributes()) > 0)
				set(line, "dropped_attributes_count", r.GetDroppedAttributesCount(), r.GetDroppedAttributesCount() != 0)
				set(line, "flags", r.GetFlags(), r.GetFlags() != 0)
				set(line, "trace_id", hex.EncodeToString(r.GetTraceId()), true)
				set(line, "span_id", hex.EncodeToString(r.GetSpanId()), true)
				set(line, "resource", plainPairs(rl.GetResource().GetAttributes()), len(rl.GetResource().GetAttributes()) > 0)
				scope, s := map[string]any{}, sl.GetScope()
				set(scope, "name", s.GetName(), s.GetName() != "")
				set(scope, "version", s.GetVersion(), s.GetVersion() != "")
				set(scope, "attributes", plainPairs(s.GetAttributes()), len(s.GetAttributes()) > 0)
				set(line, "scope", scope, len(scope) > 0)
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// TestAgainstPublishedTypes holds both decoders against the message types that
// OpenTelemetry publishes.
func TestAgainstPublishedTypes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		request := drawRequest().Draw(rt, "request")
		want := plainLines(request)
		for media, body := range map[string][]byte{typeProtobuf: inProtobuf(t, request), typeJSON: inJSON(t, request)} {
			lines := convert(t, media, body)
			if int(lines.Count) != len(want) || lines.Rejected != 0 {
				rt.Fatalf("%s: %d lines, %d rejected, want %d", media, lines.Count, lines.Rejected, len(want))
			}
			if len(want) == 0 {
				continue
			}
			for i, line := range strings.Split(string(lines.Data), "\n") {
				if got, expected := normal(rt, line), normal(rt, encoded(rt, want[i])); got != expected {
					rt.Fatalf("%s: line %d is\n%s\n%s\nwant\n%s", media, i, line, got, expected)
				}
			}
		}
	})
}

func encoded(t *rapid.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// normal sorts members, drops an empty scope, and spells numbers in one way.
func normal(t *rapid.T, line string) string {
	var v map[string]any
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if scope, ok := v["scope"].(map[string]any); ok && len(scope) == 0 {
		delete(v, "scope")
	}
	return encoded(t, spell(v))
}

func spell(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = spell(v[key])
		}
	case []any:
		for i := range v {
			v[i] = spell(v[i])
		}
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") || v == "-0" {
			f, err := v.Float64()
			if err == nil {
				return f
			}
		}
		return v
	}
	return v
}

// FuzzProtobuf: no body breaks the decoder, and every line is one JSON object.
func FuzzProtobuf(f *testing.F) {
	body, err := proto.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Fuzz(func(t *testing.T, body []byte) { checkLines(t, typeProtobuf, body) })
}

// FuzzJSON is FuzzProtobuf for the JSON encoding.
func FuzzJSON(f *testing.F) {
	f.Add(inJSON(f, full()))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"doubleValue":"1e3"},"attributes":[{"key":"a"}]},null]}]}]}`))
	f.Add([]byte(`{"resource\u004cogs" : [ { "scopeLogs":[ {"logRecords":[{"traceId":"zz"},{"body":{"bytesValue":"AA=="}},{"flags":true}]}],"resource":{"attributes":null}} ] }`))
	f.Fuzz(func(t *testing.T, body []byte) { checkLines(t, typeJSON, body) })
}

func checkLines(t *testing.T, media string, body []byte) {
	lines, err := format{}.Convert(media, body, web.NewShare(1<<26))
	if err != nil {
		if lines.Count != 0 || lines.Data != nil {
			t.Fatal("a refused request has lines")
		}
		return
	}
	if (lines.Rejected > 0) != (lines.Reason != "") {
		t.Fatalf("%d records are rejected because of %q", lines.Rejected, lines.Reason)
	}
	if lines.Count == 0 {
		if len(lines.Data) > 0 {
			t.Fatalf("no line, but %q", lines.Data)
		}
		return
	}
	split := strings.Split(string(lines.Data), "\n")
	if len(split) != int(lines.Count) {
		t.Fatalf("%d lines are %q", lines.Count, lines.Data)
	}
	for _, line := range split {
		if !json.Valid([]byte(line)) || line[0] != '{' {
			t.Fatalf("%q is no JSON object", line)
		}
	}
}
