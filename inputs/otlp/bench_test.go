package otlp

import (
	"fmt"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resources "go.opentelemetry.io/proto/slim/otlp/resource/v1"
)

// BenchmarkConvert translates what a Collector sends at once: 8,192 records.
func BenchmarkConvert(b *testing.B) {
	scope := &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "gateway"}}
	for i := range 8192 {
		r := &logs.LogRecord{TimeUnixNano: 1_700_000_000_000_000_000 + uint64(i), Body: text(strings.Repeat("a body ", 30))}
		for j := range 10 {
			r.Attributes = append(r.Attributes, pair(fmt.Sprintf("gen_ai.attribute.%d", j), text("value")))
		}
		scope.LogRecords = append(scope.LogRecords, r)
	}
	request := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resources.Resource{Attributes: []*common.KeyValue{pair("service.name", text("chat"))}},
		ScopeLogs: []*logs.ScopeLogs{scope},
	}}}
	for media, body := range map[string][]byte{typeProtobuf: inProtobuf(b, request), typeJSON: inJSON(b, request)} {
		b.Run(media, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if lines := convert(b, media, body); lines.Count != 8192 {
					b.Fatalf("%d lines", lines.Count)
				}
			}
		})
	}
}
