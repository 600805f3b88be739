// Package vertex reads what Google Cloud logs of calls to Vertex AI: entries of
// Cloud Audit Logs whose service is aiplatform.googleapis.com, the rows that
// request-response logging writes to BigQuery, and the access log of endpoints; one
// JSON object a line.
package vertex

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// provider is the name of OpenTelemetry's conventions.
const provider = "gcp.vertex_ai"

// The slots, in the order of slots.
const (
	slotService = iota
	slotMethod
	slotResource
	slotRequestResource
	slotCode
	slotGranted
	slotKeyName
	slotTrace
	slotOperation
	slotOperationFirst
	slotOperationLast
	slotAPIMethod
	slotModel
	slotEndpoint
	slotFullResponse
	slotEntryType
	slotEntryEndpoint
	slotEntryError
)

func slots() [][]string {
	return fieldmap.Paths("protoPayload/serviceName", "protoPayload/methodName", "protoPayload/resourceName", "protoPayload/request/endpoint",
		"protoPayload/status/code", "protoPayload/authorizationInfo/0/granted", "protoPayload/authenticationInfo/serviceAccountKeyName",
		"trace", "operation/id", "operation/first", "operation/last",
		"api_method", "model", "endpoint", "full_response",
		"jsonPayload/@type", "jsonPayload/endpoint", "jsonPayload/error/code")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "timestamp", "logging_time", "logging_time unix", "protoPayload/requestMetadata/requestAttributes/time"),
		from("actor.id", "protoPayload/authenticationInfo/principalEmail", "protoPayload/authenticationInfo/principalSubject"),
		from("actor.on_behalf_of",
			"protoPayload/authenticationInfo/serviceAccountDelegationInfo/0/firstPartyPrincipal/principalEmail",
			"protoPayload/authenticationInfo/serviceAccountDelegationInfo/0/principalSubject"),
		from("client.ip", "protoPayload/requestMetadata/callerIp"),
		from("client.user_agent", "protoPayload/requestMetadata/callerSuppliedUserAgent"),
		from("workspace", "resource/labels/project_id"),
		from("session.id", "operation/id"),
		from("session.request_id", "request_id", "insertId"),
		from("session.response_id", "full_response/responseId", "full_response/id"),
		from("session.trace_id", "otel_log/trace_id"),
		from("session.span_id", "spanId", "otel_log/span_id"),
		from("model.version", "model_version"),
		from("model.served", "full_response/modelVersion", "full_response/model"),

		from("params.temperature", "full_request/generationConfig/temperature", "full_request/temperature"),
		from("params.top_p", "full_request/generationConfig/topP", "full_request/top_p"),
		from("params.top_k", "full_request/generationConfig/topK", "full_request/top_k"),
		from("params.max_tokens", "full_request/generationConfig/maxOutputTokens", "full_request/max_tokens"),
		from("params.seed", "full_request/generationConfig/seed"),
		from("params.n", "full_request/generationConfig/candidateCount"),
		from("usage.input_tokens", "full_response/usageMetadata/promptTokenCount", "full_response/usage/input_tokens"),
		from("usage.output_tokens", "full_response/usageMetadata/candidatesTokenCount", "full_response/usage/output_tokens"),
		from("usage.cached_tokens", "full_response/usageMetadata/cachedContentTokenCount", "full_response/usage/cache_read_input_tokens"),
		from("input", "full_request", "request_payload"),
		from("output", "full_response", "response_payload"),
		from("output.finish", "full_response/candidates/0/finishReason", "full_response/stop_reason"),

		from("extra.resource", "protoPayload/resourceName"),
		from("extra.permission", "protoPayload/authorizationInfo/0/permission"),
		from("extra.log", "logName"),
		from("extra.location", "resource/labels/location"),
		from("extra.deployed_model_id", "deployed_model_id"),
	}
}

