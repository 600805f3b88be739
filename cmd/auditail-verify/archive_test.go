package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal/sealtest"
)

// written writes a sound archive and returns the arguments that verify it.
func written(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(3))
	e.Close()
	e.Checkpoint()
	e.Write(filepath.Join(dir, "archive"))
	trust := filepath.Join(dir, "trust")
	if err := os.WriteFile(trust, []byte(e.Trust()), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"archive", filepath.Join(dir, "archive"), "--trust", trust}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// A verdict that could not be written was not given.
func TestOutputThatFails(t *testing.T) {
	for _, flag := range []string{"--strict", "--json"} {
		var stderr strings.Builder
		code := run(t.Context(), append(written(t), flag), full{}, &stderr)
		if want := "auditail-verify: write findings: no space left on device\n"; code != exitUnchecked || stderr.String() != want {
			t.Errorf("exit %d, %q", code, stderr.String())
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	code := run(ctx, written(t), &stdout, &stderr)
	if want := "auditail-verify: interrupted: nothing may be concluded\n"; code != exitUnchecked || stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("exit %d, %q, %q", code, stdout.String(), stderr.String())
	}
}

// The bar is drawn once for each percent, and taken away before a line is written.
func TestProgressBar(t *testing.T) {
	var terminal, out strings.Builder
	p := newPrinter(&out, &terminal, false)
	p.progress(1, 2)
	if terminal.Len() > 0 {
		t.Errorf("drawn where no terminal is: %q", terminal.String())
	}
	p.terminal = &terminal
	p.progress(500, 1000)
	p.progress(501, 1000)
	p.progress(0, 0)
	p.finding(archive.Finding{Level: archive.Notice, Path: "a", What: "b"})
	p.progress(5000, 1000)
	p.clear()
	p.clear()
	want := "\r[" + strings.Repeat("=", 20) + strings.Repeat(" ", 20) + "]  50 %\r\x1b[K" +
		"\r[" + strings.Repeat("=", 40) + "] 100 %\r\x1b[K"
	if terminal.String() != want || out.String() != "notice a: b\n" {
		t.Errorf("terminal %q, want %q; output %q", terminal.String(), want, out.String())
	}
}
