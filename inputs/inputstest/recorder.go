// Package inputstest is what every kind of input is tested with: an Appender
// that holds an input to the contract of package inputs, and a suite of faults
// that [Test] runs it through.
package inputstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
)

// ErrKilled is what Append returns after Kill.
var ErrKilled = errors.New("the agent was killed")

// Line is a copy of an inputs.Line that was made durable.
type Line struct {
	Source, Path, Generation string
	Offset, Size             int64
	Data                     string
	Cut                      *inputs.Cut
	Physical                 int
	Partial                  bool
}

// Recorder is an Appender in memory. What it acknowledged stands for what is
// durable: it outlives the inputs that append to it, as a disk does. Every
// breach of the contract is an error of the test.
type Recorder struct {
	t testing.TB

	mu          sync.Mutex
	changed     chan struct{} // closed and renewed with every Append
	appends     int
	killed      bool
	refused     error // why nothing that was submitted is appended any more
	before      func(n int, c inputs.Chunk) error
	after       func(n int) error
	lines       []Line
	gaps        []inputs.Gap
	covered     map[string]int64 // generation → end of its ranges and gaps
	appending   map[string]bool  // generations in an Append that has not returned
	positions   map[string][]byte
	forgotten   map[string]bool
	discard     bool
	lineCount   int
	maxInFlight int
	inFlight    int
}

// NewRecorder returns an empty recorder.
func NewRecorder(t testing.TB) *Recorder {
	return &Recorder{
		t: t, changed: make(chan struct{}), covered: map[string]int64{}, appending: map[string]bool{},
		positions: map[string][]byte{}, forgotten: map[string]bool{},
	}
}

// Before sets what is called with the number of each Append, from 1, before
// its chunk is durable. An error is returned from Append, and the chunk is
// lost. It may block.
func (r *Recorder) Before(hook func(n int, c inputs.Chunk) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = hook
}

// After sets what is called when a chunk is durable and not yet acknowledged.
func (r *Recorder) After(hook func(n int) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = hook
}

// Kill makes every Append fail with ErrKilled until Revive: what is not
// durable now will not be.
func (r *Recorder) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
}

// Revive ends what Kill began and removes the hooks.
func (r *Recorder) Revive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed, r.refused, r.before, r.after = false, nil, nil, nil
	clear(r.appending)
}

// Append implements inputs.Appender.
func (r *Recorder) Append(ctx context.Context, c inputs.Chunk) error {
	r.mu.Lock()
	r.appends++
	n, before, after := r.appends, r.before, r.after
	if r.killed {
		r.mu.Unlock()
		return ErrKilled
	}
	generations := r.enter(c)
	r.mu.Unlock()

	err := ctx.Err()
	if err == nil && before != nil {
		err = before(n, c)
	}

	r.mu.Lock()
	if err == nil && r.killed {
		err = ErrKilled
	}
	if err == nil {
		r.store(c)
	}
	for _, generation := range generations {
		delete(r.appending, generation)
	}
	r.inFlight--
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if err == nil && after != nil {
		err = after(n)
	}
	return err
}

