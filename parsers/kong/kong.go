// Package kong reads the request log of Kong Gateway with its AI plugins (3.6 and
// newer), as file-log, http-log and their like write it: one JSON object a line.
package kong

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// containers are the places of what the AI plugins log: since 3.9, in 3.7 and 3.8
// under the plugin's name, in 3.6 at the top.
var containers = [...]string{"ai/proxy/", "ai/ai-proxy/", "ai/ai-proxy-advanced/", "ai/"}

// ai maps a field to the same keys in every container.
func ai(field string, keys ...string) fieldmap.Mapping {
	var sources []string
	for _, container := range containers {
		for _, key := range keys {
			sources = append(sources, container+key)
		}
	}
	return fieldmap.From(field, sources...)
}

// everywhere lists the paths of a key in every container.
func everywhere(key string) []string {
	var paths []string
	for _, container := range containers {
		paths = append(paths, container+key)
	}
	return paths
}

// The slots, in the order of slots.
const (
	slotUpstreamURI = iota
	slotLLMModel
	slotAI
	slotMethod
)

func slots() [][]string {
	return fieldmap.Paths("upstream_uri", "response/headers/x-kong-llm-model", "ai", "request/method")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "started_at unix_ms"),
		from("session.request_id", "request/id", "correlation_id"),
		from("client.ip", "client_ip"),
		from("client.user_agent", "request/headers/user-agent", "request/headers/user-agent/0"),
		from("actor.id", "consumer/username", "consumer/custom_id", "consumer/id", "authenticated_entity/consumer_id"),
		from("actor.key_id", "authenticated_entity/id"),
		from("workspace", "workspace_name", "workspace"),
		from("api.method", "request/method"),
		from("api.path", "request/uri"),
		from("api.status", "response/status"),
		from("usage.request_bytes", "request/size"),
		from("usage.response_bytes", "response/size"),
		from("usage.duration_ms", "latencies/request"),

		ai("model.name", "meta/request_model"),
		ai("model.served", "meta/response_model"),
		ai("model.provider", "meta/provider_name"),
		ai("usage.input_tokens", "usage/prompt_tokens", "usage/prompt_token"),
		ai("usage.output_tokens", "usage/completion_tokens", "usage/completion_token"),
		ai("usage.cached_tokens", "usage/prompt_tokens_details/cached_tokens"),
		from("tool.name", "ai/mcp/rpc/0/tool_name"),
		from("session.id", "ai/mcp/mcp_session_id"),
		ai("params.temperature", "payload/request/temperature"),
		ai("params.top_p", "payload/request/top_p"),
		ai("params.max_tokens", "payload/request/max_tokens", "payload/request/max_completion_tokens"),
		ai("params.seed", "payload/request/seed"),
		ai("params.stream", "payload/request/stream"),
		ai("session.response_id", "payload/response/id"),
		ai("api.fingerprint", "payload/response/system_fingerprint"),
		ai("input", "payload/request"),
		ai("output", "payload/response"),
		ai("output.finish", "payload/response/choices/0/finish_reason"),

		from("extra.upstream_uri", "upstream_uri"),
		from("extra.source", "source"),
		from("extra.route", "route/name"),
		from("extra.gateway_service", "service/name"),
		from("extra.consumer_custom_id", "consumer/custom_id"),
	}
}

// parser decides over records. It keeps nothing between lines but memory.
type parser struct{ sent []byte }

// New returns a parser.
func New(c parsers.Config) (parsers.Parser, error) {
	p := &parser{}
	return fieldmap.NewJSON(fieldmap.Config{
		Config: c, Fields: fields(), Slots: slots(), Decide: p.decide,
		Embedded: fieldmap.Paths(append(everywhere("payload/request"), everywhere("payload/response")...)...),
	})
}

func (p *parser) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	if m.Target() == nil || m.Status() == parsers.NoStatus {
		return parsers.Outcome{Rule: "not a request log of Kong"}
	}
	// A gateway chooses its own paths; the one that the provider sees tells what was asked.
	if route := parsers.Classify(m.Slot(slotMethod), m.Slot(slotUpstreamURI)); route.Known() && route.Operation != "" {
		r.SetString(audit.Event, route.Event)
		r.SetString(audit.APIOperation, route.Operation)
		r.SetText(audit.APIVersion, route.Version)
	} else if r.Has(audit.ModelName) || r.Has(audit.UsageInputTokens) {
		r.SetString(audit.Event, "model.inference")
	}
	p.models(m, r)
	if bytes.HasPrefix(d.Output.Text, []byte("data:")) {
		p.sent = append(p.sent[:0], d.Output.Text...)
		d.Output.Reset()
		s := fieldmap.Stream{Map: m, Draft: d}
		s.Events(p.sent)
	}
	p.extras(m, r)
	if r.Has(audit.ActorID) && r.Has(audit.ActorKeyID) {
		r.SetString(audit.ActorBasis, "api_key")
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// models drops Kong's word for a model that it does not know, and takes the model
// from a header of the answer where the log has no analytics.
func (p *parser) models(m *fieldmap.Map, r *audit.Record) {
	for _, f := range [...]audit.Field{audit.ModelName, audit.ModelServed, audit.ModelProvider} {
		if string(r.Text(f)) == "UNSPECIFIED" {
			r.Clear(f)
		}
	}
	if r.Has(audit.ModelName) || r.Has(audit.ModelServed) {
		return
	}
	if provider, model, ok := bytes.Cut(m.Slot(slotLLMModel), []byte("/")); ok { // "openai/gpt-4o"
		r.SetText(audit.ModelName, model)
		r.SetText(audit.ModelProvider, provider)
	}
}

// extras keeps cost, latency of the first token and the verdict of the cache.
func (p *parser) extras(m *fieldmap.Map, r *audit.Record) {
	raw := m.Slot(slotAI)
	for w := fieldmap.Open(raw); w.Next(); {
		usage, cache := fieldmap.Member(w.Value, "usage"), fieldmap.Member(w.Value, "cache")
		switch string(w.Key) {
		case "usage": // at the top: 3.6
			usage = w.Value
		case "cache":
			cache = w.Value
		case "sanitizer":
			sanitized(m, r, w.Value)
			continue
		case "proxy", "ai-proxy", "ai-proxy-advanced":
		default:
			continue
		}
		m.AddExtraNumber("cost", fieldmap.Member(usage, "cost"))
		m.AddExtraNumber("time_to_first_token_ms", fieldmap.Member(usage, "time_to_first_token"))
		m.AddExtra("cache_status", m.Text(fieldmap.Member(cache, "cache_status")))
	}
}

// sanitized fills what the AI sanitizer did before the model saw the prompt, without
// looking at the items, which are what it took out.
func sanitized(m *fieldmap.Map, r *audit.Record, raw []byte) {
	found, ok := m.Integer(fieldmap.Member(raw, "pii_identified"))
	if !ok || found < 0 {
		return
	}
	r.SetString(audit.PolicyBy, "kong/ai-sanitizer")
	if found == 0 {
		r.SetString(audit.PolicyDecision, "allow")
		return
	}
	var list [32]byte
	r.SetJSON(audit.PolicyFindings, append(strconv.AppendInt(append(list[:0], `{"pii":`...), found, 10), '}'))
	if masked, ok := m.Integer(fieldmap.Member(raw, "pii_anonymized")); ok && masked > 0 {
		r.SetString(audit.PolicyDecision, "redact")
	} else {
		r.SetString(audit.PolicyDecision, "flag")
	}
}
