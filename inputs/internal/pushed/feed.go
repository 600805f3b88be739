// Package pushed is the bookkeeping of inputs whose sources have no file
// offsets: pipes, journals, requests, messages.
//
// A [Feed] counts the lines it accepts. Its generation is a random id, made at
// the first start and committed with every position; the offset of a line is
// the number of lines accepted before it. A restart goes on from the committed
// count, so that the ranges of a generation join without holes, and a line
// that was never acknowledged never had an offset.
//
// The promise: a call that returns nil handed over lines that are durable, all
// of them, in the order given, behind every line of the calls that returned
// before. A call that returns an error handed over none, with one exception
// that nobody can close: when the feed ends while lines are being made durable
// they may be durable although the answer is an error.
package pushed

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/auditail/auditail/inputs"
)

// ErrStopped is what calls get that come when the feed has ended, or wait when
// it ends, because its context did: the lines may be handed over again after
// the next start.
var ErrStopped = errors.New("the input stops")

// ErrFull is what TryAppend returns while more than Config.MaxWaiting waits to
// become durable: the buffer does not keep up. The lines may be handed over
// again later.
var ErrFull = errors.New("too much waits to become durable")

// DefaultMaxLine is the longest line handed over whole when nothing else is
// configured, in bytes.
const DefaultMaxLine = 4 << 20

const (
	defaultMaxWaiting = 8 << 20
	// One chunk takes what waits up to these; a larger call becomes several.
	maxChunkBytes = 1 << 20
	maxChunkLines = 6 << 10
	// lineCost is what a line takes beside its bytes.
	lineCost = 160
)

// Config says how a feed is called and bounded.
type Config struct {
	// Name of the input; it becomes Line.Source.
	Name string
	// MaxLine is the most bytes of one line handed over; 0 is DefaultMaxLine.
	MaxLine int64
	// MaxWaiting bounds, in bytes, what may wait when TryAppend is called; 0 is
	// 8 MiB. One call is always let in when nothing waits.
	MaxWaiting int64
	// Memory is claimed for each chunk; nil: the callers of Append hold a claim
	// for what they hand over and the records made from it.
	Memory *inputs.Memory
	// Now stamps lines that carry no time of their own; nil is time.Now.
	Now func() time.Time
}

// Line is what a source hands over. Data that holds line ends becomes as many
// lines. The feed does not keep Data beyond the call.
type Line struct {
	// Path tells people where the line came from. It names the kind of a
	// connection, a unit, a configured path: nothing that a sender chose.
	Path string
	Data []byte
	// Cut is set when Data is only the head of what the source handed over.
	// Such a head is one line and ends before its first line end.
	Cut *inputs.Cut
	// Seen is when it was read; the zero time stands for now.
	Seen time.Time
	// Written is when the source took it, for one that keeps lines; zero: a
	// moment before it was read.
	Written time.Time
}

// Delivery is what one call makes durable.
type Delivery struct {
	Lines []Line
	// Cursor is where the source itself goes on behind these lines, for sources
	// that can be read again. It is committed with them; empty leaves the old one.
	Cursor string
	// Hole, when set, becomes a gap before the first of Lines.
	Hole *Hole
}

// Hole is what a source lost before it could be read. How many lines that were
// is not known.
type Hole struct {
	Path  string // as of Line
	Cause string // as of inputs.Gap
}

// Feed makes one chunk after the other out of what its callers hand over.
// Append and TryAppend are safe for concurrent use.
type Feed struct {
	config     Config
	to         inputs.Appender
	generation string
	chunk      inputs.Chunk // of the running append

	mu      sync.Mutex
	durable token
	queue   []*call
	waiting int64 // cost of the queue and of the running append
	ended   error
	wake    chan struct{} // holds one token when the queue is not empty
}

// call is one Append on its way.
type call struct {
	delivery Delivery
	lines    []inputs.Line // without offsets
	cost     int64
	done     chan error // gets one value
}

// Open returns the feed of an input that goes on from its committed position,
// or begins with a new generation. Nothing is appended before Run.
func Open(config Config, resume []inputs.Position, to inputs.Appender) (*Feed, error) {
	if config.MaxLine == 0 {
		config.MaxLine = DefaultMaxLine
	}
	if config.MaxWaiting == 0 {
		config.MaxWaiting = defaultMaxWaiting
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	f := &Feed{config: config, to: to, wake: make(chan struct{}, 1)}
	for _, at := range resume {
		if at.Token == nil {
			continue
		}
		if f.generation != "" {
			return nil, fmt.Errorf("resume: two generations, %s and %s, where there can be one", f.generation, at.Generation)
		}
		t, err := decodeToken(at.Token)
		if err != nil {
			return nil, fmt.Errorf("read position of generation %s: %w", at.Generation, err)
		}
		f.generation, f.durable = at.Generation, t
	}
	if f.generation == "" {
		var id [8]byte
		rand.Read(id[:]) // never fails
		f.generation = hex.EncodeToString(id[:])
	}
	return f, nil
}

// Cursor returns the newest committed cursor, empty when there is none.
func (f *Feed) Cursor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable.Cursor
}

