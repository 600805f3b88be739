package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/auditail/auditail/agent/witness"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// Witnesses cosign the head of the log behind every ship round. They vouch for
// what was shipped and hold nothing up: one that is away is asked again behind
// the next round.

const (
	// cosignRetry is how long after a round that failed the next one begins, when
	// nothing is shipped meanwhile.
	cosignRetry = 30 * time.Second
	// cosignPoll is how often an output that has not caught up with a cosigned
	// head is looked at.
	cosignPoll = time.Second
)

// rounds hands the newest shipped head to whoever asks the witnesses.
type rounds struct {
	mu     sync.Mutex
	head   seal.Checkpoint
	notify chan struct{} // capacity 1
}

func newRounds() *rounds { return &rounds{notify: make(chan struct{}, 1)} }

// shipped notes a head that an output holds in full.
func (r *rounds) shipped(head seal.Checkpoint) {
	r.mu.Lock()
	if head.Origin.Epoch > r.head.Origin.Epoch || head.Origin == r.head.Origin && head.Size > r.head.Size {
		r.head = head
	}
	r.mu.Unlock()
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

func (r *rounds) newest() seal.Checkpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

// cosign asks the witnesses until ctx ends, or the shippers have and their last
// round is done.
func (a *Agent) cosign(ctx context.Context, from *buffer.Buffer, r *rounds, ended <-chan struct{}) {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	done := make(map[string]uint64) // size of the last head that each witness cosigned
	retry := time.NewTicker(cosignRetry)
	defer retry.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			last = true
		case <-r.notify:
		case <-retry.C:
		}
		head := r.newest()
		if head.Size == 0 || from.Err() != nil {
			continue
		}
		list := a.ask(ctx, from, head, done)
		if len(list) > 0 {
			for _, s := range a.outputs {
				publishing.Go(func() { s.publishCosigned(ctx, from, list, ended) })
			}
		}
	}
}

// ask asks all witnesses that have not cosigned a head, at once.
func (a *Agent) ask(ctx context.Context, from *buffer.Buffer, head seal.Checkpoint, done map[string]uint64) []seal.Cosignature {
	answers := make([]seal.Cosignature, len(a.cfg.Witnesses))
	failures := make([]error, len(a.cfg.Witnesses))
	var asking sync.WaitGroup
	for i, w := range a.cfg.Witnesses {
		if done[w.Key.ID()] < head.Size {
			asking.Go(func() { answers[i], failures[i] = w.AddCheckpoint(ctx, &head, from.Prove) })
		}
	}
	asking.Wait()
	var list []seal.Cosignature
	cosigned := 0
	for i, w := range a.cfg.Witnesses {
		if answers[i].Line != nil {
			done[w.Key.ID()] = head.Size
			list = append(list, answers[i])
		}
		if done[w.Key.ID()] >= head.Size {
			cosigned++
		}
		a.witnessFailed(ctx, from, w, head, failures[i])
	}
	if cosigned >= a.cfg.WitnessQuorum && len(list) > 0 {
		_ = from.Witnessed(head) // the buffer failed, and says so itself
	}
	return list
}

// witnessFailed says what is wrong with a witness, once for each kind of failure,
// and ends the epoch when the witness saw another log.
func (a *Agent) witnessFailed(ctx context.Context, from *buffer.Buffer, w *witness.Client, head seal.Checkpoint, err error) {
	name, text := w.Key.Name, ""
	if err != nil {
		text = err.Error()
	}
	before := a.witnessSaid[name]
	a.witnessSaid[name] = text
	switch {
	case err == nil:
		if before != "" {
			a.log.InfoContext(ctx, "the witness cosigns again", "witness", name)
		}
		return
	case ctx.Err() != nil:
		return
	case text != before:
		a.log.WarnContext(ctx, "a witness did not cosign; it is asked again, and nothing waits for it", "witness", name, "size", head.Size, "error", err)
	}
	cause := seal.SuccessionFork
	if ahead, ok := errors.AsType[*witness.AheadError](err); ok {
		if ahead.Size <= from.Checkpoint().Size {
			return // it cosigned what was sealed here since
		}
		cause = seal.SuccessionRollback
	} else if !errors.Is(err, witness.ErrFork) {
		return
	}
	if text != before {
		return // once more, so that nothing that passes ends an epoch
	}
	// A witness tells a size and no root. What is known of the log elsewhere is
	// what an output took of it.
	found := claim{origin: head.Origin, head: seal.Head{Root: seal.EmptyRoot()}}
	for _, s := range a.outputs {
		if at := from.Standing(s.output.Name); at.Known && at.Origin == head.Origin && at.Size > found.head.Size {
			found.head = seal.Head{Size: at.Size, Root: at.Root}
		}
		if claimed, ok := s.claimed(ctx, head.Origin); ok && claimed.head.Size > found.head.Size {
			found = claimed
		}
	}
	a.log.ErrorContext(ctx, "ALARM: a witness has seen another log than this one", "witness", name, "error", err)
	err = from.Supersede(buffer.Fork{Cause: cause, Previous: found.origin.Epoch, Size: found.head.Size, Root: found.head.Root, Found: name})
	if err != nil {
		a.log.ErrorContext(ctx, "the end of the epoch can not be written down", "error", err)
	}
}

// publishCosigned stores cosignatures beside the log, once the output holds what
// they vouch for.
func (s *shipper) publishCosigned(ctx context.Context, from *buffer.Buffer, list []seal.Cosignature, ended <-chan struct{}) {
	publisher, ok := s.output.Output.(outputs.CosignaturePublisher)
	if !ok {
		return
	}
	for {
		at := from.Standing(s.output.Name)
		if at.Origin.Epoch > list[0].Origin.Epoch || at.Size >= list[0].Size {
			break
		}
		select {
		case <-ended: // and it did not catch up
			return
		default:
		}
		if from.Err() != nil || !pause(ctx, cosignPoll) {
			return
		}
	}
	for _, c := range list {
		if err := publisher.PublishCosignature(ctx, c); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "a cosignature is not taken", "witness", c.Witness.Name, "size", c.Size, "error", err)
		}
	}
}
