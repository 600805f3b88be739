package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/auditail/auditail/internal/dev/generate"
)

// parallelFiles is how many files the second half of the part has.
const parallelFiles = 8

// parallel reads one file on one core, and the same lines from several files on all.
func (b *bench) parallel(ctx context.Context) error {
	pin, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("nothing can be held to one core: %w", err)
	}
	gateway := generate.Workloads()[0]
	one, err := b.read(ctx, gateway, 1, func(p *exec.Cmd) {
		p.Path, p.Args = pin, append([]string{pin, "-c", "0"}, p.Args...)
		p.Env = append(os.Environ(), "GOMAXPROCS=1")
	})
	if err != nil {
		return err
	}
	all, err := b.read(ctx, gateway, parallelFiles, func(*exec.Cmd) {})
	if err != nil {
		return err
	}
	say("parallel: gateway, 1 file on 1 core %.0f MB/s of wall time, %.2f CPU-s; %d files on all %.0f MB/s, %.2f CPU-s: %.2f times",
		one.megabytes()/one.wall.Seconds(), one.cpu.Seconds(), parallelFiles, all.megabytes()/all.wall.Seconds(), all.cpu.Seconds(),
		one.wall.Seconds()/all.wall.Seconds())
	return nil
}

// read measures a run over so many files, each of which has its input.
func (b *bench) read(ctx context.Context, w generate.Workload, files int, change func(*exec.Cmd)) (r result, err error) {
	if err := b.clear(); err != nil {
		return r, err
	}
	s, err := newSink()
	if err != nil {
		return r, err
	}
	var config strings.Builder
	for i := range files {
		log := filepath.Join(b.dir, fmt.Sprintf("input-%d.log", i))
		size, err := w.File(log, b.lines/files)
		if err != nil {
			return r, err
		}
		r.bytes += size
		text := w.Config(b.dir, log, s.url())
		if i > 0 {
			_, input, _ := strings.Cut(text, "[[inputs.file]]")
			text = "[[inputs.file]]" + strings.Replace(input, `name = "log"`, fmt.Sprintf("name = \"log-%d\"", i), 1)
		}
		config.WriteString(text)
	}
	name := filepath.Join(b.dir, "auditail.toml")
	if err := os.WriteFile(name, []byte(config.String()), 0o600); err != nil {
		return r, err
	}
	command := exec.CommandContext(ctx, b.agents[0], "run", "--once", "--config", name) //nolint:gosec // our own program
	change(command)
	p, err := startProcess(ctx, command)
	if err != nil {
		return r, err
	}
	if r.cpu, r.wall, r.peak, err = p.ended(); err != nil {
		return r, err
	}
	return r, s.close()
}
