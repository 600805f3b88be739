package service

import (
	"bytes"
	"context"
	"io"
	"os"

	kardianos "github.com/kardianos/service"
)

// Run runs a program that the service manager of Windows started, and returns
// its exit code; elsewhere, and when it was started by a person, it does nothing.
// What the program writes to stderr becomes entries of the event log.
func Run(ctx context.Context, name string, main func(ctx context.Context, stderr io.Writer) int) (code int, done bool) {
	if kardianos.Interactive() {
		return 0, false
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := &supervised{ctx: ctx, stop: stop, main: main, ended: make(chan int, 1)}
	s, err := kardianos.New(work, &kardianos.Config{Name: name})
	if err != nil {
		return 1, true
	}
	if work.log, err = s.SystemLogger(nil); err != nil {
		return 1, true
	}
	if err := s.Run(); err != nil {
		return 1, true
	}
	return work.code, true
}

type supervised struct {
	ctx   context.Context //nolint:containedctx // the library calls Start and Stop without one
	stop  context.CancelFunc
	main  func(ctx context.Context, stderr io.Writer) int
	log   kardianos.Logger
	ended chan int
	code  int
}

// Start must not block.
func (s *supervised) Start(kardianos.Service) error {
	go func() {
		code := s.main(s.ctx, eventWriter{s.log})
		if s.ctx.Err() == nil {
			// It ended by itself: the manager restarts a process that ends so.
			os.Exit(max(code, 1)) //nolint:forbidigo // the library has no other way to end
		}
		s.ended <- code
	}()
	return nil
}

func (s *supervised) Stop(kardianos.Service) error {
	s.stop()
	s.code = <-s.ended
	return nil
}

// eventWriter writes each line as an entry of the event log.
type eventWriter struct{ log kardianos.Logger }

func (w eventWriter) Write(p []byte) (int, error) {
	line := string(bytes.TrimRight(p, "\r\n"))
	var err error
	switch {
	case bytes.Contains(p, []byte("level=ERROR")):
		err = w.log.Error(line)
	case bytes.Contains(p, []byte("level=WARN")):
		err = w.log.Warning(line)
	default:
		err = w.log.Info(line)
	}
	return len(p), err
}
