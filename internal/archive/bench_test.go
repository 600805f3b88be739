package archive_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal/sealtest"
)

// The speed that counts is that of uncompressed records per core.
func BenchmarkVerify(b *testing.B) {
	e := sealtest.New(b, sealtest.Config{})
	e.Open()
	for range 16 {
		records := make([][]byte, 8000)
		for i := range records {
			records[i] = e.Record("model.inference", fmt.Sprintf(`"model":{"name":"llama-3-8b","provider":"vllm","basis":"unresolved"},`+
				`"session":{"request_id":"%x"},"input":{"mode":"hashed","hmac":"hmac-sha256:2026-11:%x","bytes":%d}`,
				sealtest.Key(fmt.Sprint(i))[:16], sealtest.Key(fmt.Sprint(-i))[:32], i))
		}
		e.Data(sealtest.Chat(), records)
	}
	e.Close()
	e.Checkpoint()
	b.ReportAllocs()
	for b.Loop() {
		report, err := archive.Verify(b.Context(), memory(e.Files), archive.Options{
			Trust: trust(e), Workers: 1, Found: func(f archive.Finding) { b.Error(f) },
		})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(report.PlainBytes)
	}
}

// Small batches: what a manifest, its three signatures and a file cost.
func BenchmarkVerifyHeartbeats(b *testing.B) {
	e := sealtest.New(b, sealtest.Config{})
	e.Open()
	for range 999 {
		e.Heartbeat()
	}
	e.Checkpoint()
	for b.Loop() {
		if _, err := archive.Verify(b.Context(), memory(e.Files), archive.Options{Trust: trust(e), Workers: 1, Found: func(f archive.Finding) { b.Error(f) }}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/batch")
}

func BenchmarkCheckPayload(b *testing.B) {
	e := sealtest.New(b, sealtest.Config{})
	e.Open()
	m := e.Data(sealtest.Chat(), e.Records(20000)).Manifest
	file := e.Files[m.PayloadPath]
	checker, err := archive.NewPayloadChecker()
	if err != nil {
		b.Fatal(err)
	}
	defer checker.Close()
	b.SetBytes(m.Plain)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := checker.Check(bytes.NewReader(file), m, archive.PayloadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
