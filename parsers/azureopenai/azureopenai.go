// Package azureopenai reads the resource logs of Azure OpenAI and Azure AI Foundry
// (categories RequestResponse, Audit, AzureOpenAIRequestUsage, Trace), those of an
// API Management gateway in front of them (GatewayLogs, GatewayLlmLogs), and the
// activity log of such resources: one JSON object a line, as Event Hubs, storage
// accounts and Log Analytics hold them.
package azureopenai

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// provider is the name of OpenTelemetry's conventions.
const provider = "azure.ai.openai"

// The slots, in the order of slots.
const (
	slotCategory = iota
	slotOperation
	slotResource
	slotCaller
	slotAPIName
	slotStream
	slotResult
	slotSignature
	slotResponse
	slotBackendResponse
	slotTableCategory // of Log Analytics
	slotTableOperation
	slotTableAPIName
	slotTableStream
	slotTableCaller
)

func slots() [][]string {
	return fieldmap.Paths("category", "operationName", "resourceId", "callerIpAddress", "properties/apiName", "properties/streamType",
		"resultType", "resultSignature", "properties/responseBody", "properties/backendResponseBody",
		"Category", "OperationName", "properties_s/apiName", "properties_s/streamType", "CallerIPAddress")
}

// claim is a claim of an activity log's caller.
func claim(uri string) fieldmap.Source {
	return fieldmap.Source{Path: []string{"identity", "claims", uri}}
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	actor := from("actor.id", "properties/objectId", "properties/userId", "properties_s/objectId")
	actor.Or = append(actor.Or, claim("http://schemas.microsoft.com/identity/claims/objectidentifier"), claim("appid"))
	name := from("actor.name", "identity/claims/upn")
	name.Or = append(name.Or, claim("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"), claim("name"))
	return []fieldmap.Mapping{
		from("time", "time", "TimeGenerated"),
		actor, name,
		from("actor.key_id", "properties/apimSubscriptionId"),
		from("client.ip", "callerIpAddress", "CallerIPAddress"),
		from("client.user_agent", "properties/requestHeaders/User-Agent", "properties/requestHeaders/user-agent"),
		from("session.request_id", "correlationId", "CorrelationId"),
		from("session.response_id", "properties/responseBody/id", "properties/backendResponseBody/id"),
		from("api.method", "properties/method", "properties/backendMethod"),
		from("api.path", "properties/url", "properties/backendUrl"),
		from("api.status", "properties/responseCode", "resultSignature", "ResultSignature", "properties/backendResponseCode"),
		from("reason", "properties/lastError/reason", "properties/responseBody/error/code", "properties/backendResponseBody/error/code"),
		from("model.name", "properties/modelDeploymentName", "properties_s/modelDeploymentName", "properties/deploymentName", "properties/requestBody/model",
			"properties/backendRequestBody/model", "properties/modelName"),
		from("model.served", "properties/modelName", "properties_s/modelName", "properties/responseBody/model", "properties/backendResponseBody/model"),
		from("model.version", "properties/modelVersion", "properties_s/modelVersion"),
		from("api.fingerprint", "properties/responseBody/system_fingerprint", "properties/backendResponseBody/system_fingerprint"),

		from("params.temperature", "properties/requestBody/temperature", "properties/backendRequestBody/temperature"),
		from("params.top_p", "properties/requestBody/top_p", "properties/backendRequestBody/top_p"),
		from("params.max_tokens", "properties/requestBody/max_tokens", "properties/requestBody/max_completion_tokens",
			"properties/backendRequestBody/max_tokens", "properties/backendRequestBody/max_completion_tokens"),
		from("params.seed", "properties/requestBody/seed", "properties/backendRequestBody/seed"),
		from("params.stream", "properties/requestBody/stream", "properties/backendRequestBody/stream", "properties/isStreamCompletion"),

		from("usage.input_tokens", "properties/promptTokens", "properties/responseBody/usage/prompt_tokens",
			"properties/backendResponseBody/usage/prompt_tokens"),
		from("usage.output_tokens", "properties/completionTokens", "properties/responseBody/usage/completion_tokens",
			"properties/backendResponseBody/usage/completion_tokens"),
		from("usage.cached_tokens", "properties/responseBody/usage/prompt_tokens_details/cached_tokens",
			"properties/backendResponseBody/usage/prompt_tokens_details/cached_tokens"),
		from("usage.request_bytes", "properties/requestLength", "properties_s/requestLength", "properties/requestSize"),
		from("usage.response_bytes", "properties/responseLength", "properties_s/responseLength", "properties/responseSize"),
		from("usage.duration_ms", "durationMs", "DurationMs"),

		from("input", "properties/requestBody", "properties/backendRequestBody", "properties/requestMessages"),
		from("output", "properties/responseBody", "properties/backendResponseBody", "properties/responseMessages"),
		from("output.finish", "properties/responseBody/choices/0/finish_reason", "properties/backendResponseBody/choices/0/finish_reason"),

		from("extra.category", "category"),
		from("extra.operation", "operationName"),
		from("extra.resource", "resourceId"),
		from("extra.location", "location"),
		from("extra.api", "properties/apiId"),
		from("extra.product", "properties/productId"),
		from("extra.backend", "properties/backendId"),
		from("extra.sequence", "properties/sequenceNumber"),
	}
}

