package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/dev/generate"
)

const (
	idleFiles = 1000
	idleLines = 10 // in each
	// idleRest is what files and buffer take until they rest.
	idleRest = 15 * time.Second
)

// idle follows many files that nobody writes to.
func (b *bench) idle(ctx context.Context) error {
	s, err := newSink()
	if err != nil {
		return err
	}
	access := generate.Workloads()[1]
	for i := range idleFiles {
		var lines []byte
		for n := range idleLines {
			lines = appendAccess(lines, i*idleLines+n) // files with the same content would be taken for one that was renamed
		}
		if err := os.WriteFile(filepath.Join(b.dir, fmt.Sprintf("input-%04d.log", i)), lines, 0o600); err != nil {
			return err
		}
	}
	p, err := startAgent(ctx, b.agents[0], b.dir, access.Config(b.dir, filepath.Join(b.dir, "input-*.log"), s.url()))
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.untilRead(ctx, idleFiles*idleLines); err != nil {
		return err
	}
	time.Sleep(idleRest)
	cores, err := p.cores(b.live)
	if err != nil {
		return err
	}
	now := p.memory()
	say("idle: %d files for %s: %.2f %% of a core, %.1f MiB (anonymous %.1f)",
		idleFiles, b.live, 100*cores, mebibytes(now.resident), mebibytes(now.anonymous))
	_, _, err = p.stop()
	return errors.Join(err, s.close())
}

// stalled reads a backlog while the output takes nothing, and then looks at what the
// agent takes when all is in the buffer and the output still takes nothing.
func (b *bench) stalled(ctx context.Context) error {
	s, err := newSink()
	if err != nil {
		return err
	}
	s.stalled = true
	access, log := generate.Workloads()[1], filepath.Join(b.dir, "input.log")
	if _, err := access.File(log, b.lines); err != nil {
		return err
	}
	p, err := startAgent(ctx, b.agents[0], b.dir, access.Config(b.dir, log, s.url()))
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.untilRead(ctx, int64(b.lines)); err != nil {
		return err
	}
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	time.Sleep(idleRest)
	cores, err := p.cores(b.live)
	if err != nil {
		return err
	}
	now := p.memory()
	say("stalled: the output answers 503 to all: %.2f µs of CPU a line to read %d lines, then %.2f %% of a core and %.1f MiB (anonymous %.1f)",
		float64(cpu.Microseconds())/float64(b.lines), b.lines, 100*cores, mebibytes(now.resident), mebibytes(now.anonymous))
	_, peak, err := p.stop()
	say("stalled: peak of the run %.1f MiB", mebibytes(peak.resident))
	return errors.Join(err, s.close())
}

const (
	startBuffer = 10 << 30
	startBatch  = 8 << 20 // of payload in a batch: the default batch_size
	startLines  = 2_700_000
)

// start fills the spool with so many sealed batches that nobody has acknowledged as
// make 10 GiB at the default batch_size, and measures until the inputs run again. The
// batches are real and small, and their payloads are made longer with holes: of a
// sealed batch a start looks at name and size.
func (b *bench) start(ctx context.Context) error {
	s, err := newSink()
	if err != nil {
		return err
	}
	s.stalled = true
	access, log := generate.Workloads()[1], filepath.Join(b.dir, "input.log")
	if _, err := access.File(log, startLines); err != nil {
		return err
	}
	config := access.Config(b.dir, log, s.url())
	config = strings.Replace(config, "[buffer]\n", "[buffer]\nbatch_size = \"64KiB\"\n", 1)
	p, err := startAgent(ctx, b.agents[0], b.dir, config)
	if err != nil {
		return err
	}
	defer p.kill()
	const batches = startBuffer / startBatch
	err = p.until(ctx, func(s *admin.Status) bool { return s.Buffer.Batches >= batches || s.Inputs[0].Lines.Read == startLines })
	if err != nil {
		return err
	}
	if _, _, err := p.stop(); err != nil {
		return err
	}
	files, size, err := lengthen(filepath.Join(b.dir, "data", "buffer", "spool", "*.zst"), startBatch)
	if err != nil {
		return err
	}
	again, err := startAgent(ctx, b.agents[0], b.dir, config)
	if err != nil {
		return err
	}
	defer again.kill()
	if err := again.until(ctx, func(s *admin.Status) bool { return s.Ready }); err != nil {
		return err
	}
	say("start: %d sealed batches, %.1f GiB: the inputs run after %s", files, float64(size)/(1<<30), time.Since(again.begun).Round(time.Millisecond))
	return s.close()
}