// Append returns nil when the delivery is durable. It waits as long as the
// buffer is full. When ctx ends it returns the error of ctx, but not while the
// lines are being made durable: then it waits for the outcome. After a failed
// append of the input's lines it returns that error, as Run does. A delivery that
// is larger than a chunk and has no cursor becomes several: a crash in between may
// leave the first of them durable without an answer.
func (f *Feed) Append(ctx context.Context, d Delivery) error {
	return f.hand(ctx, d, false)
}

// TryAppend is Append for callers that can tell their sender to come again:
// instead of joining a long queue it returns ErrFull.
func (f *Feed) TryAppend(ctx context.Context, d Delivery) error {
	return f.hand(ctx, d, true)
}

func (f *Feed) hand(ctx context.Context, d Delivery, try bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(d.Lines) == 0 && d.Cursor == "" && d.Hole == nil {
		return nil
	}
	c := f.prepare(d)
	f.mu.Lock()
	switch {
	case f.ended != nil:
		f.mu.Unlock()
		return f.ended
	case try && f.waiting > 0 && f.waiting+c.cost > f.config.MaxWaiting:
		f.mu.Unlock()
		return ErrFull
	}
	f.queue = append(f.queue, c)
	f.waiting += c.cost
	f.signal()
	f.mu.Unlock()

	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	if f.withdraw(c) {
		return ctx.Err()
	}
	return <-c.done
}

// prepare makes the lines of a call, in the caller's goroutine.
func (f *Feed) prepare(d Delivery) *call {
	c := &call{delivery: d, lines: make([]inputs.Line, 0, len(d.Lines)), done: make(chan error, 1), cost: lineCost}
	var now time.Time
	for i := range d.Lines {
		l := &d.Lines[i]
		seen := l.Seen
		if seen.IsZero() {
			if now.IsZero() {
				now = f.config.Now()
			}
			seen = now
		}
		for data, more := l.Data, true; more; {
			line := inputs.Line{Source: f.config.Name, Path: l.Path, Generation: f.generation, Seen: seen, NotBefore: seen}
			if !l.Written.IsZero() {
				line.NotBefore = l.Written
			}
			line.Data, data, more = nextLine(data)
			if l.Cut != nil {
				cut := *l.Cut
				line.Cut, more = &cut, false
			}
			f.limit(&line)
			c.cost += lineCost + int64(len(line.Data))
			c.lines = append(c.lines, line)
		}
	}
	return c
}

// nextLine divides data behind its first line end. A line end at the very end
// is no further line.
func nextLine(data []byte) (line, rest []byte, more bool) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return data, nil, false
	}
	line, rest = data[:end], data[end+1:]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	return line, rest, len(rest) > 0
}

// limit keeps the head of an over-long line and sets its size.
func (f *Feed) limit(line *inputs.Line) {
	whole := int64(len(line.Data))
	if line.Cut != nil {
		whole = line.Cut.Length
	}
	line.Size = whole
	if int64(len(line.Data)) <= f.config.MaxLine {
		return
	}
	if line.Cut == nil {
		line.Cut = &inputs.Cut{Length: whole, SHA256: sha256.Sum256(line.Data)}
	}
	line.Data = line.Data[:f.config.MaxLine]
}

func (f *Feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// withdraw takes back a call that is still in the queue.
func (f *Feed) withdraw(c *call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.Index(f.queue, c)
	if at < 0 {
		return false
	}
	f.queue = slices.Delete(f.queue, at, at+1)
	f.waiting -= c.cost
	return true
}

// Run makes durable what is handed over until ctx ends, and then returns nil,
// or returns the error of a failed append. Afterwards every call fails. It may
// be called once.
func (f *Feed) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			f.end(ErrStopped)
			return nil
		case <-f.wake:
		}
		room, err := f.room(ctx)
		if err != nil {
			continue // ctx has ended
		}
		group := f.take()
		if len(group) > 0 { // else it was withdrawn
			err = f.commitAll(ctx, group)
		}
		room()
		stopped := err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
		if stopped {
			err = ErrStopped
		}
		for _, c := range group {
			c.done <- err
		}
		switch {
		case stopped:
			f.end(err)
			return nil
		case err != nil:
			f.end(err)
			return err
		}
	}
}