// parser decides over records. It keeps nothing between lines but memory.
type parser struct {
	sent []byte // an answer as it was sent
	list []byte
}

// New returns a parser.
func New(c parsers.Config) (parsers.Parser, error) {
	if c.Provider == "" {
		c.Provider = provider
	}
	p := &parser{}
	return fieldmap.NewJSON(fieldmap.Config{
		Config: c, Fields: fields(), Slots: slots(), Decide: p.decide,
		Embedded: fieldmap.Paths("properties", "properties_s", "properties/requestBody", "properties/responseBody",
			"properties/backendRequestBody", "properties/backendResponseBody", "properties/requestMessages", "properties/responseMessages",
			"identity"),
	})
}

func (p *parser) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	operation := either(m.Slot(slotOperation), m.Slot(slotTableOperation))
	category := either(m.Slot(slotCategory), m.Slot(slotTableCategory))
	if operation == nil || category == nil && m.Slot(slotResource) == nil {
		return parsers.Outcome{Rule: "not a resource log of Azure"}
	}
	switch category := string(category); {
	case category == "GatewayLogs":
		p.gateway(m, d)
	case category == "GatewayLlmLogs":
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "chat")
		r.SetString(audit.Outcome, "unknown") // the line of the same id in GatewayLogs says it
	case bytes.IndexByte(operation, '/') >= 0:
		if !management(m, r) {
			return parsers.Outcome{Rule: "the activity log of another kind of resource"}
		}
	default:
		call := callOf(operation)
		if category == "AzureOpenAIRequestUsage" {
			call.event = "model.inference"
		}
		r.SetString(audit.Event, call.event)
		r.SetString(audit.APIOperation, call.operation)
		if call.event == "admin.config" {
			r.SetText(audit.ChangeWhat, operation)
		}
	}
	// "Azure OpenAI API version 2023-07-01-preview"
	if name := either(m.Slot(slotAPIName), m.Slot(slotTableAPIName)); bytes.Contains(name, []byte(" version ")) {
		r.SetText(audit.APIVersion, name[bytes.LastIndexByte(name, ' ')+1:])
	}
	if r.Has(audit.ModelVersion) && r.Has(audit.ModelServed) { // together they identify a model of Azure's
		fieldmap.ExactModel(d, "azure", r.Text(audit.ModelServed))
	}
	switch string(either(m.Slot(slotStream), m.Slot(slotTableStream))) {
	case "Streaming":
		r.SetBool(audit.ParamsStream, true)
	case "Non-Streaming":
		r.SetBool(audit.ParamsStream, false)
	}
	if caller := either(m.Slot(slotCaller), m.Slot(slotTableCaller)); bytes.IndexByte(caller, '*') >= 0 {
		m.AddExtra("caller_ip_masked", caller)
	}
	if r.Has(audit.ActorID) {
		if category != nil && r.Has(audit.ActorKeyID) { // a user of the gateway, known by a subscription key
			r.SetString(audit.ActorBasis, "api_key")
		} else {
			r.SetString(audit.ActorBasis, "idp_token") // an object of Entra ID
			r.SetBool(audit.ActorVerified, true)
		}
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// gateway fills what a line of API Management's gateway says beyond its fields:
// the route by the path, which decides over the event; answers that were logged as
// they were streamed; and what the content filter refused.
func (p *parser) gateway(m *fieldmap.Map, d *parsers.Draft) {
	r := &d.Record
	if bytes.HasPrefix(d.Output.Text, []byte("data:")) {
		p.sent = append(p.sent[:0], d.Output.Text...)
		d.Output.Reset()
		s := fieldmap.Stream{Map: m, Draft: d}
		if s.Events(p.sent) > 0 {
			r.SetBool(audit.ParamsStream, true)
		} else {
			d.Output.Text = append(d.Output.Text, p.sent...)
			d.Output.Parts = 1
		}
	}
	body := m.Slot(slotResponse)
	if fieldmap.Member(body, "error") == nil {
		body = m.Slot(slotBackendResponse)
	}
	failure := fieldmap.Member(body, "error")
	if string(m.Text(fieldmap.Member(failure, "code"))) != "content_filter" {
		return
	}
	r.SetString(audit.Outcome, "blocked")
	r.SetString(audit.Reason, "content_filter")
	r.SetString(audit.PolicyDecision, "block")
	r.SetString(audit.PolicyBy, "azure/content_filter")
	p.list = append(p.list[:0], '[')
	for w := fieldmap.Open(fieldmap.Member(failure, "innererror", "content_filter_result")); w.Next(); {
		if refused(w.Value) {
			p.list = append(append(append(p.list, '"'), w.Key...), '"', ',')
		}
	}
	if len(p.list) > 1 {
		p.list[len(p.list)-1] = ']'
		r.SetJSON(audit.PolicyRules, p.list)
	}
}

// refused tells whether a filter's result, or one of a list of them, filtered.
func refused(raw []byte) bool {
	if len(raw) > 0 && raw[0] == '[' {
		for w := fieldmap.Open(raw); w.Next(); {
			if refused(w.Value) {
				return true
			}
		}
		return false
	}
	return string(fieldmap.Member(raw, "filtered")) == "true"
}

// either returns the first that is there. Log Analytics spells the same names in
// its own way.
func either(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}
