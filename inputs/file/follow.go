package file

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/framing"
	"github.com/auditail/auditail/internal/memory"
)

// follower is the state of one Run or Scan. One goroutine owns all of it; two
// others sit in Submit and in what it returned, so that rotation is noticed and new
// files are opened while the buffer makes the input wait.
type follower struct {
	in     *Input
	config *Config
	limits limits
	log    *slog.Logger
	now    func() time.Time
	to     inputs.Appender
	scan   bool

	patterns    []pattern
	rotated     []pattern
	generations []*generation // oldest first
	byIdent     map[fileID]*generation
	byName      map[string]*generation   // by names that events may carry
	byRoot      map[string][]*generation // by the last component of their real path, and by what it may have been before
	byBase      map[string][]*generation // attached ones by the last component of their real path
	deleted     map[string][]*generation // those without a file, by the last component of their path; of one look
	suspects    map[fileID]suspect
	copies      map[fileID]int64    // compressed files that hold what is read elsewhere, and when they changed
	noted       map[string]struct{} // conditions that were logged
	succeeded   []succession        // rotations whose successors are to be admitted
	failures    map[string]failure  // by path
	hot         []*generation       // polled
	queue       []*generation       // with something to read
	open        int                 // descriptors held

	round     uint64
	fresh     bool // nothing was ever committed: start = "end" applies
	lookDue   bool
	looked    time.Time             // when the directories were listed last
	lookTook  time.Duration         // how long that took
	dirs      map[string]watchedDir // as they were then
	resting   bool                  // until something stirs, glances and rare looks will do
	glanced   time.Time             // when the directories were glanced at last
	unsettled bool                  // the last look met something that is to be tried again
	polled    time.Time

	watch    *watcher
	chunk    inputs.Chunk // being gathered
	spare    inputs.Chunk // handed over; else memory for the next one
	touched  []*generation
	memory   *inputs.Memory
	claim    *memory.Claim   // of the chunk being gathered; nil: none is asked for
	long     bool            // the claim is, or is to be, for a line that does not fit into an ordinary chunk
	buffer   []byte          // lines of the chunk being gathered or handed over
	framer   *framing.Framer // nil: physical lines are handed over as they are
	handed   bool            // the last chunk was handed over, and its memory is not back
	onWay    []*memory.Claim // of the chunks that are not durable, oldest first; nil for one that needs none
	work     chan inputs.Chunk
	accepted chan error // Submit has returned
	durable  chan error // Append would have
	scratch  [sampleSize]byte
	seen     time.Time // when the lines being framed were read
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) error {
	defer f.release()
	f.watch = newWatcher(ctx, f.log, f.in.events, f.config.openEarly)
	defer f.watch.close()
	stop := f.startAppending(ctx)
	defer stop()

	f.look(ctx)
	timer := time.NewTimer(f.limits.poll)
	defer timer.Stop()
	for ctx.Err() == nil {
		f.pollIfDue(ctx)
		if f.mayGather() && f.hasRoom() {
			f.gather(ctx)
			if err := f.ship(ctx); err != nil {
				return err
			}
		}
		timer.Reset(f.pause())
		select {
		case <-ctx.Done():
		case err := <-f.accepted:
			if err := f.submitted(ctx, err); err != nil {
				return err
			}
		case err := <-f.durable:
			if err := f.appended(ctx, err); err != nil {
				return err
			}
		case <-f.awaitedRoom(): // the loop gathers
		case <-f.watch.C:
			f.takeHints(ctx)
		case <-timer.C:
		}
		f.lookIfDue(ctx)
	}
	return nil
}

// scanOnce reads what is there now and returns.
func (f *follower) scanOnce(ctx context.Context) error {
	defer f.release()
	stop := f.startAppending(ctx)
	defer stop()
	f.look(ctx)
	for _, g := range f.generations {
		if g.missing.IsZero() {
			g.limit, g.flush = g.size, true
			f.enqueue(g)
		}
	}
	for ctx.Err() == nil {
		if f.mayGather() && f.hasRoom() {
			f.gather(ctx)
			if err := f.ship(ctx); err != nil {
				return err
			}
			if len(f.onWay) == 0 && f.awaitedRoom() == nil {
				if len(f.queue) > 0 {
					continue // a line that is being measured, or that waits for its memory
				}
				return f.failed()
			}
		}
		select {
		case err := <-f.accepted:
			if err := f.submitted(ctx, err); err != nil {
				return err
			}
		case err := <-f.durable:
			if err := f.appended(ctx, err); err != nil {
				return err
			}
		case <-f.awaitedRoom(): // the loop gathers
		case <-ctx.Done():
		}
	}
	return nil
}

