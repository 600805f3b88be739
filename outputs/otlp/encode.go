package otlpoutput

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditail/auditail/outputs/internal/records"
)

// Field numbers of opentelemetry-proto 1.9, logs/v1 and common/v1.
const (
	requestResourceLogs = 1

	resourceLogsResource = 1
	resourceLogsScope    = 2

	resourceAttributes = 1

	scopeLogsScope   = 1
	scopeLogsRecords = 2
	scopeName        = 1
	scopeVersion     = 2

	recordTime       = 1
	recordSeverity   = 2
	recordBody       = 5
	recordAttributes = 6
	recordTraceID    = 9
	recordSpanID     = 10
	recordObserved   = 11
	recordEventName  = 12

	valueString = 1
	valueBool   = 2
	valueInt    = 3
	valueDouble = 4
	valueArray  = 5
	valueMap    = 6
	listValues  = 1
	pairKey     = 1
	pairValue   = 2
)

// names are the attributes of OpenTelemetry's semantic conventions (GenAI and
// general) for fields of the record, by path. What has none there is called
// "auditail." and its path; what is part of the LogRecord or the resource has
// an empty name here.
var names = map[string]string{
	"id":            "log.record.uid",
	"time":          "",
	"observed_time": "",
	"event":         "",
	"severity":      "",
	"reason":        "error.type",

	"service": "", "environment": "", "host.id": "", "host.name": "", "agent.id": "",

	"actor.id": "user.id", "actor.name": "user.name", "actor.roles": "user.roles",
	"ai_agent.id": "gen_ai.agent.id", "ai_agent.name": "gen_ai.agent.name", "ai_agent.version": "gen_ai.agent.version",
	"client.ip": "client.address", "client.country": "geo.country.iso_code", "client.user_agent": "user_agent.original",
	"host.image": "container.image.repo_digests",
	"session.id": "session.id", "session.conversation_id": "gen_ai.conversation.id", "session.response_id": "gen_ai.response.id",
	"session.trace_id": "", "session.span_id": "",
	"model.name": "gen_ai.request.model", "model.served": "gen_ai.response.model", "model.provider": "gen_ai.provider.name",
	"api.operation": "gen_ai.operation.name", "api.method": "http.request.method", "api.path": "url.path",
	"api.status": "http.response.status_code", "api.fingerprint": "openai.response.system_fingerprint",
	"prompt.name":        "gen_ai.prompt.name",
	"params.temperature": "gen_ai.request.temperature", "params.top_p": "gen_ai.request.top_p", "params.top_k": "gen_ai.request.top_k",
	"params.max_tokens": "gen_ai.request.max_tokens", "params.seed": "gen_ai.request.seed", "params.n": "gen_ai.request.choice.count",
	"usage.input_tokens": "gen_ai.usage.input_tokens", "usage.output_tokens": "gen_ai.usage.output_tokens",
	"usage.cached_tokens": "gen_ai.usage.cache_read.input_tokens",
	"usage.request_bytes": "http.request.body.size", "usage.response_bytes": "http.response.body.size",
	"input.text": "gen_ai.input.messages", "output.text": "gen_ai.output.messages", "output.finish": "gen_ai.response.finish_reasons",
	"tool.name": "gen_ai.tool.name", "tool.call_id": "gen_ai.tool.call.id",
	"source.path": "log.file.path",
}

// severities are the SeverityNumbers of 1 (informational) to 5 (critical).
var severities = [...]uint64{9, 13, 14, 17, 21}

// encoder makes the body of a request.
type encoder struct {
	version string // of the agent
}

// request returns an ExportLogsServiceRequest of records. A line that is no
// record is sent as text alone: it is part of the evidence too.
func (e encoder) request(lines [][]byte) []byte {
	var request, resource, scope []byte
	end := func() {
		if scope == nil {
			return
		}
		logs := appendMessage(nil, resourceLogsResource, resource)
		logs = appendMessage(logs, resourceLogsScope, scope)
		request = appendMessage(request, requestResourceLogs, logs)
	}
	for _, line := range lines {
		record, err := records.Decode(line)
		if err != nil {
			record = nil
		}
		if of := resourceOf(record); scope == nil || string(of) != string(resource) {
			end()
			resource = of
			scope = appendMessage(nil, scopeLogsScope, appendText(appendText(nil, scopeName, "auditail"), scopeVersion, e.version))
		}
		scope = appendMessage(scope, scopeLogsRecords, logRecord(record, line))
	}
	end()
	return request
}

// resourceOf returns the Resource that a record belongs to.
func resourceOf(record map[string]any) (resource []byte) {
	for _, a := range [...]struct{ name, value string }{
		{"service.name", records.Text(record, "service")},
		{"service.instance.id", records.Text(record, "agent", "id")},
		{"deployment.environment.name", records.Text(record, "environment")},
		{"host.id", records.Text(record, "host", "id")},
		{"host.name", records.Text(record, "host", "name")},
	} {
		if a.value != "" {
			resource = appendMessage(resource, resourceAttributes, pair(a.name, a.value))
		}
	}
	return resource
}

