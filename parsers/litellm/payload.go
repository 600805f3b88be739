package litellm

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// The slots of a payload, in the order of payloadSlots.
const (
	slotCallType = iota
	slotSpend
	slotCost
	slotCacheHit
	slotStart
	slotEnd
	slotResponseTime
	slotModel
	slotResponseModel
	slotGuardrailStatus
	slotGuardrails
	slotOldGuardrails
	slotSearches
	slotStop
	slotCallID
)

func payloadSlots() [][]string {
	return fieldmap.Paths("call_type", "spend", "response_cost", "cache_hit", "startTime", "endTime", "response_time", "model", "response/model",
		"status_fields/guardrail_status", "guardrail_information", "metadata/guardrail_information",
		"metadata/vector_store_request_metadata", "model_parameters/stop", "litellm_call_id")
}

func payloadFields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "startTime unix", "startTime"),
		from("outcome", "status", "metadata/status"),
		from("reason", "error_information/error_class", "metadata/error_information/error_class"),
		from("api.status", "error_information/error_code", "metadata/error_information/error_code"),
		from("api.path", "metadata/user_api_key_request_route"),

		from("actor.id", "metadata/user_api_key_user_id", "user"),
		from("actor.name", "metadata/user_api_key_user_email"),
		from("actor.key_id", "metadata/user_api_key_hash", "metadata/user_api_key", "api_key"),
		from("actor.on_behalf_of", "metadata/user_api_key_end_user_id", "end_user"),
		from("ai_agent.id", "agent_id", "metadata/agent_id"),
		from("tenant", "metadata/user_api_key_org_id", "organization_id"),
		from("workspace", "metadata/user_api_key_team_id", "team_id"),
		from("client.ip", "metadata/requester_ip_address", "requester_ip_address"),
		from("client.user_agent", "user_agent", "metadata/user_agent"),

		from("session.id", "session_id"),
		from("session.trace_id", "trace_id"),
		from("session.request_id", "litellm_call_id", "request_id", "id"),
		from("session.response_id", "response/id", "id", "request_id"),

		from("model.name", "model_group", "model"),
		from("model.served", "response/model", "model"),
		from("model.provider", "custom_llm_provider"),
		from("api.fingerprint", "response/system_fingerprint"),

		from("prompt.name", "metadata/prompt_management_metadata/prompt_id"),
		from("params.temperature", "model_parameters/temperature"),
		from("params.top_p", "model_parameters/top_p"),
		from("params.top_k", "model_parameters/top_k"),
		from("params.max_tokens", "model_parameters/max_tokens", "model_parameters/max_completion_tokens", "model_parameters/max_output_tokens"),
		from("params.seed", "model_parameters/seed"),
		from("params.n", "model_parameters/n"),
		from("params.stream", "stream", "model_parameters/stream"),

		from("usage.input_tokens", "prompt_tokens"),
		from("usage.output_tokens", "completion_tokens"),
		from("usage.cached_tokens",
			"metadata/usage_object/prompt_tokens_details/cached_tokens", "response/usage/prompt_tokens_details/cached_tokens",
			"metadata/usage_object/cache_read_input_tokens", "response/usage/cache_read_input_tokens"),
		from("usage.duration_ms", "response_time s"),

		from("input", "messages"),
		from("output", "response"),
		from("output.finish", "response/choices/0/finish_reason", "response/stop_reason"),

		from("policy.rules", "metadata/applied_guardrails"),
		from("tool.name", "metadata/mcp_tool_call_metadata/name", "mcp_namespaced_tool_name"),
		from("tool.hmac", "metadata/mcp_tool_call_metadata/arguments"),

		from("extra.call_type", "call_type"),
		from("extra.cost", "response_cost"),
		from("extra.spend", "spend"),
		from("extra.key_alias", "metadata/user_api_key_alias"),
		from("extra.team_alias", "metadata/user_api_key_team_alias"),
		from("extra.deployment_id", "model_id"),
	}
}

// payload decides over the records of payloads. It keeps nothing between lines
// but memory.
type payload struct {
	findings []finding
	names    []byte // of guardrails, each as a JSON string and a comma
	list     []byte // an encoded value in the making
}

func newPayload(c parsers.Config) (*fieldmap.Map, error) {
	p := &payload{}
	return fieldmap.New(fieldmap.Config{
		Config: c, Fields: payloadFields(), Slots: payloadSlots(), Embedded: fieldmap.Paths("metadata"), Decide: p.decide,
	})
}

