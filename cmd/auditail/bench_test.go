package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/dev/generate"
)

// BenchmarkPath measures parse, capture, encode, hash, compress, commit, seal
// and ship to a directory, for chunks as the file input hands them over. Bytes
// are of the log.
func BenchmarkPath(b *testing.B) {
	for _, w := range generate.Workloads() {
		b.Run(w.Name, func(b *testing.B) {
			var log []byte
			if err := w.Lines(chunkLines, func(line []byte) error {
				log = append(log, line...)
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			dir := b.TempDir()
			cfg, err := config.Parse("bench", []byte(w.Config(dir, filepath.Join(dir, "log"), "http://127.0.0.1:1")))
			if err != nil {
				b.Fatal(err)
			}
			cfg.Outputs.HTTP = nil
			cfg.Outputs.Directory = []config.DirectoryOutput{{Name: "local", Path: filepath.Join(dir, "archive")}}
			s, err := prepare(b.Context(), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			f := &feeder{log: log, n: b.N}
			s.config.Inputs[0].Input = f
			a, err := agent.New(b.Context(), s.config, s.deps)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			b.ResetTimer()
			if err := a.RunOnce(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*f.lines), "ns/line")
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// chunkLines is what the file input hands over at once of short lines.
const chunkLines = 2048

// onWay is how many chunks the file input has on their way at once.
const onWay = 2

// feeder hands over the same chunk n times, each time further on.
type feeder struct {
	log   []byte
	n     int
	lines int
}

func (f *feeder) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	return f.Scan(ctx, resume, to)
}

func (f *feeder) Scan(ctx context.Context, _ []inputs.Position, to inputs.Appender) error {
	chunk := inputs.Chunk{}
	seen := time.Now()
	for rest := f.log; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		chunk.Lines = append(chunk.Lines, inputs.Line{
			Source: "log", Path: "log", Generation: "0123456789abcdef", Offset: int64(len(f.log) - len(rest)),
			Size: int64(len(line) + 1), Data: line, Seen: seen,
		})
		rest = after
	}
	f.lines = len(chunk.Lines)
	size := int64(len(f.log))
	var waits []func() error
	for i := range int64(f.n) {
		chunk.Ranges = []inputs.Range{{Generation: "0123456789abcdef", Unit: inputs.UnitBytes, From: i * size, To: (i + 1) * size, Lines: int64(f.lines)}}
		wait, err := to.(inputs.Submitter).Submit(ctx, chunk)
		if err != nil {
			return err
		}
		waits = append(waits, wait)
		for len(waits) == onWay || i == int64(f.n)-1 && len(waits) > 0 {
			if err := waits[0](); err != nil {
				return err
			}
			waits = waits[1:]
		}
		for j := range chunk.Lines {
			chunk.Lines[j].Offset += size
		}
	}
	return nil
}
