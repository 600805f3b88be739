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

// verify measures auditail-verify, which lies beside the agent, over the archive of
// each workload in a directory.
func (b *bench) verify(ctx context.Context) error {
	verifier := filepath.Join(filepath.Dir(b.agents[0]), "auditail-verify")
	if _, err := os.Stat(verifier); err != nil {
		return fmt.Errorf("the verifier is to lie beside the agent: %w", err)
	}
	for _, w := range generate.Workloads() {
		if b.only != "" && b.only != w.Name {
			continue
		}
		if err := b.clear(); err != nil {
			return err
		}
		if err := b.verifyOne(ctx, w, verifier); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return nil
}

func (b *bench) verifyOne(ctx context.Context, w generate.Workload, verifier string) error {
	log, archive := filepath.Join(b.dir, "input.log"), filepath.Join(b.dir, "archive")
	if _, err := w.File(log, b.lines); err != nil {
		return err
	}
	config := w.Config(b.dir, log, "http://127.0.0.1:1")
	config = strings.Replace(config, "[[outputs.http]]", "[[outputs.directory]]", 1)
	config = strings.Replace(config, `url = "http://127.0.0.1:1"`, `path = "`+archive+`"`, 1)
	p, err := startAgent(ctx, b.agents[0], b.dir, config, "--once")
	if err != nil {
		return err
	}
	if _, _, _, err := p.ended(); err != nil {
		return err
	}
	key, err := exec.CommandContext(ctx, b.agents[0], "keys", "show", "--config", filepath.Join(b.dir, "auditail.toml")).Output() //nolint:gosec // our own program
	if err != nil {
		return fmt.Errorf("show the key: %w", err)
	}
	trust := filepath.Join(b.dir, "trust")
	if err := os.WriteFile(trust, key, 0o600); err != nil {
		return err
	}
	plain, err := plainBytes(archive)
	if err != nil {
		return err
	}
	check, err := startProcess(ctx, exec.CommandContext(ctx, verifier, "archive", archive, "--trust", trust)) //nolint:gosec // our own program
	if err != nil {
		return err
	}
	cpu, wall, peak, err := check.ended()
	if err != nil {
		return err
	}
	say("verify: %s, %.0f MB of records: %.0f MB per CPU-second, %.0f MB/s, peak %.1f MiB",
		w.Name, plain/1e6, plain/1e6/cpu.Seconds(), plain/1e6/wall.Seconds(), mebibytes(peak.resident))
	return nil
}

// plainBytes adds up what the manifests say that the payloads are uncompressed.
func plainBytes(archive string) (sum float64, err error) {
	names, err := filepath.Glob(filepath.Join(archive, "seals", "*", "*", "*.manifest"))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		text, err := os.ReadFile(name) //nolint:gosec // in our own folder
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(text), "\nplain ")
		var n float64
		if _, err := fmt.Sscanf(rest, "%g", &n); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}

// lengthen makes files longer with holes and returns how many and how long they are.
func lengthen(glob string, size int64) (files int, all int64, err error) {
	names, err := filepath.Glob(glob)
	for _, name := range names {
		if err := os.Truncate(name, size); err != nil {
			return 0, 0, err
		}
		all += size
	}
	return len(names), all, err
}