func (p *payload) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	if m.Slot(slotStart) == nil || m.Slot(slotCallType) == nil && m.Slot(slotSpend) == nil && m.Slot(slotCost) == nil {
		return parsers.Outcome{Rule: "neither a logging payload nor a row of the spend logs"}
	}
	if c := callOf(m.Slot(slotCallType)); c.event != "" {
		r.SetString(audit.Event, c.event)
		r.SetString(audit.APIOperation, c.operation)
	} else if m.Target() == nil {
		r.SetString(audit.Event, "model.inference")
	}
	if r.Has(audit.ActorID) && r.Has(audit.ActorKeyID) {
		r.SetString(audit.ActorBasis, "api_key")
	}
	p.guardrails(m, d)
	decideOutcome(m, r)
	if string(r.Text(audit.Outcome)) != "success" && m.Slot(slotResponseModel) == nil {
		m.AddExtra("deployment", m.Slot(slotModel)) // was tried, but nothing was served
		r.Clear(audit.ModelServed)
		r.Clear(audit.SessionResponseID) // the id is LiteLLM's own
	}
	if id := m.Slot(slotCallID); id != nil && bytes.Equal(id, r.Text(audit.SessionResponseID)) {
		r.Clear(audit.SessionResponseID) // LiteLLM's own id of a call that had no answer with one
	}
	if string(r.Text(audit.Event)) == "tool.call" { // "MCP: NAME" is no model
		r.Clear(audit.ModelName)
		r.Clear(audit.ModelServed)
	}
	switch string(m.Slot(slotCacheHit)) {
	case "true", "True":
		m.AddExtraBool("cache_hit", true)
	case "false", "False":
		m.AddExtraBool("cache_hit", false)
	}
	duration(m, r)
	p.searches(m, r)
	if stop := m.Slot(slotStop); stop != nil {
		r.SetInt(audit.ParamsStop, count(stop))
	}
	text(m, &d.Input)
	text(m, &d.Output)
	if d.Output.Parts == 0 && string(r.Text(audit.Outcome)) != "success" {
		r.Clear(audit.OutputFinish)
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// decideOutcome tells refusals from failures, and replaces reasons that are only
// the name of Python's or LiteLLM's most general exceptions.
func decideOutcome(m *fieldmap.Map, r *audit.Record) {
	if string(r.Text(audit.Outcome)) != "failed" {
		return
	}
	reason := string(r.Text(audit.Reason))
	general := reason == "" || reason == "Exception" || reason == "HTTPException" || reason == "ProxyException"
	if general {
		r.Clear(audit.Reason)
	}
	switch status := m.Status(); {
	case string(r.Text(audit.PolicyDecision)) == "block", reason == "ContentPolicyViolationError":
		r.SetString(audit.Outcome, "blocked")
		if general {
			r.SetString(audit.Reason, "policy_block")
		}
	case status == 401 || status == 403:
		r.SetString(audit.Outcome, "denied")
	case status == 499 || reason == "CancelledError":
		r.SetString(audit.Outcome, "cancelled")
	}
}

// duration measures from start to end where response_time is missing, or only
// the time to the first token, as it is for streams.
func duration(m *fieldmap.Map, r *audit.Record) {
	if m.Slot(slotResponseTime) != nil && !r.Bool(audit.ParamsStream) {
		return
	}
	start, ok1 := parseTime(m.Slot(slotStart))
	end, ok2 := parseTime(m.Slot(slotEnd))
	if ok1 && ok2 && !end.Before(start) {
		r.SetInt(audit.UsageDurationMs, int64(math.Round(float64(end.Sub(start))/1e6)))
	}
}

// parseTime reads a time for a difference only, so that its zone is of no account.
func parseTime(text []byte) (time.Time, bool) {
	if t, ok := stamp.ParseEpoch(text, 1); ok {
		return t, true
	}
	var buffer [stamp.MaxRFC3339]byte
	out, zoned, ok := stamp.AppendRFC3339(buffer[:0], text)
	if !ok {
		return time.Time{}, false
	}
	if !zoned {
		out = append(out, 'Z')
	}
	t, err := time.Parse(time.RFC3339, string(out))
	return t, err == nil
}

// text takes out of content what is not what was said: LiteLLM's placeholders.
func text(m *fieldmap.Map, c *parsers.Content) {
	switch {
	case string(c.Text) == "redacted-by-litellm", string(c.Text) == "{}":
		c.Reset()
	case bytes.Contains(c.Text, []byte("litellm_truncated")):
		c.Truncated = true
	}
}

// count counts the elements of an array; anything else is one.
func count(raw []byte) int64 {
	if len(raw) == 0 || raw[0] != '[' {
		return 1
	}
	var n int64
	for w := fieldmap.Open(raw); w.Next(); {
		n++
	}
	return n
}

// searches names the vector stores whose content was put before the model.
func (p *payload) searches(m *fieldmap.Map, r *audit.Record) {
	p.list = append(p.list[:0], '[')
	for w := fieldmap.Open(m.Slot(slotSearches)); w.Next(); {
		if id := m.Text(fieldmap.Member(w.Value, "vector_store_id")); id != nil {
			p.list = append(audit.AppendText(append(p.list, `{"role":"context","id":`...), id), `,"kind":"vector_store"},`...)
		}
	}
	if len(p.list) > 1 {
		p.list[len(p.list)-1] = ']'
		r.SetJSON(audit.Data, p.list)
	}
}

// finding is a type of personal data or threat that guardrails found, and how often.
type finding struct {
	kind  []byte
	count int64
}

// maxFindings bounds the types of one record.
const maxFindings = 64

// guardrails fills policy.* from the guardrails that ran, without looking at what
// they were asked or answered.
func (p *payload) guardrails(m *fieldmap.Map, d *parsers.Draft) {
	r := &d.Record
	raw := m.Slot(slotGuardrails)
	if raw == nil {
		raw = m.Slot(slotOldGuardrails)
	}
	p.findings, p.names = p.findings[:0], p.names[:0]
	decision := verdictOf(m.Slot(slotGuardrailStatus))
	if len(raw) > 0 && raw[0] == '[' {
		for w := fieldmap.Open(raw); w.Next(); {
			decision = max(decision, p.guardrail(m, r, w.Value))
		}
	} else if len(raw) > 0 && raw[0] == '{' {
		decision = max(decision, p.guardrail(m, r, raw))
	}
	if decision == intervened {
		switch {
		case string(r.Text(audit.Outcome)) == "failed":
			decision = blocked
		case len(p.findings) > 0:
			decision = redacted
		}
	}
	if decision == allowed && len(p.findings) > 0 {
		decision = redacted
	}
	r.SetString(audit.PolicyDecision, decisions[decision])
	if len(p.names) > 0 && !r.Has(audit.PolicyRules) {
		p.list = append(append(p.list[:0], '['), p.names...)
		p.list[len(p.list)-1] = ']'
		r.SetJSON(audit.PolicyRules, p.list)
	}
	if len(p.findings) > 0 {
		p.list = append(p.list[:0], '{')
		for _, f := range p.findings {
			p.list = append(audit.AppendText(p.list, f.kind), ':')
			p.list = append(strconv.AppendInt(p.list, f.count, 10), ',')
		}
		p.list[len(p.list)-1] = '}'
		r.SetJSON(audit.PolicyFindings, p.list)
	}
}

// What guardrails did, the weightier the later.
type verdict uint8

const (
	notRun verdict = iota
	allowed
	failed
	intervened
	redacted
	blocked
)

var decisions = [...]string{notRun: "", allowed: "allow", failed: "error", intervened: "flag", redacted: "redact", blocked: "block"}

func verdictOf(status []byte) verdict {
	switch string(status) {
	case "success":
		return allowed
	case "guardrail_failed_to_respond":
		return failed
	case "guardrail_intervened", "blocked", "failure": // "failure" before 1.75, of a guardrail that raised
		return intervened
	default:
		return notRun
	}
}

func (p *payload) guardrail(m *fieldmap.Map, r *audit.Record, raw []byte) verdict {
	var v verdict
	for w := fieldmap.Open(raw); w.Next(); {
		switch string(w.Key) {
		case "guardrail_status":
			v = verdictOf(m.Text(w.Value))
		case "guardrail_provider":
			r.SetText(audit.PolicyBy, m.Text(w.Value))
		case "guardrail_name":
			if name := m.Text(w.Value); name != nil {
				p.names = append(audit.AppendText(p.names, name), ',')
			}
		case "masked_entity_count":
			for found := fieldmap.Open(w.Value); found.Next(); {
				p.add(found.Key, m.Text(found.Value))
			}
		}
	}
	return v
}

// add adds to the findings. A type is a word; anything else is left out.
func (p *payload) add(kind, number []byte) {
	n, err := strconv.ParseInt(string(number), 10, 32)
	if err != nil || n <= 0 || !isWord(kind) {
		return
	}
	for i := range p.findings {
		if bytes.Equal(p.findings[i].kind, kind) {
			p.findings[i].count += n
			return
		}
	}
	if len(p.findings) < maxFindings {
		p.findings = append(p.findings, finding{kind, n})
	}
}

func isWord(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != ' ' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64
}
