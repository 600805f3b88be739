package buffer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// benchEntry is an entry of records of about 700 bytes, as a gateway's log gives them.
func benchEntry(records int) *buffer.Entry {
	e := entry(0, 0)
	for i := range records {
		id := seal.DigestOf(fmt.Appendf(nil, "%d", i))
		e.Records = fmt.Appendf(e.Records, `{"schema":"auditail/record@v1","time":"2026-11-20T08:00:%02d.%06dZ","event":"inference.request","outcome":"success",`+
			`"actor":{"type":"user","id":"user-%d","workspace":"research"},"source":{"id":"gateway","address":"10.1.%d.%d","user_agent":"python-requests/2.31"},`+
			`"model":{"name":"llama-3-8b-instruct","version":"2024-04-18","digest":"sha256:%s","basis":"declared"},`+
			`"input":{"mode":"hashed","hmac":"%s","bytes":%d,"tokens":%d},"output":{"finish":"stop","bytes":%d,"tokens":%d},`+
			`"policy":{"name":"default","decision":"allow"},"latency_ms":%d,"agent":{"id":"gpu-07","seq":`+"\n",
			i%60, i, i%97, i%250, i%251, seal.DigestOf(nil), id, i*7%9000, i%4000, i*3%5000, i%900, i%3000)
	}
	e.Lines = seal.Lines{Read: uint64(records), Recorded: uint64(records)}
	return e
}

func benchmarkAppend(b *testing.B, records int) {
	c := config(b.TempDir())
	c.MaxDisk = 64 << 30
	c.Outputs = []string{"a"}
	d := deps(durable.OS{})
	d.Coverage = coverage
	buf, err := buffer.Open(c, d)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	done := make(chan struct{})
	go func() { // an output that takes everything at once
		defer close(done)
		for {
			batch, err := buf.Next(ctx, "a")
			if err != nil || buf.Acknowledge("a", batch.Manifest.Batch) != nil {
				return
			}
		}
	}()
	e := benchEntry(records)
	b.SetBytes(int64(len(e.Records)))
	b.ReportAllocs()
	// Two entries are on their way, as from an input that reads on while the
	// disk syncs.
	var last *buffer.Commit
	for b.Loop() {
		commit, err := buf.Submit(ctx, e)
		if err == nil && last != nil {
			err = last.Wait()
		}
		if err != nil {
			b.Fatal(err)
		}
		last = &commit
	}
	if err := last.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := buf.Shut(ctx, true); err != nil {
		b.Fatal(err)
	}
	<-done
}

func BenchmarkAppend1MiB(b *testing.B)      { benchmarkAppend(b, 1500) }
func BenchmarkAppend10Records(b *testing.B) { benchmarkAppend(b, 10) }

// BenchmarkOpen recovers 256 MiB of segments of which nothing is sealed: far more
// than batch_size and batch_age leave.
func BenchmarkOpen(b *testing.B) {
	const size = 256 << 20
	ctx := context.Background()
	d := deps(durable.OS{})
	d.Coverage = coverage
	e := benchEntry(6000)
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		c := config(b.TempDir())
		c.MaxDisk, c.BatchSize, c.BatchAge = 64<<30, 1<<40, 1000*time.Hour
		buf, err := buffer.Open(c, d)
		if err != nil {
			b.Fatal(err)
		}
		for full := false; !full; {
			if err := buf.Append(ctx, e); err != nil {
				b.Fatal(err)
			}
			segments, err := d.FS.ReadDir(filepath.Join(c.Dir, "segments"))
			if err != nil {
				b.Fatal(err)
			}
			full = len(segments) > size/(32<<20)
		}
		if err := buf.Shut(ctx, false); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if buf, err = buffer.Open(c, d); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := buf.Shut(ctx, false); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
