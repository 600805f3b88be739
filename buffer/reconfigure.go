package buffer

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/auditail/auditail/seal"
)

// cutRequest asks the encoder to cut all open batches.
type cutRequest struct {
	done chan struct{} // closed when they were handed to the sealer, or the buffer fails
	run  *seal.Run     // of what is appended behind the cut; nil: the same
}

// Reconfigure changes sizes, times, terms and the outputs that release a batch,
// and says of what run is appended from now on: no batch is of two runs, so all
// that are open are cut. Dir and Log stay. An output that is new gets what waits
// in the spool; one that is gone holds nothing back any more, and would go on
// where it stopped if it came back. The caller ships to no output that is gone,
// and appends nothing meanwhile that is to be of the new run.
func (b *Buffer) Reconfigure(ctx context.Context, cfg Config, run seal.Run) error {
	now := *b.current.Load()
	now.MaxDisk, now.BatchSize, now.BatchAge, now.Heartbeat = cfg.MaxDisk, cfg.BatchSize, cfg.BatchAge, cfg.Heartbeat
	now.Retention, now.Outputs, now.Copies = maps.Clone(cfg.Retention), cfg.Outputs, cfg.Copies
	fresh := make(map[string]*cursor)
	for _, output := range slices.Concat(cfg.Outputs, cfg.Copies) {
		c, err := b.loadCursor(output)
		if err != nil {
			return b.failed(err)
		}
		fresh[output] = c
	}
	request := cutRequest{done: make(chan struct{}), run: &run}
	if err := b.cutAll(ctx, request); err != nil {
		return err
	}
	b.mu.Lock()
	b.current.Store(&now)
	for output, c := range fresh {
		if b.cursors[output] == nil {
			b.cursors[output] = c
		}
	}
	maps.DeleteFunc(b.cursors, func(output string, _ *cursor) bool { return fresh[output] == nil })
	gone := b.takeReleased()
	b.mu.Unlock()
	return b.unspoolAll(gone)
}

// cutAll has the open batches cut.
func (b *Buffer) cutAll(ctx context.Context, request cutRequest) error {
	select {
	case b.cutNow <- request:
	case <-b.closing:
		return b.closedError()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-request.done:
		return nil
	case <-b.decided:
		return b.closedError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeOver makes a run that of what follows. Its snapshot begins a segment, so
// that every recovery finds the same.
func (b *Buffer) takeOver(run *seal.Run) {
	if run == nil || *run == *b.run.Load() {
		return
	}
	b.run.Store(run)
	b.enc.turn = true
}

// batchTick is how often the age of open batches is looked at.
func (b *Buffer) batchTick() time.Duration {
	return max(b.current.Load().BatchAge/8, 10*time.Millisecond)
}