// startAppending starts the goroutines that sit in Submit, and in what it
// returned. The returned function ends them.
func (f *follower) startAppending(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	waits := make(chan func() error, mostOnWay)
	var running sync.WaitGroup
	answer := func(to chan<- error, err error) {
		select {
		case to <- err:
		case <-ctx.Done():
		}
	}
	running.Go(func() {
		defer close(waits)
		for {
			select {
			case chunk := <-f.work:
				wait, err := f.submit(ctx, chunk)
				if err == nil {
					waits <- wait // has room: see mayGather
				}
				answer(f.accepted, err)
			case <-ctx.Done():
				return
			}
		}
	})
	running.Go(func() {
		for wait := range waits {
			answer(f.durable, wait())
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

func (f *follower) submit(ctx context.Context, c inputs.Chunk) (wait func() error, err error) {
	if to, ok := f.to.(inputs.Submitter); ok {
		return to.Submit(ctx, c)
	}
	return func() error { return nil }, f.to.Append(ctx, c)
}

const (
	// mostOnWay is how many chunks are on their way at once: while one is hashed,
	// compressed and written, the next one is read and parsed. With three the memory
	// that the garbage collector is to keep within costs more than they win.
	mostOnWay = 2
	// aheadFrom is how much there is to read for a chunk to be begun before the last
	// one is durable. Less is waited for: few large commits cost less than many.
	aheadFrom = 256 << 10
)

// mayGather tells whether a chunk may be gathered now.
func (f *follower) mayGather() bool {
	if f.handed || len(f.onWay) == 0 {
		return !f.handed
	}
	return len(f.onWay) < mostOnWay && f.in.unread.Load() >= aheadFrom
}

// ship hands the gathered chunk to Append, unless it is empty.
func (f *follower) ship(ctx context.Context) error {
	for _, g := range f.touched {
		g.touched = false
		if g.ended {
			continue
		}
		token, err := g.token()
		if err != nil {
			return fmt.Errorf("encode position of %s: %w", g.path, err)
		}
		g.committed = true
		f.chunk.Positions = append(f.chunk.Positions, inputs.Position{Generation: g.id, Token: token})
	}
	f.touched = f.touched[:0]
	c := &f.chunk
	if len(c.Lines) == 0 && len(c.Ranges) == 0 && len(c.Gaps) == 0 && len(c.Positions) == 0 {
		if f.claim != nil {
			f.long = false // the line that it was for is not there any more
		}
		f.giveBack()
		return nil
	}
	select {
	case f.work <- f.chunk:
		f.handed, f.long = true, false
		f.spare, f.chunk = f.chunk, f.spare
		f.onWay = append(f.onWay, f.claim)
		f.claim = nil
	case <-ctx.Done():
	}
	return nil
}

// submitted takes the answer of Submit: the memory of the chunk is back.
func (f *follower) submitted(ctx context.Context, err error) error {
	f.handed = false
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("append lines of input %s: %w", f.config.Name, err)
	}
	f.recycle(f.spare.Lines)
	clear(f.spare.Positions)
	f.spare = inputs.Chunk{Ranges: f.spare.Ranges[:0], Gaps: f.spare.Gaps[:0], Positions: f.spare.Positions[:0]}
	return nil
}

// appended takes what Append would have answered, for the oldest chunk on its way.
func (f *follower) appended(ctx context.Context, err error) error {
	claim := f.onWay[0]
	f.onWay = slices.Delete(f.onWay, 0, 1)
	if claim != nil {
		claim.Release()
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("append lines of input %s: %w", f.config.Name, err)
	}
	return nil
}

// pause is how long nothing needs to be done.
func (f *follower) pause() time.Duration {
	if len(f.queue) > 0 && f.mayGather() && f.awaitedRoom() == nil {
		return 0
	}
	if len(f.hot) > 0 {
		return max(f.limits.poll-f.now().Sub(f.polled), 0)
	}
	next := f.nextLook()
	if glance := f.glanced.Add(f.limits.list); f.resting && !f.lookDue && glance.Before(next) {
		next = glance
	}
	return max(next.Sub(f.now()), 0)
}

// nextLook is when the directories are listed next: soon after an event, and
// now and then without one, but never so often that listing many files is all
// that is done.
func (f *follower) nextLook() time.Time {
	wait := max(f.limits.list, f.lookTook*f.limits.listShare)
	switch {
	case f.lookDue:
		wait = max(f.limits.poll, f.lookTook*4)
	case f.resting:
		wait = max(f.limits.rest, wait)
	}
	return f.looked.Add(wait)
}

func (f *follower) lookIfDue(ctx context.Context) {
	now := f.now()
	if f.resting && !f.lookDue && now.Sub(f.glanced) >= f.limits.list {
		f.glance(now)
	}
	if !now.Before(f.nextLook()) {
		f.look(ctx)
	}
}

// takeHints polls when one of the files that were written to was not polled until now.
// Of the others it is known that they are written to: their turn comes with the timer,
// and every poll makes a chunk, which costs more than the lines in it.
func (f *follower) takeHints(ctx context.Context) {
	warm := len(f.hot)
	look, all := f.watch.take(func(name string) {
		if g := f.byName[name]; g != nil && !g.ended {
			f.warm(g)
		} else {
			f.stir(name)
		}
	})
	f.lookDue = f.lookDue || look
	if all {
		for _, g := range f.generations {
			f.warm(g)
		}
	}
	if len(f.hot) > warm && f.now().Sub(f.polled) >= f.limits.poll/4 {
		f.poll(ctx)
	}
}

// warm makes a generation be polled.
func (f *follower) warm(g *generation) {
	if g.hot || g.ended {
		return
	}
	g.hot = true
	f.hot = append(f.hot, g)
}

func (f *follower) pollIfDue(ctx context.Context) {
	if f.now().Sub(f.polled) >= f.limits.poll {
		f.poll(ctx)
	}
}

// poll looks at the sizes of the files that are written to.
func (f *follower) poll(ctx context.Context) {
	now := f.now()
	f.polled = now
	hot := f.hot
	f.hot = nil // refresh may warm others
	kept := hot[:0]
	for _, g := range hot {
		if !g.ended {
			g.due = !g.expireAt.IsZero() && !now.Before(g.expireAt)
			f.refresh(ctx, g, now)
		}
		if g.ended || g.drained() && g.expireAt.IsZero() && now.Sub(g.changed) >= f.limits.cool {
			g.hot = false
			continue
		}
		kept = append(kept, g)
	}
	clear(hot[len(kept):])
	f.hot = append(kept, f.hot...)
	if f.watch != nil {
		f.watch.relax(len(f.hot) > 0 && len(f.dirs) <= maxGlances && f.watch.covers(f.dirs) && !f.stirs())
	}
}

// enqueue makes a generation be read when it has something to read.
func (f *follower) enqueue(g *generation) {
	if g.queued || !g.ready() {
		return
	}
	g.queued = true
	f.queue = append(f.queue, g)
}

// touch makes the chunk being gathered carry the position of a generation.
func (f *follower) touch(g *generation) {
	if g.touched || g.ended {
		return
	}
	g.touched = true
	f.touched = append(f.touched, g)
}

// account brings the lag up to date.
func (f *follower) account(g *generation) {
	unread := int64(0)
	if !g.ended {
		unread = max(g.size-g.place(), 0)
	}
	f.in.unread.Add(unread - g.unread)
	g.unread = unread
}

// release closes every descriptor.
func (f *follower) release() {
	for _, g := range f.generations {
		f.closeFile(g)
	}
	f.giveBack()
	for _, claim := range f.onWay {
		if claim != nil {
			claim.Release()
		}
	}
	f.in.sources.Store(0)
	f.in.unread.Store(0)
	f.in.failing.Store(nil)
}

func (f *follower) closeFile(g *generation) {
	if g.file == nil {
		return
	}
	if err := g.file.close(); err != nil {
		f.log.Debug("close file", "path", g.path, "reason", err)
	}
	g.file = nil
	f.open--
}

// noteOnce logs a condition when it begins; cleared makes it news again.
func (f *follower) noteOnce(ctx context.Context, message, path string, reason any) {
	f.unsettled = f.unsettled || message != noteKind && message != notePacked
	key := message + "\x00" + path
	if _, ok := f.noted[key]; ok || len(f.noted) >= maxNoted {
		return
	}
	f.noted[key] = struct{}{}
	if reason == nil {
		f.log.WarnContext(ctx, message, "path", path) //nolint:sloglint // the callers' messages are constants
		return
	}
	f.log.WarnContext(ctx, message, "path", path, "reason", reason) //nolint:sloglint // the callers' messages are constants
}

func (f *follower) cleared(message, path string) { delete(f.noted, message+"\x00"+path) }

// maxNoted bounds the memory of conditions that were logged.
const maxNoted = 10_000
