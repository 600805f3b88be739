package inputstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
)

// Memory says what a source still has of lines that were handed over and not
// made durable. It decides what a crash may do.
type Memory int

// The memories of sources.
const (
	// Keeps: the source can be read again, like a file: nothing is lost and
	// nothing repeated.
	Keeps Memory = iota
	// Repeats: a sender hands over again what was not acknowledged: nothing is
	// lost. A repeat after a lost answer is a new line.
	Repeats
	// Forgets: what was taken from the source is in no other place, as with a
	// pipe: what a crash finds in memory is lost, and nothing is repeated.
	Forgets
)

// Subject is one input of the kind under test with a source of its own.
type Subject struct {
	// New returns the input, as at the start of the agent. The suite calls it
	// again after a stop or a crash; the source stays the same.
	New func(t testing.TB) inputs.Input
	// Feed makes the source hold further lines, each ended by LF, and returns
	// when they are there; a source that needs a reader takes them on and
	// returns at once. It is called while an input runs, and while none does.
	Feed func(t testing.TB, lines []string)
	// Memory of the source.
	Memory Memory
}

// settle waits until an input that runs after a crash has handed over what its
// source still has.
func (s Subject) settle(t *testing.T, to *Recorder, want []string) {
	t.Helper()
	switch s.Memory {
	case Keeps:
		to.WaitLines(len(want))
	case Repeats:
		to.WaitAll(want)
	case Forgets:
		s.Feed(t, []string{lastLine})
		to.WaitAll([]string{lastLine})
	}
}

// lastLine shows that everything before it has passed.
const lastLine = "the last line"

// same checks the durable lines against what was fed, after a crash.
func (s Subject) same(t *testing.T, to *Recorder, want []string) {
	t.Helper()
	switch s.Memory {
	case Keeps:
		to.Same(want)
	case Repeats:
		lost, _ := to.compare(want)
		report(t, "lost", lost)
		to.Known(want)
	case Forgets:
		_, repeated := to.compare(append(slices.Clip(want), lastLine))
		report(t, "too often", repeated)
	}
}

// Test runs an input kind through the faults that every input must survive.
// subject returns a fresh source for each of them.
func Test(t *testing.T, subject func(t testing.TB) Subject) {
	for name, run := range map[string]func(*testing.T, Subject){
		"lines arrive once and in order":             testOrder,
		"a clean restart goes on":                    testRestart,
		"a crash at any append loses nothing":        testCrash,
		"stored but reported as failed is not twice": testUnreported,
		"a failing append stops the input":           testFailing,
		"cancel ends a blocked append":               testCancel,
		"back-pressure is passed on":                 testBackPressure,
		"hostile data passes through":                testHostile,
	} {
		t.Run(name, func(t *testing.T) { run(t, subject(t)) })
	}
}

// Running is an input that runs.
type Running struct {
	t      testing.TB
	cancel context.CancelFunc
	result chan error
}

// Start runs an input from the positions the recorder holds.
func Start(t testing.TB, in inputs.Input, to *Recorder) *Running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{t: t, cancel: cancel, result: make(chan error, 1)}
	resume := to.Resume()
	go func() { r.result <- in.Run(ctx, resume, to) }()
	t.Cleanup(cancel)
	return r
}

// Stop ends the input as a clean shutdown does.
func (r *Running) Stop() {
	r.t.Helper()
	r.cancel()
	if err := r.Result(); err != nil {
		r.t.Errorf("a cancelled input returned %v, want nil", err)
	}
}

// Kill ends the input as kill -9 does: nothing becomes durable any more.
func (r *Running) Kill(to *Recorder) {
	r.t.Helper()
	to.Kill()
	r.cancel()
	if err := r.Result(); err != nil && !errors.Is(err, ErrKilled) {
		r.t.Errorf("a killed input returned %v", err)
	}
	to.Revive()
}

// Result waits for Run to return.
func (r *Running) Result() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(time.Minute):
		r.t.Fatal("the input did not return within a minute")
		return nil
	}
}

func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %06d %s", i, strings.Repeat("x", i%50)))
	}
	return out
}

func testOrder(t *testing.T, s Subject) {
	want := numbered(0, 2000)
	s.Feed(t, want[:1000])
	to := NewRecorder(t)
	running := Start(t, s.New(t), to)
	to.WaitLines(1000)
	s.Feed(t, want[1000:])
	to.WaitLines(2000)
	running.Stop()
	to.Same(want)
	last := map[string]string{}
	for _, l := range to.Lines() {
		if l.Data <= last[l.Generation] {
			t.Fatalf("%.20q comes after %.20q", l.Data, last[l.Generation])
		}
		last[l.Generation] = l.Data
	}
}

