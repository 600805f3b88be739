package buffer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
			if err != nil || buf.Acknowledge("a", batch) != nil {
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
			err = last.Wait(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		last = &commit
	}
	if err := last.Wait(ctx); err != nil {
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
// than batch_size and batch_age leave. The frames are those of a backlog, and
// those of a source that is followed live.
func BenchmarkOpen(b *testing.B) {
	b.Run("backlog", func(b *testing.B) { benchmarkOpen(b, 6000) })
	b.Run("live", func(b *testing.B) { benchmarkOpen(b, 100) })
}

func benchmarkOpen(b *testing.B, records int) {
	const size = 256 << 20
	c := config(b.TempDir())
	c.MaxDisk, c.BatchSize, c.BatchAge = 64<<30, 1<<40, 1000*time.Hour
	d := deps(durable.OS{})
	d.Coverage = coverage
	buf, err := buffer.Open(c, d)
	if err != nil {
		b.Fatal(err)
	}
	e := benchEntry(records)
	for written := int64(0); written < size; written = folderSize(b, filepath.Join(c.Dir, "segments")) {
		for range max(1, 100_000/records) {
			if _, err := buf.Submit(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		if err := buf.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	if err := buf.Shut(b.Context(), false); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		dir := filepath.Join(b.TempDir(), "buffer")
		if err := os.CopyFS(dir, os.DirFS(c.Dir)); err != nil {
			b.Fatal(err)
		}
		again := c
		again.Dir = dir
		b.StartTimer()
		buf, err := buffer.Open(again, d)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := buf.Shut(b.Context(), false); err != nil {
			b.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func folderSize(b *testing.B, dir string) (size int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			b.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

// BenchmarkOpenSpool opens a buffer with 10 GiB of sealed batches that no output
// has taken. Their payloads are links to one file: nothing in them is read, and
// should that change, reading 10 GiB shows even from the cache.
func BenchmarkOpenSpool(b *testing.B) {
	const size = 10 << 30
	c := config(b.TempDir())
	c.MaxDisk, c.BatchSize, c.BatchAge = 64<<30, 8<<20, 1000*time.Hour
	d := deps(durable.OS{})
	d.Coverage = coverage
	buf, err := buffer.Open(c, d)
	if err != nil {
		b.Fatal(err)
	}
	e := benchEntry(6000)
	for buf.Pending("a") < 2 {
		if err := buf.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	if err := buf.Shut(b.Context(), true); err != nil {
		b.Fatal(err)
	}
	spool := filepath.Join(c.Dir, "spool")
	next := linkBatches(b, spool, size)
	state := filepath.Join(c.Dir, "seal.json")
	text, err := os.ReadFile(state)
	if err != nil {
		b.Fatal(err)
	}
	text = regexp.MustCompile(`"next": \d+`).ReplaceAll(text, fmt.Appendf(nil, `"next": %d`, next))
	if err := os.WriteFile(state, text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		buf, err := buffer.Open(c, d)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := buf.Shut(b.Context(), false); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// linkBatches makes batch 1 of a spool be there under further numbers, up to a
// size, and returns the first number that is free.
func linkBatches(b *testing.B, spool string, size int64) int {
	name := func(n int, suffix string) string { return filepath.Join(spool, fmt.Sprintf("0001-%012d%s", n, suffix)) }
	info, err := os.Stat(name(1, seal.PayloadSuffix))
	if err != nil {
		b.Fatal(err)
	}
	n := 2
	for ; int64(n)*info.Size() < size; n++ {
		for _, suffix := range []string{seal.PayloadSuffix, seal.SignatureSuffix, seal.ManifestSuffix} {
			_ = os.Remove(name(n, suffix))
			if err := os.Link(name(1, suffix), name(n, suffix)); err != nil {
				b.Fatal(err)
			}
		}
	}
	return n
}
