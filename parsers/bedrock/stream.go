package bedrock

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// stream puts the answer of a streamed call together from its events, and takes
// from them what Bedrock itself adds.
func stream(m *fieldmap.Map, d *parsers.Draft, events []byte) {
	s := fieldmap.Stream{Map: m, Draft: d}
	for w := fieldmap.Open(events); w.Next(); {
		s.Event(w.Value)
		if total := fieldmap.Member(w.Value, "amazon-bedrock-invocationMetrics"); total != nil {
			m.Count(d, audit.UsageDurationMs, total, "invocationLatency")
			m.Count(d, audit.UsageInputTokens, total, "inputTokenCount")
			m.Count(d, audit.UsageOutputTokens, total, "outputTokenCount")
			m.Count(d, audit.UsageCachedTokens, total, "cacheReadInputTokenCount")
		}
		if string(m.Text(fieldmap.Member(w.Value, "amazon-bedrock-guardrailAction"))) == "INTERVENED" {
			blocked(&d.Record)
		}
	}
}