// logRecord returns a LogRecord. Its body is the record exactly as it was
// sealed, so that its leaf hash can be compared with the evidence.
func logRecord(record map[string]any, line []byte) (m []byte) {
	m = appendTime(m, recordTime, records.Text(record, "time"))
	m = protowire.AppendTag(m, recordSeverity, protowire.VarintType)
	m = protowire.AppendVarint(m, severities[records.Severity(record)-1])
	m = appendMessage(m, recordBody, protowire.AppendBytes(protowire.AppendTag(nil, valueString, protowire.BytesType), line))
	m = appendAttributes(m, "", record)
	m = appendID(m, recordTraceID, traceIDSize, records.Text(record, "session", "trace_id"))
	m = appendID(m, recordSpanID, spanIDSize, records.Text(record, "session", "span_id"))
	m = appendTime(m, recordObserved, records.Text(record, "observed_time"))
	return appendText(m, recordEventName, records.Text(record, "event"))
}

// appendAttributes appends the members of an object, those of objects within by
// their dotted path.
func appendAttributes(m []byte, prefix string, object map[string]any) []byte {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		path, value := prefix+key, object[key]
		if inner, ok := value.(map[string]any); ok {
			m = appendAttributes(m, path+".", inner)
			continue
		}
		name, known := names[path]
		switch {
		case !known:
			name = "auditail." + path
		case name == "" && !misfit(path, value):
			continue
		case name == "":
			name = "auditail." + path
		}
		m = appendMessage(m, recordAttributes, pair(name, conventional(path, value, object)))
	}
	return m
}

// conventional returns a value in the form that the conventions ask for.
func conventional(path string, value any, of map[string]any) any {
	message := func(role string) map[string]any {
		return map[string]any{"role": role, "parts": []any{map[string]any{"type": "text", "content": value}}}
	}
	switch path {
	case "input.text":
		return []any{message("user")}
	case "output.text":
		m := message("assistant")
		if finish, ok := of["finish"].([]any); ok && len(finish) == 1 {
			m["finish_reason"] = finish[0]
		}
		return []any{m}
	case "host.image":
		return []any{value}
	}
	return value
}

func appendMessage(m []byte, id protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(m, id, protowire.BytesType), message)
}

func appendText(m []byte, id protowire.Number, text string) []byte {
	if text == "" {
		return m
	}
	return protowire.AppendString(protowire.AppendTag(m, id, protowire.BytesType), text)
}

// appendTime appends nanoseconds since the Unix epoch; none for what 64 bits can
// not hold.
func appendTime(m []byte, id protowire.Number, text string) []byte {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return m
	}
	return protowire.AppendFixed64(protowire.AppendTag(m, id, protowire.Fixed64Type), uint64(t.UnixNano())) //nolint:gosec // not negative
}

// Sizes of ids (W3C Trace Context), in bytes.
const (
	traceIDSize = 16
	spanIDSize  = 8
)

// misfit tells of a field with a place of its own in the LogRecord that its value
// does not fit: gateways have ids of other forms, such as UUIDs.
func misfit(path string, value any) bool {
	id, _ := value.(string)
	switch path {
	case "session.trace_id":
		return parseID(id, traceIDSize) == nil
	case "session.span_id":
		return parseID(id, spanIDSize) == nil
	}
	return false
}

// parseID returns a trace or span id, nil for text that is none.
func parseID(text string, size int) []byte {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != size {
		return nil
	}
	return id
}

func appendID(m []byte, number protowire.Number, size int, text string) []byte {
	if id := parseID(text, size); id != nil {
		return appendMessage(m, number, id)
	}
	return m
}

// pair returns a KeyValue.
func pair(key string, v any) []byte {
	return appendMessage(appendText(nil, pairKey, key), pairValue, value(v))
}

// value returns an AnyValue; that of null is empty.
func value(v any) (m []byte) {
	switch v := v.(type) {
	case string:
		return protowire.AppendString(protowire.AppendTag(m, valueString, protowire.BytesType), v)
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(m, valueBool, protowire.VarintType), protowire.EncodeBool(v))
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return protowire.AppendVarint(protowire.AppendTag(m, valueInt, protowire.VarintType), uint64(n)) //nolint:gosec // two's complement on the wire
		}
		f, err := v.Float64()
		if err != nil {
			return value(v.String()) // more than a double holds
		}
		return protowire.AppendFixed64(protowire.AppendTag(m, valueDouble, protowire.Fixed64Type), math.Float64bits(f))
	case []any:
		var list []byte
		for _, item := range v {
			list = appendMessage(list, listValues, value(item))
		}
		return appendMessage(m, valueArray, list)
	case map[string]any:
		var list []byte
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = appendMessage(list, listValues, pair(key, v[key]))
		}
		return appendMessage(m, valueMap, list)
	}
	return m
}
