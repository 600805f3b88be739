// Package envoyaigateway reads the access log of Envoy AI Gateway: one JSON object a
// line with the keys of its documentation, of all versions; Envoy's default text
// format, for routes that have no format of their own; and, between them, what the
// gateway's components say of themselves.
package envoyaigateway

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// The slots, in the order of slots. What newer versions call "gen_ai.…" and
// "mcp.…" versions before 0.6 called "genai_…" and "mcp_…".
const (
	slotFlags = iota
	slotMethod
	slotOldMethod
	slotBackend
	slotOldBackend
	slotMCPBackend
	slotOldMCPBackend
	slotLevel
	slotMessage
)

func slots() [][]string {
	return fieldmap.Paths("response_flags", "mcp.method.name", "mcp_method", "gen_ai.provider.name", "genai_backend_name",
		"mcp.provider.name", "mcp_backend", "level", "msg") // no key holds a slash; dots do not divide them
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "start_time"),
		from("session.request_id", "x-request-id"),
		from("session.id", "session.id", "mcp.session.id", "mcp_session_id"),
		from("client.ip", "x-forwarded-for", "downstream_remote_address"),
		from("client.user_agent", "user-agent"),
		from("api.method", "method"),
		from("api.path", "x-envoy-origin-path", "request.path", "path"),
		from("api.status", "response_code"),
		from("model.name", "gen_ai.request.model", "genai_model_name"),
		from("model.served", "gen_ai.response.model", "gen_ai.request.model_override", "genai_model_name_override"),
		from("usage.input_tokens", "gen_ai.usage.input_tokens", "genai_tokens_input"),
		from("usage.output_tokens", "gen_ai.usage.output_tokens", "genai_tokens_output"),
		from("usage.cached_tokens", "gen_ai.usage.cached_input_tokens", "gen_ai.usage.cache_read.input_tokens", "genai_tokens_cached_input"),
		from("usage.request_bytes", "bytes_received"),
		from("usage.response_bytes", "bytes_sent"),
		from("usage.duration_ms", "duration"),
		from("tool.name", "mcp.tool.name", "mcp_tool_name"),
		from("tool.call_id", "jsonrpc.request.id", "mcp_request_id"),
		from("extra.response_flags", "response_flags"),
		from("extra.response_code_details", "response_code_details"),
		from("extra.upstream_failure", "upstream_transport_failure_reason"),
		from("extra.upstream_host", "upstream_host"),
		from("extra.authority", ":authority"),
		from("extra.route", "route_name"),
	}
}

// Parser reads the log.
type Parser struct {
	*fieldmap.JSON
	keys [columns]fieldmap.Key // of the text format
}

// New returns a parser.
func New(c parsers.Config) (*Parser, error) {
	j, err := fieldmap.NewJSON(fieldmap.Config{Config: c, Fields: fields(), Slots: slots(), Decide: decide})
	if err != nil {
		return nil, err
	}
	p := &Parser{JSON: j}
	for i, name := range columnNames() {
		p.keys[i] = j.Key([]byte(name))
	}
	return p, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	if len(line.Data) > 0 && line.Data[0] == '{' {
		return p.JSON.Parse(dst, line)
	}
	dst, outcome := p.text(dst, &line)
	return dst, outcome, nil
}

func decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	if level := m.Slot(slotLevel); level != nil && m.Slot(slotMessage) != nil && m.Status() == parsers.NoStatus {
		return component(level)
	}
	backend := either(m.Slot(slotBackend), m.Slot(slotOldBackend))
	m.AddExtra("backend", backend)
	if _, rest, ok := bytes.Cut(backend, []byte("/")); ok { // NAMESPACE/BACKEND/route/…
		backend, _, _ = bytes.Cut(rest, []byte("/"))
	}
	r.SetText(audit.ModelProvider, backend)
	m.AddExtra("mcp_backend", either(m.Slot(slotMCPBackend), m.Slot(slotOldMCPBackend)))
	if method := either(m.Slot(slotMethod), m.Slot(slotOldMethod)); method != nil {
		m.AddExtra("mcp_method", method)
		if string(method) == "ping" && m.Status() == 200 {
			return parsers.Outcome{Verdict: parsers.Ignored, Rule: parsers.RuleHealthCheck}
		}
		r.SetString(audit.Event, eventOf(method))
	} else if r.Has(audit.ToolName) {
		r.SetString(audit.Event, "tool.call")
	}
	if string(r.Text(audit.Event)) != "tool.call" {
		r.Clear(audit.ToolCallID) // every message has an id
	}
	end(r, m.Slot(slotFlags), m.Status())
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// eventOf names what a method of the Model Context Protocol does.
func eventOf(method []byte) string {
	switch string(method) {
	case "tools/call":
		return "tool.call"
	case "sampling/createMessage":
		return "model.inference"
	default: // lists, resources, prompts, the session itself
		return "data.access"
	}
}

// end tells how a call ended that was answered, or never was, from Envoy's response
// flags: the status alone says only how the answer began.
func end(r *audit.Record, flags []byte, status int) {
	if status >= 400 || status == parsers.NoStatus {
		return
	}
	for flag := range bytes.SplitSeq(flags, []byte(",")) {
		switch string(flag) {
		case "DC", "DR": // downstream: the caller went away
			r.SetString(audit.Outcome, "cancelled")
			r.SetString(audit.Reason, parsers.ReasonClientClosed)
			return
		case "UC", "UR", "UT", "UF", "UPE", "UH", "LR", "SI", "DT", "UMSDR", "OM", "DPE":
			r.SetString(audit.Outcome, "failed")
			var reason [16]byte
			r.SetText(audit.Reason, append(append(reason[:0], "envoy_"...), flag...))
		}
	}
}

// component judges what the gateway's components log of themselves.
func component(level []byte) parsers.Outcome {
	switch string(level) {
	case "info", "debug", "trace", "INFO", "DEBUG", "TRACE":
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleComponent}
	default:
		return parsers.Outcome{Rule: "a warning or error of a component"}
	}
}

func either(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}