func testRestart(t *testing.T, s Subject) {
	want := numbered(0, 900)
	to := NewRecorder(t)
	for i := range 3 {
		running := Start(t, s.New(t), to)
		s.Feed(t, want[i*300:(i+1)*300])
		to.WaitLines((i + 1) * 300)
		running.Stop()
	}
	running := Start(t, s.New(t), to)
	s.Feed(t, []string{"last"})
	to.WaitLines(901)
	running.Stop()
	to.Same(append(want, "last"))
}

// testCrash kills at the first append, then at the second, and so on, each
// time with new lines coming in.
func testCrash(t *testing.T, s Subject) {
	to := NewRecorder(t)
	var want []string
	for crash := 1; crash <= 8; crash++ {
		lines := numbered(crash*1000, crash*1000+200)
		want = append(want, lines...)
		begin := to.Appends()
		to.Before(func(n int, _ inputs.Chunk) error {
			if n >= begin+(crash+1)/2 {
				return ErrKilled
			}
			return nil
		})
		running := Start(t, s.New(t), to)
		s.Feed(t, lines[:100])
		to.Wait(200*time.Millisecond, func() bool { return to.Count() >= len(want)-100 })
		s.Feed(t, lines[100:])
		to.Wait(200*time.Millisecond, func() bool { return to.Count() >= len(want) })
		running.Kill(to)
	}
	running := Start(t, s.New(t), to)
	s.settle(t, to, want)
	running.Stop()
	s.same(t, to, want)
}

func testUnreported(t *testing.T, s Subject) {
	want := numbered(0, 500)
	s.Feed(t, want[:250])
	to := NewRecorder(t)
	to.After(func(int) error { return ErrKilled })
	running := Start(t, s.New(t), to)
	if err := running.Result(); !errors.Is(err, ErrKilled) {
		t.Fatalf("Run returned %v", err)
	}
	to.Revive()
	running = Start(t, s.New(t), to)
	s.Feed(t, want[250:])
	s.settle(t, to, want)
	running.Stop()
	s.same(t, to, want)
}

func testFailing(t *testing.T, s Subject) {
	broken := errors.New("the disk is broken")
	s.Feed(t, numbered(0, 10))
	to := NewRecorder(t)
	to.Before(func(int, inputs.Chunk) error { return broken })
	running := Start(t, s.New(t), to)
	if err := running.Result(); !errors.Is(err, broken) {
		t.Fatalf("Run returned %v, want the error of Append", err)
	}
	if to.Appends() != 1 {
		t.Errorf("Append was called %d times, want no more after the failure", to.Appends())
	}
}

// blocked is an Append that waits like a full buffer.
type blocked struct {
	*Recorder
	entered chan struct{}
}

func (b blocked) Append(ctx context.Context, _ inputs.Chunk) error {
	close(b.entered)
	<-ctx.Done()
	return ctx.Err()
}

func (b blocked) Submit(ctx context.Context, c inputs.Chunk) (wait func() error, err error) {
	return nil, b.Append(ctx, c)
}

func testCancel(t *testing.T, s Subject) {
	want := numbered(0, 100)
	s.Feed(t, want)
	to := NewRecorder(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	full := blocked{Recorder: to, entered: make(chan struct{})}
	go func() { result <- s.New(t).Run(ctx, nil, full) }()
	<-full.entered
	cancel()
	if err := <-result; err != nil {
		t.Fatalf("Run returned %v, want nil after cancel", err)
	}
	running := Start(t, s.New(t), to)
	s.settle(t, to, want)
	running.Stop()
	s.same(t, to, want)
}

func testBackPressure(t *testing.T, s Subject) {
	want := numbered(0, 3000)
	s.Feed(t, want[:1000])
	to := NewRecorder(t)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			entered <- struct{}{}
			<-release
		}
		return nil
	})
	running := Start(t, s.New(t), to)
	<-entered
	s.Feed(t, want[1000:])
	if n := to.Count(); n != 0 {
		t.Errorf("%d lines are durable while the first append waits", n)
	}
	close(release)
	to.WaitLines(len(want))
	running.Stop()
	to.Same(want)
}

func testHostile(t *testing.T, s Subject) {
	want := []string{
		"", "\x00\x00\x00", "\xff\xfe invalid \xc3\x28", "progress 1%\rprogress 2%\rdone", "\x1b[31mred\x1b[0m",
		"../../etc/passwd", "http://example.com/\x7f", strings.Repeat("long ", 40_000), "{\"a\":", "\u202e reversed", " ",
	}
	s.Feed(t, want)
	to := NewRecorder(t)
	running := Start(t, s.New(t), to)
	to.WaitLines(len(want))
	running.Stop()
	to.Same(want)
}
