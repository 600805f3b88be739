// Command demo shows the whole path once on real log lines: three logs written
// as live servers write them, the agent killed and a file rotated in the
// middle, batches at a central server, and an independent verification, which
// then finds one changed byte.
//
// It exits with 1 when anything is not as promised.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed samples
var samples embed.FS

// patience bounds every wait: on a machine that is busy with other work things
// take longer, and nothing here is a measurement.
const patience = 40 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// stage is the folder in which the demo plays and what runs in it.
type stage struct {
	dir     string // absolute
	bin     string
	address string
	running []*program
}

func run(ctx context.Context) (err error) {
	s, err := newStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.killAll()) }()
	say("1  a central server on loopback, an agent with its key enrolled there")
	if err := s.enrol(ctx); err != nil {
		return err
	}
	server, err := s.start(ctx, "auditail-server", "run", "--store", s.path("archive"), "--listen", s.address)
	if err != nil {
		return err
	}
	if err := s.awaitServer(ctx); err != nil {
		return errors.Join(err, server.tail())
	}
	say("2  three logs are written: vLLM engine and access lines, a gateway's JSON with users and prompts, nginx")
	w, err := newWriter(s.path("logs"))
	if err != nil {
		return err
	}
	if err := s.play(ctx, w); err != nil {
		return err
	}
	report, err := readArchive(s.path("archive"))
	if err != nil {
		return err
	}
	say("6  an independent verifier")
	if err := s.verify(ctx, report); err != nil {
		return err
	}
	report.printTable(os.Stdout)
	if err := report.check(os.Stdout, w.lines); err != nil {
		return err
	}
	if err := s.tamper(ctx, report); err != nil {
		return err
	}
	s.printNext()
	return nil
}

func say(format string, args ...any) {
	fmt.Printf("\n── "+format+"\n", args...) //nolint:forbidigo // a program for a terminal
}

func newStage() (*stage, error) {
	dir, err := filepath.Abs(".demo")
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear the last demo: %w", err)
	}
	for _, sub := range []string{"logs", "archive"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, err
		}
	}
	port, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	s := &stage{dir: dir, bin: bin, address: port.Addr().String()}
	return s, errors.Join(port.Close(), s.writeConfig())
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) writeConfig() error {
	text, err := template.ParseFS(samples, "samples/auditail.toml")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path("auditail.toml"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(text.Execute(f, map[string]string{"Dir": s.dir, "Address": s.address}), f.Close())
}

// enrol makes the agent's keys and shows the public one to server and auditor.
func (s *stage) enrol(ctx context.Context) error {
	if _, err := s.output(ctx, "auditail", "keys", "init", "--config", s.path("auditail.toml")); err != nil {
		return err
	}
	key, err := s.output(ctx, "auditail", "keys", "show", "--config", s.path("auditail.toml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("trust"), []byte(key), 0o600); err != nil {
		return err
	}
	_, err = s.output(ctx, "auditail-server", "enroll", "--store", s.path("archive"),
		"--key", s.path("trust"), "--token-file", s.path("token"))
	return err
}

// play is the agent's life: killed while lines arrive and a file rotates.
func (s *stage) play(ctx context.Context, w *writer) error {
	agent, err := s.start(ctx, "auditail", "run", "--config", s.path("auditail.toml"))
	if err != nil {
		return err
	}
	if err := w.write(ctx, 12); err != nil {
		return err
	}
	say("3  kill -9 of the agent while the servers go on writing and nginx.log is rotated")
	if err := agent.kill(); err != nil {
		return err
	}
	if err := w.write(ctx, 6); err != nil {
		return err
	}
	if err := w.rotate("nginx.log"); err != nil {
		return err
	}
	if err := w.write(ctx, 6); err != nil {
		return err
	}
	say("4  the agent starts again and goes on where its last commit ended; vllm.log rotates under it")
	if agent, err = s.start(ctx, "auditail", "run", "--config", s.path("auditail.toml")); err != nil {
		return err
	}
	if err := w.write(ctx, 6); err != nil {
		return err
	}
	if err := w.rotate("vllm.log"); err != nil {
		return err
	}
	if err := w.write(ctx, 6); err != nil {
		return err
	}
	say("5  the writers end; waiting until the server has acknowledged everything")
	if err := s.awaitLines(ctx, w.total()); err != nil {
		return errors.Join(err, agent.tail())
	}
	if err := agent.stop(); err != nil {
		return err
	}
	// Requests whose end vLLM never logged are held for a while; once releases them.
	_, err = s.output(ctx, "auditail", "run", "--once", "--timeout", "30s", "--config", s.path("auditail.toml"))
	return err
}

func (s *stage) awaitServer(ctx context.Context) error {
	return await(ctx, "the server to listen", func() (bool, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return true, c.Close()
	})
}

// awaitLines waits until the archive's manifests account for all lines.
func (s *stage) awaitLines(ctx context.Context, want uint64) error {
	return await(ctx, "the server to hold every line", func() (bool, error) {
		r, err := readManifests(s.path("archive"))
		return err == nil && r.lines.Read >= want, err
	})
}

func await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

func (s *stage) verify(ctx context.Context, r *report) error {
	out, err := s.output(ctx, "auditail-verify", "archive", s.path("archive"), "--trust", s.path("trust"),
		"--expect-size", fmt.Sprint(r.batches))
	fmt.Print(indent(out)) //nolint:forbidigo // a program for a terminal
	return err
}

// tamper changes one byte of a payload in a copy of the archive and expects
// the verifier to say where.
func (s *stage) tamper(ctx context.Context, r *report) error {
	say("7  one byte is changed in a copy of the archive")
	forged := s.path("forged")
	if err := os.CopyFS(forged, os.DirFS(s.path("archive"))); err != nil {
		return err
	}
	file := filepath.Join(forged, filepath.FromSlash(r.payloads[0]))
	data, err := os.ReadFile(file) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	if err := os.Remove(file); err != nil {
		return err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	out, err := s.output(ctx, "auditail-verify", "archive", forged, "--trust", s.path("trust"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, r.payloads[0]) {
		return fmt.Errorf("the changed byte in %s was not found: %w\n%s", r.payloads[0], err, out)
	}
	fmt.Print(indent(out)) //nolint:forbidigo // a program for a terminal
	return nil
}

func (s *stage) printNext() {
	say("all as promised; look for yourself")
	here, err := filepath.Rel(filepath.Dir(s.dir), s.dir)
	if err != nil {
		here = s.dir
	}
	_, _ = io.WriteString(os.Stdout, strings.ReplaceAll(`   the archive lies in DEMO/archive; try:
   bin/auditail-verify archive DEMO/archive --trust DEMO/trust
   (cd DEMO/archive && find seals -name '*.manifest' -print0 | xargs -0 sha256sum -c 2>/dev/null)
   cat DEMO/archive/seals/*/*/000000000003.manifest
   find DEMO/archive/records -name '*.zst' | xargs zstd -dc | head -3
   bin/auditail try --parser vllm DEMO/logs/vllm.log
`, "DEMO", here))
}

func indent(text string) string {
	return "   " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n   ") + "\n"
}