// New returns a parser.
func New(c parsers.Config) (parsers.Parser, error) {
	if c.Provider == "" {
		c.Provider = provider
	}
	return fieldmap.NewJSON(fieldmap.Config{
		Config: c, Fields: fields(), Slots: slots(), Decide: decide,
		Embedded: fieldmap.Paths("full_request", "full_response", "otel_log"),
	})
}

func decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	switch {
	case string(m.Slot(slotService)) == "aiplatform.googleapis.com":
		auditEntry(m, d)
	case m.Slot(slotAPIMethod) != nil && m.Slot(slotModel) != nil:
		loggedCall(m, d)
	case bytes.HasSuffix(m.Slot(slotEntryType), []byte("OnlinePredictionLogEntry")):
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "predict")
		setModel(d, m.Slot(slotEntryEndpoint))
		outcome(r, m.Slot(slotEntryError))
	default:
		return parsers.Outcome{Rule: "neither an audit log entry of Vertex AI nor a logged call"}
	}
	if trace := m.Slot(slotTrace); trace != nil { // projects/PROJECT/traces/ID
		r.SetText(audit.SessionTraceID, trace[bytes.LastIndexByte(trace, '/')+1:])
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// auditEntry fills what an entry of Cloud Audit Logs is about.
func auditEntry(m *fieldmap.Map, d *parsers.Draft) {
	r := &d.Record
	method := m.Slot(slotMethod)
	m.AddExtra("method", method)
	c := callOf(method)
	r.SetString(audit.Event, c.event)
	r.SetString(audit.APIOperation, c.operation)
	if c.event == "admin.config" || c.event == "model.deploy" {
		r.SetText(audit.ChangeWhat, either(m.Slot(slotResource), method))
	}
	if c.event == "model.inference" || c.event == "model.list" {
		setModel(d, either(m.Slot(slotResource), m.Slot(slotRequestResource)))
	}
	if c.stream {
		r.SetBool(audit.ParamsStream, true)
	}
	if version := versionOf(method); version != nil {
		r.SetText(audit.APIVersion, version)
	}
	identity(m, r)
	if string(m.Slot(slotGranted)) == "false" {
		r.SetString(audit.Outcome, "denied")
		r.SetString(audit.Reason, "permission_denied")
	} else {
		outcome(r, m.Slot(slotCode))
	}
	if string(r.Text(audit.Reason)) == "unauthenticated" {
		r.SetBool(audit.ActorVerified, false)
	}
	// A call that takes long leaves an entry when it begins and one when it ends.
	for _, part := range [...]struct {
		name string
		slot int
	}{{"operation_first", slotOperationFirst}, {"operation_last", slotOperationLast}} {
		if string(m.Slot(part.slot)) == "true" {
			m.AddExtraBool(part.name, true)
		}
	}
}

// identity reads the principal. Google has checked its token before the call was
// allowed or refused.
func identity(m *fieldmap.Map, r *audit.Record) {
	id := r.Text(audit.ActorID)
	if id == nil {
		return
	}
	switch {
	case bytes.HasSuffix(id, []byte(".gserviceaccount.com")), bytes.HasPrefix(id, []byte("serviceAccount:")):
		r.SetString(audit.ActorType, "service")
	case bytes.IndexByte(id, '@') > 0 && bytes.IndexByte(id, ':') < 0, bytes.HasPrefix(id, []byte("user:")):
		r.SetString(audit.ActorType, "human")
		r.SetText(audit.ActorName, bytes.TrimPrefix(id, []byte("user:")))
	}
	r.SetString(audit.ActorBasis, "idp_token")
	r.SetBool(audit.ActorVerified, true)
	if key := m.Slot(slotKeyName); key != nil { // //iam.googleapis.com/projects/…/keys/ID
		r.SetText(audit.ActorKeyID, key[bytes.LastIndexByte(key, '/')+1:])
	}
}

// loggedCall fills what a row of request-response logging is about.
func loggedCall(m *fieldmap.Map, d *parsers.Draft) {
	r := &d.Record
	c := callOf(m.Slot(slotAPIMethod))
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, c.operation)
	if c.stream {
		r.SetBool(audit.ParamsStream, true)
	}
	m.AddExtra("method", m.Slot(slotAPIMethod))
	m.AddExtra("endpoint", m.Slot(slotEndpoint))
	setModel(d, m.Slot(slotModel))
	response := m.Slot(slotFullResponse)
	if len(response) > 0 && response[0] == '[' {
		d.Output.Reset()
		s := fieldmap.Stream{Map: m, Draft: d}
		for w := fieldmap.Open(response); w.Next(); {
			s.Event(w.Value)
			usage := fieldmap.Member(w.Value, "usageMetadata") // running totals: the last one counts
			m.Recount(d, audit.UsageInputTokens, usage, "promptTokenCount")
			m.Recount(d, audit.UsageOutputTokens, usage, "candidatesTokenCount")
			m.Recount(d, audit.UsageCachedTokens, usage, "cachedContentTokenCount")
		}
	}
	switch failure := fieldmap.Member(response, "error"); {
	case failure != nil:
		r.SetString(audit.Outcome, "failed")
		m.SetReason(r, m.Text(fieldmap.Member(failure, "status")))
	case response != nil:
		r.SetString(audit.Outcome, "success")
	}
}

