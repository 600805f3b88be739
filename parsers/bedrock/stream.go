package bedrock

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// stream puts the answer of a streamed call together from its events, each in the
// form of its model's family, and takes from them why it ended and how long it took.
func stream(m *fieldmap.Map, d *parsers.Draft, events []byte) {
	r := &d.Record
	first := true
	for w := fieldmap.Open(events); w.Next(); {
		var finish []byte
		for member := fieldmap.Open(w.Value); member.Next(); {
			switch value := member.Value; string(member.Key) {
			case "content_block", "contentBlockStart":
				first = true
			case "contentBlockDelta":
				value = fieldmap.Member(value, "delta")
				fallthrough
			case "delta": // Anthropic's messages; Converse and Nova
				for _, key := range [...]string{"text", "partial_json", "thinking"} {
					if piece := fieldmap.Member(value, key); piece != nil {
						m.AddPiece(&d.Output, piece, first)
						first = false
					}
				}
				if tool := fieldmap.Member(value, "toolUse", "input"); tool != nil {
					m.AddPiece(&d.Output, tool, first)
					first = false
				}
				finish = either(finish, fieldmap.Member(value, "stop_reason"))
			case "completion", "outputText", "generation", "text": // Claude 2, Titan, Llama, Cohere
				m.AddPiece(&d.Output, value, first)
				first = false
			case "outputs", "choices", "generations": // Mistral, those that speak OpenAI's form, Cohere
				one := fieldmap.Open(value)
				if !one.Next() {
					continue
				}
				piece := either(fieldmap.Member(one.Value, "text"), fieldmap.Member(one.Value, "delta", "content"))
				m.AddPiece(&d.Output, piece, first)
				first = first && piece == nil
				finish = either(finish, either(fieldmap.Member(one.Value, "stop_reason"), fieldmap.Member(one.Value, "finish_reason")))
			case "messageStop":
				finish = either(finish, fieldmap.Member(value, "stopReason"))
			case "stop_reason", "completionReason", "finish_reason":
				finish = either(finish, value)
			case "amazon-bedrock-invocationMetrics":
				invocationMetrics(m, r, value)
			case "amazon-bedrock-guardrailAction":
				if string(m.Text(value)) == "INTERVENED" {
					r.SetString(audit.PolicyDecision, "block")
				}
			}
		}
		if reason := m.Text(finish); reason != nil {
			var list [128]byte
			r.SetJSON(audit.OutputFinish, append(audit.AppendText(append(list[:0], '['), reason), ']'))
		}
	}
	if string(r.Text(audit.PolicyDecision)) == "block" {
		r.SetString(audit.Outcome, "blocked")
		r.SetString(audit.Reason, "policy_block")
		r.SetString(audit.PolicyBy, "bedrock/guardrails")
	}
}

// either returns the first that is there and not null.
func either(a, b []byte) []byte {
	if len(a) > 0 && a[0] != 'n' {
		return a
	}
	return b
}

// invocationMetrics reads the totals that Bedrock itself appends to a stream.
func invocationMetrics(m *fieldmap.Map, r *audit.Record, raw []byte) {
	for _, total := range [...]struct {
		key   string
		field audit.Field
	}{
		{"invocationLatency", audit.UsageDurationMs},
		{"inputTokenCount", audit.UsageInputTokens},
		{"outputTokenCount", audit.UsageOutputTokens},
		{"cacheReadInputTokenCount", audit.UsageCachedTokens},
	} {
		if n, ok := m.Integer(fieldmap.Member(raw, total.key)); ok && !r.Has(total.field) {
			r.SetInt(total.field, n)
		}
	}
}
