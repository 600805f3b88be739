// Package selflog is what stands between the agent's logger and its journal.
//
// It keeps two promises: a fault that repeats itself does not flood the journal,
// and how often it did is said; and the newest lines are kept in memory, within a
// bound, for whoever asks what happened (auditail diagnose).
package selflog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A message may be written Burst times in each Period; what comes beyond is
// counted, and the next one that is written says how many were left out.
const (
	Burst  = 10
	Period = time.Minute
)

// Limits of memory.
const (
	maxMessages = 1000      // messages that are counted at a time
	maxKept     = 256 << 10 // bytes of the newest lines
)

// Log makes handlers and keeps their newest lines. Safe for concurrent use.
type Log struct {
	now func() time.Time

	mu     sync.Mutex
	counts map[string]*count
	kept   [][]byte // lines of JSON, oldest first
	bytes  int
}

type count struct {
	since   time.Time
	written int
	left    int
}

// New returns an empty log.
func New(now func() time.Time) *Log { return &Log{now: now, counts: map[string]*count{}} }

// Handler limits what reaches next.
func (l *Log) Handler(next slog.Handler) slog.Handler {
	return &handler{log: l, next: next, keep: slog.NewJSONHandler(keeper{l}, &slog.HandlerOptions{Level: slog.LevelDebug})}
}

// Newest returns the newest lines, one JSON object each.
func (l *Log) Newest() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Join(l.kept, nil)
}

// admit tells whether a message may be written now, and how many like it were left
// out before.
func (l *Log) admit(message string) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	c := l.counts[message]
	if c == nil {
		l.forget(now)
		c = &count{since: now}
		l.counts[message] = c
	}
	if now.Sub(c.since) >= Period || now.Before(c.since) {
		c.since, c.written = now, 0
	}
	if c.written == Burst {
		c.left++
		return 0, false
	}
	c.written++
	left, c.left = c.left, 0
	return left, true
}

// forget makes room: messages are constants of the code, so that there is need for
// it only when one is not.
func (l *Log) forget(now time.Time) {
	if len(l.counts) < maxMessages {
		return
	}
	for message, c := range l.counts {
		if now.Sub(c.since) >= Period {
			delete(l.counts, message)
		}
	}
	if len(l.counts) >= maxMessages {
		clear(l.counts)
	}
}

// keeper takes the lines of a JSONHandler, which writes each with one call.
type keeper struct{ log *Log }

func (k keeper) Write(line []byte) (int, error) {
	l := k.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) > maxKept {
		return len(line), nil
	}
	l.kept = append(l.kept, bytes.Clone(line))
	l.bytes += len(line)
	for l.bytes > maxKept {
		l.bytes -= len(l.kept[0])
		l.kept = l.kept[1:]
	}
	return len(line), nil
}

type handler struct {
	log   *Log
	next  slog.Handler
	keep  slog.Handler
	scope string // of loggers made with With: two outputs that fail do not silence each other
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	left, ok := h.log.admit(h.scope + r.Level.String() + r.Message)
	if !ok {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	return errors.Join(h.next.Handle(ctx, r), h.keep.Handle(ctx, r))
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	scope := []byte(h.scope)
	for _, a := range attrs {
		scope = append(append(scope, a.String()...), 0)
	}
	return &handler{log: h.log, next: h.next.WithAttrs(attrs), keep: h.keep.WithAttrs(attrs), scope: string(scope)}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{log: h.log, next: h.next.WithGroup(name), keep: h.keep.WithGroup(name), scope: h.scope}
}