// room waits for the memory of one chunk and returns what gives it back.
func (f *Feed) room(ctx context.Context) (done func(), err error) {
	if f.config.Memory == nil {
		return func() {}, nil
	}
	claim, err := f.config.Memory.Take(ctx, inputs.ChunkCost)
	if err != nil {
		return nil, err
	}
	return claim.Release, nil
}

// commitAll appends a group as one chunk, and a call that is larger than a chunk
// as several: the answer is for all of it. A delivery with a cursor is never
// divided, because its source would be read again from the cursor before.
func (f *Feed) commitAll(ctx context.Context, group []*call) error {
	if len(group) > 1 || group[0].delivery.Cursor != "" {
		return f.commit(ctx, group)
	}
	for whole := *group[0]; ; {
		part := whole.split()
		if err := f.commit(ctx, []*call{part}); err != nil || len(whole.lines) == 0 {
			return err
		}
	}
}

// split takes the lines of one chunk off the front of a call.
func (c *call) split() *call {
	n, cost := 0, int64(0)
	for n < len(c.lines) && n < maxChunkLines && (n == 0 || cost < maxChunkBytes) {
		cost += lineCost + int64(len(c.lines[n].Data))
		n++
	}
	part := *c
	part.lines = c.lines[:n]
	c.lines, c.delivery.Hole = c.lines[n:], nil
	if len(c.lines) > 0 {
		part.cost = cost
		c.cost -= cost
	}
	return &part
}

// take removes what fits one chunk from the queue, at least one call.
func (f *Feed) take() []*call {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, cost, lines := 0, int64(0), 0
	for _, c := range f.queue {
		cost += c.cost
		lines += len(c.lines)
		if n > 0 && (cost > maxChunkBytes || lines > maxChunkLines) {
			break
		}
		n++
	}
	group := slices.Clone(f.queue[:n])
	f.queue = slices.Delete(f.queue, 0, n)
	if len(f.queue) > 0 {
		f.signal()
	}
	return group
}

// commit appends one chunk of the group's lines, and counts them when they are
// durable.
func (f *Feed) commit(ctx context.Context, group []*call) error {
	c := &f.chunk
	c.Lines, c.Ranges, c.Gaps, c.Positions = c.Lines[:0], c.Ranges[:0], c.Gaps[:0], c.Positions[:0]
	at, cost := f.durable, int64(0)
	joins := false // the next line goes into the last range
	for _, one := range group {
		cost += one.cost
		// A second hole of the same cause in the same place says nothing new.
		if hole := one.delivery.Hole; hole != nil && hole.Cause != at.Gap {
			c.Gaps = append(c.Gaps, inputs.Gap{Generation: f.generation, Path: hole.Path, From: at.Count, To: at.Count, Cause: hole.Cause})
			at.Gap, joins = hole.Cause, false
		}
		if len(one.lines) > 0 {
			at.Gap = ""
			if !joins {
				c.Ranges = append(c.Ranges, inputs.Range{Generation: f.generation, Unit: inputs.UnitLines, From: at.Count})
				joins = true
			}
		}
		for _, line := range one.lines {
			line.Offset = at.Count
			at.Count++
			c.Lines = append(c.Lines, line)
		}
		if joins {
			last := &c.Ranges[len(c.Ranges)-1]
			last.To, last.Lines = at.Count, at.Count-last.From
		}
		if one.delivery.Cursor != "" {
			at.Cursor = one.delivery.Cursor
		}
	}
	token, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("encode position: %w", err)
	}
	c.Positions = append(c.Positions, inputs.Position{Generation: f.generation, Token: token})
	err = f.to.Append(ctx, *c)
	clear(c.Lines) // their data is the callers' again
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting -= cost
	if err != nil {
		return err
	}
	f.durable = at
	return nil
}

// end answers everything that waits, and all that comes.
func (f *Feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = err
	for _, c := range f.queue {
		c.done <- err
	}
	f.queue, f.waiting = nil, 0
}

// token is a position as it is committed.
type token struct {
	Count  int64  `json:"count"` // of the lines accepted
	Cursor string `json:"cursor,omitempty"`
	Gap    string `json:"gap,omitempty"` // cause of the gap that stands behind the last line
}

func decodeToken(data []byte) (token, error) {
	var t token
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&t); err != nil {
		return token{}, fmt.Errorf("decode token: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return token{}, errors.New("decode token: more than one value")
	}
	if t.Count < 0 {
		return token{}, fmt.Errorf("decode token: count is %d", t.Count)
	}
	return t, nil
}

// Linger returns a context that ends when grace has passed since ctx ended, or
// with the returned function: an input that can not read again what it has
// taken runs its feed under it, to make that durable before it stops.
func Linger(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() {
		stop()
		cancel()
	}
}
