// Package pipe reads lines from a named pipe.
//
// A pipe gives every byte once. What the agent has taken from it and not made
// durable is in no other place, so the promise is narrower than that of a
// file: nothing is repeated or reordered, back-pressure reaches the writer,
// and a clean stop makes durable what was taken. What a crash or a power cut
// finds in the agent's memory is lost, and nobody knows how much that was: at
// most what one read brought (64 KiB, or one line up to MaxLine), because the
// pipe is not read again before that is durable. Whoever can should write a
// file.
//
// The pipe is read here and not through github.com/nxadm/tail (v1.4.11 looked
// at), because in its pipe mode a line is collected whole before MaxLineSize
// divides it (a line of 256 MiB took 857 MB), Stop waits for a writer to come
// when none is there, and the first writer that closes the pipe ends it with
// "illegal seek".
package pipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/pushed"
)

// limits are the waits and sizes that no user needs to know.
type limits struct {
	linger  time.Duration // after a stop, for making durable what was taken
	retry   time.Duration // until a pipe that can not be opened is tried again
	firstly time.Duration // between two looks for a writer, when one has just left
	idle    time.Duration // the same, when there was none for long
	look    time.Duration // between two looks whether the path is another pipe now
	drain   int64         // bytes taken after a stop, about: what a pipe can hold
}

func defaultLimits() limits {
	return limits{
		linger: 2 * time.Second, retry: time.Second, firstly: 5 * time.Millisecond, idle: 250 * time.Millisecond,
		look: 5 * time.Second, drain: 1 << 20,
	}
}

// Input reads one named pipe. Run may be called once at a time.
type Input struct {
	config Config
	deps   Deps
	limits limits
}

var _ inputs.Input = (*Input)(nil)

// New checks the configuration. It does not open the pipe.
func New(config Config, deps Deps) (*Input, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.MaxLine == 0 {
		config.MaxLine = DefaultMaxLine
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Memory == nil {
		deps.Memory = inputs.NewMemory(config.MaxLine)
	}
	return &Input{config: config, deps: deps, limits: defaultLimits()}, nil
}

// Run implements inputs.Input.
func (in *Input) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	feed, err := pushed.Open(pushed.Config{Name: in.config.Name, MaxLine: in.config.MaxLine, Memory: in.deps.Memory, Now: in.deps.Now}, resume, to)
	if err != nil {
		return err
	}
	late, stop := pushed.Linger(ctx, in.limits.linger)
	defer stop()
	fed := make(chan error, 1)
	go func() { fed <- feed.Run(late) }()
	r := &reader{
		config: &in.config, limits: in.limits, log: in.deps.Logger.With("input", in.config.Name, "path", in.config.Path),
		feed: feed, framer: pushed.NewFramer(in.config.MaxLine), late: late,
	}
	err = r.run(ctx)
	stop()
	// An append fails in a call of the reader, which names the lines.
	return cmp.Or(err, <-fed)
}

// reader takes lines from the pipe. There is one a Run, and one goroutine in it.
type reader struct {
	config *Config
	limits limits
	log    *slog.Logger
	feed   *pushed.Feed
	framer *pushed.Framer
	late   context.Context // of the appends: ends some time after the stop
	batch  []pushed.Line
	said   string // the last complaint, not to be repeated
}

// run opens the pipe again and again until ctx ends.
func (r *reader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		file, err := openPipe(r.config.Path)
		if err != nil {
			r.complain(ctx, err)
			wait(ctx, r.limits.retry)
			continue
		}
		err = r.follow(ctx, file)
		file.Close() // nothing was written to it
		if errors.Is(err, pushed.ErrStopped) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow reads the pipe until ctx ends or another pipe has taken its place. It
// returns errors that end the input, and ErrStopped.
func (r *reader) follow(ctx context.Context, file *os.File) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = file.SetReadDeadline(time.Unix(1, 0)) // a closed file needs no waking
	})
	defer stop()
	quiet, told := r.limits.firstly, false
	for {
		if err := file.SetReadDeadline(time.Now().Add(r.limits.look)); err != nil {
			return fmt.Errorf("read pipe %s: %w", r.config.Path, err)
		}
		if ctx.Err() != nil {
			<-woken
			return r.drain(file)
		}
		readErr := r.framer.Fill(file)
		if err := r.hand(false); err != nil {
			return err
		}
		switch {
		case readErr == nil:
			quiet, r.said = r.limits.firstly, ""
		case errors.Is(readErr, io.EOF):
			// No writer has it open: an unterminated line will not be finished.
			if err := r.hand(true); err != nil {
				return err
			}
			if r.replaced(file) {
				return nil
			}
			wait(ctx, quiet)
			quiet = min(2*quiet, r.limits.idle)
		case errors.Is(readErr, os.ErrDeadlineExceeded):
			if ctx.Err() == nil && !told && r.replaced(file) {
				told = true
				r.log.WarnContext(ctx, "another pipe has taken the place of this one, which a writer still has open; "+
					"the new one is read when the writer closes the old one")
			}
		default:
			r.complain(ctx, readErr)
			wait(ctx, r.limits.retry)
			return r.hand(true)
		}
	}
}

// drain takes what is in the pipe when the agent stops, as it would be gone
// with the last descriptor.
func (r *reader) drain(file *os.File) error {
	for taken := int64(0); taken < r.limits.drain && r.late.Err() == nil; {
		// The first read that would have to wait ends it.
		if err := file.SetReadDeadline(time.Now().Add(r.limits.firstly)); err != nil {
			break
		}
		counted := &countingReader{from: file}
		err := r.framer.Fill(counted)
		taken += counted.n
		if err != nil {
			break
		}
		if err := r.hand(false); err != nil {
			return err
		}
	}
	return r.hand(true)
}

type countingReader struct {
	from io.Reader
	n    int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// hand makes durable the lines that are whole, and with over what stands
// behind them. It returns ErrStopped when that was not possible before the end.
func (r *reader) hand(over bool) error {
	r.batch = r.batch[:0]
	add := func(data []byte, cut *inputs.Cut) {
		r.batch = append(r.batch, pushed.Line{Path: r.config.Path, Data: data, Cut: cut})
	}
	for {
		data, cut, ok := r.framer.Next()
		if !ok {
			break
		}
		add(data, cut)
	}
	if over {
		if data, cut, ok := r.framer.Rest(); ok {
			add(data, cut)
		}
	}
	if len(r.batch) == 0 {
		return nil
	}
	err := r.feed.Append(r.late, pushed.Delivery{Lines: r.batch})
	if err == nil {
		return nil
	}
	if errors.Is(err, pushed.ErrStopped) || errors.Is(err, context.Canceled) {
		r.log.ErrorContext(r.late, "the agent stops while the buffer is full: lines taken from the pipe are lost", "lines", len(r.batch))
		return pushed.ErrStopped
	}
	return fmt.Errorf("append %d lines taken from pipe %s: %w", len(r.batch), r.config.Path, err)
}

// replaced tells whether the path is another pipe than the open one. A path
// that is gone is not another one: it may come back.
func (r *reader) replaced(file *os.File) bool {
	now, err := os.Stat(r.config.Path)
	if err != nil {
		return false
	}
	open, err := file.Stat()
	return err == nil && !os.SameFile(now, open)
}

// complain logs why the pipe can not be read, and not again while it is the same.
func (r *reader) complain(ctx context.Context, err error) {
	if text := err.Error(); text != r.said {
		r.said = text
		r.log.ErrorContext(ctx, "the pipe can not be read; trying again", "error", err)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
