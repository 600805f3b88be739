package vllm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/auditail/auditail/parsers"
)

func BenchmarkAccess(b *testing.B) {
	bench(b, access("10.20.0.14:41022", chat, 200))
}

func BenchmarkIgnored(b *testing.B) {
	bench(b, stamp+"[loggers.py:87] Engine 000: Avg prompt throughput: 10.8 tokens/s, Avg generation throughput: 34.3 tokens/s, Running: 2 reqs\n")
}

// BenchmarkRequest opens and ends a request with a prompt of 4 KB.
func BenchmarkRequest(b *testing.B) {
	prompt := "'" + strings.Repeat(`It\'s a line of sixty-four bytes, with an escape at its end.\n`, 64) + "'"
	bench(b, received("chatcmpl-5d59579f6d27aa026c681106d9077aaf", prompt)+
		generated("chatcmpl-5d59579f6d27aa026c681106d9077aaf", "'Bye.'")+
		access("10.20.0.14:41022", chat, 200))
}

func bench(b *testing.B, log string) {
	p := newParser(b)
	list := text(log)
	var dst []parsers.Draft
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for i := range list {
			var err error
			if dst, _, err = p.Parse(dst[:0], list[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSnapshot writes the state with 1,000 requests open.
func BenchmarkSnapshot(b *testing.B) {
	p := newParser(b)
	for i := range 1000 {
		if _, _, err := p.Parse(nil, text(received(fmt.Sprintf("chatcmpl-5d59579f6d27aa026c681106d9%06d", i), "'p'"))[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(p.Snapshot())))
	b.ReportAllocs()
	for b.Loop() {
		p.Snapshot()
	}
}
