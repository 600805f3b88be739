package journald

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"time"
)

const (
	// Of what a child writes to stderr, so much is logged.
	maxSaid     = 300 // bytes of a line
	maxSaidMany = 20  // lines
)

// child is a running journalctl. It ends with its context, or by stop; wait or
// stop must be called once.
type child struct {
	stdout io.Reader
	cmd    *exec.Cmd
	cancel context.CancelFunc
	said   *said
}

func startChild(ctx context.Context, log *slog.Logger, program string, args []string) (*child, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &child{cancel: cancel, said: &said{log: log}, cmd: exec.CommandContext(ctx, program, args...)}
	// The environment could hold options (SYSTEMD_*), and secrets of the agent.
	c.cmd.Env = []string{"LC_ALL=C"}
	c.cmd.Dir = "/"
	c.cmd.Stderr = c.said
	c.cmd.WaitDelay = time.Second // for pipes that somebody else keeps open
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	c.stdout = stdout
	// A reader must not wait for the end of whatever else holds the pipe.
	context.AfterFunc(ctx, func() { stdout.Close() })
	return c, nil
}

// wait returns why the child ended by itself, when reading its output has
// ended with readErr.
func (c *child) wait(readErr error) error {
	if !errors.Is(readErr, io.EOF) {
		c.stop()
		return fmt.Errorf("read output of journalctl: %w", readErr)
	}
	defer c.cancel()
	err := c.cmd.Wait()
	if err == nil {
		return nil
	}
	if last := c.said.lastLine(); last != "" {
		return fmt.Errorf("journalctl: %s: %w", last, err)
	}
	return fmt.Errorf("journalctl: %w", err)
}

// stop ends the child.
func (c *child) stop() {
	c.cancel()
	_ = c.cmd.Wait() // it was killed
}

// said logs what a child writes to stderr, shortened.
type said struct {
	log *slog.Logger

	mu    sync.Mutex
	line  []byte // its first maxSaid bytes
	last  string
	lines int
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		s.line = append(s.line, part[:min(len(part), maxSaid-len(s.line))]...)
		if ended {
			s.end()
		}
		p = rest
	}
	return n, nil
}

// end logs the line that is complete.
func (s *said) end() {
	if len(s.line) == 0 {
		return
	}
	s.last = string(bytes.ToValidUTF8(s.line, []byte("?")))
	s.line = s.line[:0]
	if s.lines++; s.lines <= maxSaidMany {
		s.log.Warn("journalctl says", "text", s.last)
	}
}

func (s *said) lastLine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return s.last
}
