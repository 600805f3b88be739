package pushed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

// running is a feed that runs in the bubble of a test.
type running struct {
	*Feed
	stop   context.CancelFunc
	result chan error
}

func start(t *testing.T, config Config, to inputs.Appender, resume []inputs.Position) *running {
	t.Helper()
	config.Name = "test"
	f, err := Open(config, resume, to)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{Feed: f, stop: stop, result: make(chan error, 1)}
	go func() { r.result <- f.Run(ctx) }()
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Errorf("Run returned %v, want nil after its context ended", err)
	}
}

func of(lines ...string) Delivery {
	d := Delivery{}
	for _, line := range lines {
		d.Lines = append(d.Lines, Line{Path: "test", Data: []byte(line)})
	}
	return d
}

func TestRestartGoesOnFromTheCommittedCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		for round := range 3 {
			r := start(t, Config{}, to, to.Resume())
			d := of(fmt.Sprint("a", round), fmt.Sprint("b", round))
			d.Cursor = fmt.Sprint("cursor ", round)
			if err := r.Append(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if got := r.Cursor(); got != d.Cursor {
				t.Errorf("cursor is %q, want %q", got, d.Cursor)
			}
			r.end(t)
		}
		lines := to.Lines()
		for i, l := range lines {
			if l.Offset != int64(i) || l.Generation != lines[0].Generation || len(l.Generation) != 16 {
				t.Errorf("line %d has offset %d of generation %q", i, l.Offset, l.Generation)
			}
		}
		if want := []string{"a0", "b0", "a1", "b1", "a2", "b2"}; !slices.Equal(to.Data(), want) {
			t.Errorf("durable is %q, want %q", to.Data(), want)
		}
		resume := to.Resume()
		if len(resume) != 1 || string(resume[0].Token) != `{"count":6,"cursor":"cursor 2"}` {
			t.Errorf("position is %+v", resume)
		}
	})
}

func TestCallsThatWaitAreAppendedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		release := make(chan struct{})
		to.Before(func(n int, _ inputs.Chunk) error {
			if n == 1 {
				<-release
			}
			return nil
		})
		r := start(t, Config{}, to, nil)
		var callers sync.WaitGroup
		hand := func(line string) {
			callers.Go(func() {
				if err := r.Append(t.Context(), of(line)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		hand("first")
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprint("line ", i))
			hand(want[i])
		}
		if n := to.Count(); n != 0 {
			t.Errorf("%d lines are durable before the first append", n)
		}
		close(release)
		callers.Wait()
		r.end(t)
		if n := to.Appends(); n != 2 {
			t.Errorf("%d appends, want the first and one for all that waited", n)
		}
		if want = append([]string{"first"}, want...); !slices.Equal(to.Data(), want) {
			t.Errorf("durable is %q, want the order of the calls", to.Data())
		}
	})
}

func TestChunksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		release := make(chan struct{})
		var sizes []int
		to.Before(func(_ int, c inputs.Chunk) error {
			size := 0
			for i := range c.Lines {
				size += len(c.Lines[i].Data)
			}
			sizes = append(sizes, size)
			<-release
			return nil
		})
		r := start(t, Config{}, to, nil)
		var callers sync.WaitGroup
		for range 11 {
			callers.Go(func() {
				if err := r.Append(t.Context(), of(strings.Repeat("x", 300<<10))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		r.end(t)
		for _, size := range sizes {
			if size > maxChunkBytes {
				t.Errorf("a chunk holds %d bytes, want at most %d", size, maxChunkBytes)
			}
		}
		if len(sizes) > 5 {
			t.Errorf("%d chunks for 11 calls, want them grouped", len(sizes))
		}
	})
}

func TestTryAppendReturnsErrFullWhileTooMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		release := make(chan struct{})
		to.Before(func(int, inputs.Chunk) error { <-release; return nil })
		r := start(t, Config{MaxWaiting: 2000}, to, nil)
		large := strings.Repeat("x", 5000)
		var caller sync.WaitGroup
		caller.Go(func() {
			if err := r.TryAppend(t.Context(), of(large)); err != nil {
				t.Errorf("a call when nothing waits: %v", err)
			}
		})
		synctest.Wait()
		if err := r.TryAppend(t.Context(), of("small")); !errors.Is(err, ErrFull) {
			t.Errorf("TryAppend returned %v while 5000 of 2000 bytes wait, want ErrFull", err)
		}
		close(release)
		caller.Wait()
		if err := r.TryAppend(t.Context(), of("small")); err != nil {
			t.Errorf("TryAppend returned %v when nothing waits", err)
		}
		r.end(t)
		to.Same([]string{large, "small"})
	})
}

func TestAFailedAppendReachesEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the disk is broken")
		to := inputstest.NewRecorder(t)
		release := make(chan struct{})
		to.Before(func(int, inputs.Chunk) error { <-release; return broken })
		r := start(t, Config{}, to, nil)
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if err := r.Append(t.Context(), of("x")); !errors.Is(err, broken) {
					t.Errorf("Append returned %v, want the error of the appender", err)
				}
			})
			synctest.Wait()
		}
		close(release)
		callers.Wait()
		if err := <-r.result; !errors.Is(err, broken) {
			t.Errorf("Run returned %v", err)
		}
		if err := r.Append(t.Context(), of("x")); !errors.Is(err, broken) {
			t.Errorf("a later Append returned %v", err)
		}
		if n := to.Appends(); n != 1 {
			t.Errorf("%d appends, want none after the failure", n)
		}
	})
}

func TestWaitingCallsAreAnsweredWhenTheFeedStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, stuck{}, nil)
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if err := r.Append(t.Context(), of("x")); !errors.Is(err, ErrStopped) {
					t.Errorf("Append returned %v, want ErrStopped", err)
				}
			})
			synctest.Wait()
		}
		r.end(t)
		callers.Wait()
		if err := r.Append(t.Context(), of("x")); !errors.Is(err, ErrStopped) {
			t.Errorf("a later Append returned %v, want ErrStopped", err)
		}
	})
}

// stuck is an appender whose buffer is full.
type stuck struct{}

func (stuck) Append(ctx context.Context, _ inputs.Chunk) error {
	<-ctx.Done()
	return ctx.Err()
}

// Data belongs to the caller when Append returns, so a cancelled caller may
// leave only while nobody reads it.
func TestACancelledCallLeavesTheQueueButNotARunningAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		release := make(chan struct{})
		to.Before(func(int, inputs.Chunk) error { <-release; return nil })
		r := start(t, Config{}, to, nil)
		ctx, cancel := context.WithCancel(t.Context())
		inFlight, waiting := make(chan error, 1), make(chan error, 1)
		go func() { inFlight <- r.Append(ctx, of("in flight")) }()
		synctest.Wait()
		go func() { waiting <- r.Append(ctx, of("waiting")) }()
		synctest.Wait()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("the waiting call returned %v", err)
		}
		synctest.Wait()
		select {
		case err := <-inFlight:
			t.Errorf("the call in flight returned %v while its lines were read", err)
		default:
		}
		close(release)
		if err := <-inFlight; err != nil {
			t.Errorf("the call in flight returned %v", err)
		}
		if err := r.Append(ctx, of("late")); !errors.Is(err, context.Canceled) {
			t.Errorf("a call with an ended context returned %v", err)
		}
		r.end(t)
		to.Same([]string{"in flight"})
	})
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		r := start(t, Config{MaxLine: 8}, to, nil)
		long := "0123456789"
		head := Line{Path: "test", Data: []byte("head\nof more"), Cut: &inputs.Cut{Length: 99, SHA256: sha256.Sum256([]byte("99"))}}
		d := of("", "a\nb\r\nc\n", "\n", long, "cr\r", "x\n\ny")
		d.Lines = append(d.Lines, head)
		if err := r.Append(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if err := r.Append(t.Context(), Delivery{}); err != nil {
			t.Fatal(err)
		}
		r.end(t)
		if n := to.Appends(); n != 1 {
			t.Errorf("%d appends, want none for an empty delivery", n)
		}
		if want := []string{"", "a", "b", "c", "", "01234567", "cr\r", "x", "", "y", "head"}; !slices.Equal(to.Data(), want) {
			t.Errorf("durable is %q, want %q", to.Data(), want)
		}
		lines := to.Lines()
		if cut := lines[5].Cut; cut == nil || *cut != inputstest.Whole([]byte(long)) || lines[5].Size != 10 {
			t.Errorf("the over-long line is %+v, cut %+v", lines[5], cut)
		}
		if cut := lines[10].Cut; cut == nil || *cut != *head.Cut || lines[10].Size != 99 {
			t.Errorf("the head is %+v, cut %+v", lines[10], cut)
		}
	})
}

func TestHolesAreGapsBetweenRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := inputstest.NewRecorder(t)
		var chunks []inputs.Chunk
		release := make(chan struct{})
		to.Before(func(n int, c inputs.Chunk) error {
			c.Ranges, c.Gaps = slices.Clone(c.Ranges), slices.Clone(c.Gaps)
			chunks = append(chunks, c)
			<-release
			return nil
		})
		r := start(t, Config{}, to, nil)
		hole := &Hole{Path: "journal", Cause: "gone"}
		var callers sync.WaitGroup
		for _, d := range []Delivery{of("0"), of("1", "2"), {Hole: hole}, {Hole: hole}, of("3"), {Hole: hole, Lines: of("4").Lines}, {Cursor: "only"}, of("5")} {
			callers.Go(func() {
				if err := r.Append(t.Context(), d); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(release)
		callers.Wait()
		r.end(t)
		if len(chunks) != 2 {
			t.Fatalf("%d chunks, want 2", len(chunks))
		}
		g := r.generation
		want := []inputs.Range{
			{Generation: g, Unit: inputs.UnitLines, From: 1, To: 3, Lines: 2},
			{Generation: g, Unit: inputs.UnitLines, From: 3, To: 4, Lines: 1},
			{Generation: g, Unit: inputs.UnitLines, From: 4, To: 6, Lines: 2},
		}
		if !slices.Equal(chunks[1].Ranges, want) {
			t.Errorf("ranges are %+v, want %+v", chunks[1].Ranges, want)
		}
		gaps := []inputs.Gap{
			{Generation: g, Path: "journal", From: 3, To: 3, Cause: "gone"},
			{Generation: g, Path: "journal", From: 4, To: 4, Cause: "gone"},
		}
		if !slices.Equal(to.Gaps(), gaps) {
			t.Errorf("gaps are %+v, want %+v", to.Gaps(), gaps)
		}
		if r.Cursor() != "only" {
			t.Errorf("cursor is %q", r.Cursor())
		}
	})
}

func TestPositionsThatAreNotOurs(t *testing.T) {
	for name, resume := range map[string][]inputs.Position{
		"not JSON":        {{Generation: "g", Token: []byte("{")}},
		"another kind's":  {{Generation: "g", Token: []byte(`{"v":1,"offset":3}`)}},
		"negative":        {{Generation: "g", Token: []byte(`{"count":-1}`)}},
		"two values":      {{Generation: "g", Token: []byte(`{"count":1}{"count":2}`)}},
		"two generations": {{Generation: "g", Token: []byte(`{"count":1}`)}, {Generation: "h", Token: []byte(`{"count":2}`)}},
	} {
		if _, err := Open(Config{Name: "test"}, resume, stuck{}); err == nil {
			t.Errorf("%s: Open takes the position", name)
		}
	}
	f, err := Open(Config{Name: "test"}, []inputs.Position{{Generation: "old"}, {Generation: "g", Token: []byte(`{"count":7}`)}}, stuck{})
	if err != nil || f.generation != "g" || f.durable.Count != 7 {
		t.Errorf("Open returned %+v, %v", f, err)
	}
}

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		late, stop := Linger(ctx, 2*time.Second)
		defer stop()
		cancel()
		begin := time.Now()
		<-late.Done()
		if waited := time.Since(begin); waited != 2*time.Second {
			t.Errorf("ended %s after its parent, want 2s", waited)
		}

		ctx, cancel = context.WithCancel(t.Context())
		late, stop = Linger(ctx, time.Hour)
		cancel()
		synctest.Wait()
		stop()
		begin = time.Now()
		<-late.Done()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("ended %s after its cancel", waited)
		}
	})
}

// Many callers at once under a failing disk: what was answered with nil is
// durable, what was answered with an error is not.
func TestAnswersAreTrue(t *testing.T) {
	to := inputstest.NewRecorder(t)
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 40 {
			return errors.New("the disk is broken")
		}
		return nil
	})
	f, err := Open(Config{Name: "test"}, nil, to)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- f.Run(t.Context()) }()
	var mu sync.Mutex
	var acknowledged []string
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := 0; ; i++ {
				line := fmt.Sprintf("%d/%d", caller, i)
				if f.Append(t.Context(), of(line)) != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, line)
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if err := <-result; err == nil {
		t.Error("Run returned nil after a failed append")
	}
	to.Same(acknowledged)
}