// Submit implements inputs.Submitter: wait appends a copy of the chunk. Behind one that
// was not appended all are refused until Revive, as by a buffer that failed.
func (r *Recorder) Submit(ctx context.Context, c inputs.Chunk) (wait func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kept := inputs.Chunk{
		Lines: slices.Clone(c.Lines), Ranges: slices.Clone(c.Ranges), Gaps: slices.Clone(c.Gaps), Positions: slices.Clone(c.Positions),
	}
	for i := range kept.Lines {
		kept.Lines[i].Data = bytes.Clone(kept.Lines[i].Data)
	}
	return func() error {
		r.mu.Lock()
		err := r.refused
		r.mu.Unlock()
		if err == nil {
			err = r.Append(context.WithoutCancel(ctx), kept) // it is on its way
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused = err
		return err
	}, nil
}

// enter notes which generations are in flight: two chunks of one must be
// appended one after the other.
func (r *Recorder) enter(c inputs.Chunk) []string {
	r.inFlight++
	r.maxInFlight = max(r.maxInFlight, r.inFlight)
	var generations []string
	for _, span := range c.Ranges {
		if !slices.Contains(generations, span.Generation) {
			generations = append(generations, span.Generation)
		}
	}
	for _, generation := range generations {
		if r.appending[generation] {
			r.t.Errorf("generation %s is appended by two calls at once", generation)
		}
		r.appending[generation] = true
	}
	return generations
}

// span is a range or a gap.
type span struct {
	from, to int64
	lines    int64 // -1: a gap
	unit     string
}

func (r *Recorder) store(c inputs.Chunk) {
	spans := map[string][]span{}
	for _, s := range c.Ranges {
		spans[s.Generation] = append(spans[s.Generation], span{s.From, s.To, s.Lines, s.Unit})
	}
	for _, g := range c.Gaps {
		spans[g.Generation] = append(spans[g.Generation], span{g.From, g.To, -1, ""})
		if g.Cause == "" || g.Path == "" {
			r.t.Errorf("gap without cause or path: %+v", g)
		}
	}
	for generation, list := range spans {
		r.join(generation, list)
	}
	r.checkLines(c, spans)
	for _, p := range c.Positions {
		if p.Token == nil {
			delete(r.positions, p.Generation)
			r.forgotten[p.Generation] = true
			continue
		}
		if r.forgotten[p.Generation] {
			r.t.Errorf("generation %s was forgotten and has a position again", p.Generation)
		}
		r.positions[p.Generation] = bytes.Clone(p.Token)
	}
	for generation, list := range spans {
		moved := slices.ContainsFunc(list, func(s span) bool { return s.to > s.from })
		if moved && !slices.ContainsFunc(c.Positions, func(p inputs.Position) bool { return p.Generation == generation }) {
			r.t.Errorf("generation %s was read and the chunk has no position of it", generation)
		}
	}
	r.gaps = append(r.gaps, c.Gaps...)
}

// join checks that spans go on where the generation ended.
func (r *Recorder) join(generation string, list []span) {
	slices.SortFunc(list, func(a, b span) int {
		if a.from != b.from {
			return int(a.from - b.from)
		}
		return int(a.to - b.to)
	})
	if r.forgotten[generation] {
		r.t.Errorf("generation %s was forgotten and is read again", generation)
	}
	for _, s := range list {
		if s.from != r.covered[generation] || s.to < s.from {
			r.t.Errorf("generation %s: [%d,%d) follows %d", generation, s.from, s.to, r.covered[generation])
		}
		r.covered[generation] = s.to
	}
}

// checkLines checks that lines fill the ranges of their chunk without holes.
// Where lines were joined others may stand between their parts: their order,
// and the sum of their sizes, is all that can be checked then.
func (r *Recorder) checkLines(c inputs.Chunk, spans map[string][]span) {
	next := map[string]int64{}
	count := map[string]int64{}
	size := map[string]int64{}
	joined := map[string]bool{}
	for i := range c.Lines {
		joined[c.Lines[i].Generation] = joined[c.Lines[i].Generation] || c.Lines[i].Physical > 1
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		list := spans[l.Generation]
		at := slices.IndexFunc(list, func(s span) bool {
			return s.lines >= 0 && s.unit == inputs.UnitBytes && l.Offset >= s.from && l.Offset+l.Size <= s.to
		})
		counted := false
		if at < 0 {
			at = slices.IndexFunc(list, func(s span) bool {
				return s.unit == inputs.UnitLines && l.Offset >= s.from && l.Offset < s.to
			})
			counted = at >= 0
		}
		if at < 0 {
			r.t.Errorf("line at %d+%d of generation %s is in no range of its chunk", l.Offset, l.Size, l.Generation)
			continue
		}
		want, seen := next[l.Generation]
		follows := !seen || want == l.Offset || list[at].from == l.Offset || joined[l.Generation] && l.Offset > want
		if !follows {
			r.t.Errorf("line at %d of generation %s follows %d", l.Offset, l.Generation, want)
		}
		switch {
		case counted:
			next[l.Generation] = l.Offset + 1
		case joined[l.Generation]:
			next[l.Generation] = l.Offset
		default:
			next[l.Generation] = l.Offset + l.Size
		}
		count[l.Generation] += int64(max(l.Physical, 1))
		size[l.Generation] += l.Size
		r.checkLine(l)
		r.lineCount++
		if !r.discard {
			r.lines = append(r.lines, Line{l.Source, l.Path, l.Generation, l.Offset, l.Size, string(l.Data), l.Cut, l.Physical, l.Partial})
		}
	}
	for generation, list := range spans {
		r.checkSums(generation, list, count[generation], size[generation])
	}
}

// checkSums checks that the lines of a generation are as many, and as long, as
// the ranges of its chunk.
func (r *Recorder) checkSums(generation string, list []span, lines, size int64) {
	ranged, length, counted := int64(0), int64(0), false
	for _, s := range list {
		if s.lines >= 0 {
			ranged += s.lines
			length += s.to - s.from
		}
		counted = counted || s.unit == inputs.UnitLines
	}
	if ranged != lines {
		r.t.Errorf("generation %s: ranges count %d lines, the chunk holds %d", generation, ranged, lines)
	}
	if length != size && !counted {
		r.t.Errorf("generation %s: ranges of %d bytes, lines of %d", generation, length, size)
	}
}

func (r *Recorder) checkLine(l *inputs.Line) {
	switch {
	case l.Source == "" || l.Path == "" || l.Generation == "":
		r.t.Errorf("line without source, path or generation: %+v", *l)
	case l.Seen.IsZero():
		r.t.Errorf("line at %d of %s without a time", l.Offset, l.Path)
	case bytes.IndexByte(l.Data, '\n') >= 0 && l.Physical <= 1:
		r.t.Errorf("line at %d of %s holds a line end", l.Offset, l.Path)
	case l.Cut != nil && l.Cut.Length <= int64(len(l.Data)):
		r.t.Errorf("line at %d of %s is cut from %d to %d bytes", l.Offset, l.Path, l.Cut.Length, len(l.Data))
	}
}

// Counting makes the recorder count lines and keep none.
func (r *Recorder) Counting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.discard = true
}