// setModel takes the model out of a resource name:
//
//	projects/P/locations/L/publishers/google/models/gemini-2.0-flash-001
//	projects/P/locations/L/publishers/anthropic/models/claude-3-5-haiku@20241022
//	projects/P/locations/L/endpoints/ID
func setModel(d *parsers.Draft, resource []byte) {
	r := &d.Record
	if at := bytes.LastIndex(resource, []byte("endpoints/")); at >= 0 {
		r.SetText(audit.ModelName, resource[at:])
		return
	}
	publisher := []byte(nil)
	if _, rest, ok := bytes.Cut(resource, []byte("publishers/")); ok {
		publisher, _, _ = bytes.Cut(rest, []byte("/"))
	}
	name := resource[bytes.LastIndexByte(resource, '/')+1:]
	if len(name) == len(resource) || bytes.Contains(resource, []byte("models/")) {
		r.SetText(audit.ModelName, name)
	}
	base, version, dated := bytes.Cut(name, []byte("@"))
	if dated && !r.Has(audit.ModelVersion) {
		r.SetText(audit.ModelVersion, version)
	}
	if !r.Has(audit.ModelVersion) && !isNumbered(base) {
		return
	}
	var id [128]byte
	exact := id[:0]
	if publisher != nil {
		exact = append(append(exact, publisher...), '/')
	}
	fieldmap.ExactModel(d, "vertex", append(exact, name...))
}

// isNumbered tells whether a name ends in the three digits of a stable version.
func isNumbered(name []byte) bool {
	if len(name) < 5 || name[len(name)-4] != '-' {
		return false
	}
	for _, c := range name[len(name)-3:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// codes are those of google.rpc.Code.
var codes = [...]string{
	"", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
	"resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss",
	"unauthenticated",
}

// outcome translates a status. None, or an empty one, says that all went well.
func outcome(r *audit.Record, code []byte) {
	n := 0
	for _, c := range code {
		n = n*10 + int(c-'0')
	}
	switch {
	case n == 0:
		r.SetString(audit.Outcome, "success")
	case n < 0 || n >= len(codes) || len(code) > 2:
		r.SetString(audit.Outcome, "failed")
	case n == 1:
		r.SetString(audit.Outcome, "cancelled")
	case n == 7 || n == 16:
		r.SetString(audit.Outcome, "denied")
	default:
		r.SetString(audit.Outcome, "failed")
	}
	if n > 0 && n < len(codes) && len(code) <= 2 {
		r.SetString(audit.Reason, codes[n])
	}
}

func either(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}
