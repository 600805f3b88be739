package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// program is one of ours in the background.
type program struct {
	command *exec.Cmd
	log     lockedBuffer
	ended   chan struct{} // closed when the process is gone
	err     error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *stage) start(ctx context.Context, name string, args ...string) (*program, error) {
	p := &program{command: exec.CommandContext(ctx, filepath.Join(s.bin, name), args...), ended: make(chan struct{})} //nolint:gosec // our own programs
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	s.running = append(s.running, p)
	return p, nil
}

// kill ends the process as a power cut would, and waits for it.
func (p *program) kill() error {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// stop asks for a clean end.
func (p *program) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(fmt.Errorf("stop: %w", err), p.tail())
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		return errors.Join(errors.New("the agent did not stop"), p.tail())
	}
	if p.err != nil {
		return errors.Join(fmt.Errorf("the agent ended with: %w", p.err), p.tail())
	}
	return nil
}

// tail returns what the program logged as an error to be shown.
func (p *program) tail() error { return fmt.Errorf("its log:\n%s", indent(p.log.String())) }

func (s *stage) killAll() error {
	var all []error
	for _, p := range s.running {
		all = append(all, p.kill())
	}
	return errors.Join(all...)
}

// output runs one of our programs to its end and returns what it printed.
func (s *stage) output(ctx context.Context, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // our own programs
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String() + stderr.String(), fmt.Errorf("%s %s: %w\n%s", name, args[0], err, indent(stderr.String()))
	}
	return stdout.String(), nil
}