// Resume returns the committed positions, as a restart gets them.
func (r *Recorder) Resume() []inputs.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []inputs.Position
	for generation, token := range r.positions {
		out = append(out, inputs.Position{Generation: generation, Token: bytes.Clone(token)})
	}
	return out
}

// Lines returns the durable lines in the order of their commits.
func (r *Recorder) Lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// Data returns the content of the durable lines.
func (r *Recorder) Data() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, len(r.lines))
	for i := range r.lines {
		out[i] = r.lines[i].Data
	}
	return out
}

// Gaps returns the durable gaps.
func (r *Recorder) Gaps() []inputs.Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// Count returns the number of durable lines.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lineCount
}

// Appends returns how often Append was called.
func (r *Recorder) Appends() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appends
}

// MaxInFlight returns how many Appends ran at once at most.
func (r *Recorder) MaxInFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.maxInFlight
}

// Wait returns true as soon as enough holds, which it asks after every Append,
// and false when it does not within the given time. That is counted in ticks:
// a machine that stands still for longer gets the rest of it afterwards.
func (r *Recorder) Wait(within time.Duration, enough func() bool) bool {
	const ticks = 16
	ticker := time.NewTicker(max(within/ticks, time.Microsecond))
	defer ticker.Stop()
	for passed := 0; ; {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if enough() {
			return true
		}
		select {
		case <-changed:
		case <-ticker.C:
			if passed++; passed == ticks {
				return enough()
			}
		}
	}
}

// WaitLines waits until n lines are durable and fails the test when they are
// not within a minute.
func (r *Recorder) WaitLines(n int) {
	r.t.Helper()
	if !r.Wait(time.Minute, func() bool { return r.Count() >= n }) {
		r.t.Fatalf("%d of %d lines are durable after a minute", r.Count(), n)
	}
}

// WaitAll waits until each of the lines is durable, at least as often as it is
// given, and fails the test when they are not within a minute.
func (r *Recorder) WaitAll(lines []string) {
	r.t.Helper()
	var missing []string
	if !r.Wait(time.Minute, func() bool {
		if r.Count() < len(lines) {
			return false
		}
		missing, _ = r.compare(lines)
		return len(missing) == 0
	}) {
		missing, _ = r.compare(lines)
		r.t.Fatalf("%d different lines are not durable after a minute: %v …", len(missing), missing[:min(len(missing), 5)])
	}
}

// Same fails the test unless the durable lines are exactly the wanted ones,
// each as often as it is wanted, in any order.
func (r *Recorder) Same(want []string) {
	r.t.Helper()
	lost, repeated := r.compare(want)
	report(r.t, "lost", lost)
	report(r.t, "too often", repeated)
}

// Known fails the test when a line is durable that is none of the given ones.
func (r *Recorder) Known(lines []string) {
	r.t.Helper()
	known := map[string]bool{}
	for _, line := range lines {
		known[line] = true
	}
	var strange []string
	for _, line := range r.Data() {
		if !known[line] {
			strange = append(strange, fmt.Sprintf("%.80q", line))
		}
	}
	report(r.t, "that nobody fed", strange)
}

// compare returns the lines that are durable less often than they are wanted,
// and more often.
func (r *Recorder) compare(want []string) (lost, repeated []string) {
	count := map[string]int{}
	for _, line := range want {
		count[line]++
	}
	for _, line := range r.Data() {
		count[line]--
	}
	for line, n := range count {
		switch {
		case n > 0:
			lost = append(lost, fmt.Sprintf("%d× %.80q", n, line))
		case n < 0:
			repeated = append(repeated, fmt.Sprintf("%d× %.80q", -n, line))
		}
	}
	slices.Sort(lost)
	slices.Sort(repeated)
	return lost, repeated
}

func report(t testing.TB, what string, lines []string) {
	t.Helper()
	if len(lines) > 0 {
		t.Errorf("%d different lines %s: %v …", len(lines), what, lines[:min(len(lines), 5)])
	}
}

// Whole returns the Cut that a line of which only the head is kept must have.
func Whole(line []byte) inputs.Cut {
	return inputs.Cut{Length: int64(len(line)), SHA256: sha256.Sum256(line)}
}
