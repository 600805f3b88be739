package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// What a shipper does about a destination that holds another log than the
// agent: one that was ahead when the agent started (its state was set back, or
// runs twice), one that has other bytes under a name, and one that lost what it
// had acknowledged. The log never goes on over such a thing: it is left for a
// new epoch (package buffer), and an alarm record says why.

// claim is what a destination says of the log.
type claim struct {
	origin seal.Origin // the newest epoch that it has
	head   seal.Head
}

// verdict is what a claim means for the agent's log.
type verdict uint8

const (
	agrees  verdict = iota
	ahead           // it has more than was sealed here
	behind          // it has less than it acknowledged
	differs         // it has as much, but not the same
)

// askTime is how long a destination is asked for its head when something else has
// shown already that the log may not go on.
const askTime = 10 * time.Second

// compare asks the destination for its heads before anything is shipped, however
// long it is away. What it can not be asked for is found by the names all the same:
// no other bytes than those that are there can be stored under them.
func (s *shipper) compare(ctx context.Context, from *buffer.Buffer) {
	reader, ok := s.output.Output.(outputs.HeadReader)
	if !ok {
		return
	}
	found, what, err := s.judge(ctx, from, reader)
	if err == nil && what != agrees && pause(ctx, confirmPause) {
		// Once more: nothing that passes may end an epoch.
		found, what, err = s.judge(ctx, from, reader)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, errors.ErrUnsupported) {
			level = slog.LevelDebug // it never does
		}
		s.log.Log(ctx, level, "the destination does not say what it holds of the log; a fork shows when it refuses a batch", "error", err)
		return
	}
	switch what {
	case agrees:
	case ahead:
		// Batches that it holds already are acknowledged by repeating them; the
		// first other one, or the end of those that were sealed here, is the fork.
		if s.repeat(ctx, from, found) {
			s.leave(ctx, from, seal.SuccessionRollback, found)
		}
	case behind:
		back, err := from.Rewind(s.output.Name, found.head.Size)
		if err != nil {
			return // the buffer failed
		}
		s.log.ErrorContext(ctx, "ALARM: the destination lost batches that it had acknowledged",
			"log", found.origin.String(), "holds", found.head.Size, "shipped_again", back)
		if _, waits := s.output.Output.(outputs.OrderKeeper); !back && !waits {
			s.leave(ctx, from, seal.SuccessionRollback, found)
		}
	case differs:
		s.leave(ctx, from, seal.SuccessionFork, found)
	}
}

// judge asks the destination and compares.
func (s *shipper) judge(ctx context.Context, from *buffer.Buffer, reader outputs.HeadReader) (claim, verdict, error) {
	at := from.Standing(s.output.Name)
	if !at.Newest {
		return claim{}, agrees, nil // what is left of an older epoch: its names tell
	}
	found, err := newest(ctx, reader, at.Origin)
	switch head := found.head; {
	case err != nil:
		return found, agrees, err
	case found.origin != at.Origin || head.Size > at.Sealed:
		return found, ahead, nil
	case at.Took && head.Size < at.Size:
		return found, behind, nil
	case head.Root != seal.Hash{}:
		own, known := from.RootAt(s.output.Name, head.Size)
		switch {
		case !known || own == head.Root:
		case head.Size > at.Size:
			return found, ahead, nil // what was sealed here since lies beside it
		default:
			return found, differs, nil
		}
	}
	return found, agrees, nil
}

// newest returns the head of the newest epoch from origin on that a destination has.
func newest(ctx context.Context, reader outputs.HeadReader, origin seal.Origin) (claim, error) {
	head, err := reader.Head(ctx, origin.String())
	found := claim{origin: origin, head: head}
	for err == nil && origin.Epoch < seal.MaxEpoch {
		origin.Epoch++
		if head, err = reader.Head(ctx, origin.String()); head.Size == 0 {
			break
		}
		found = claim{origin: origin, head: head}
	}
	return found, err
}

// claimed asks for the newest head, and no longer than askTime, for somebody who
// has to say what is known of the log. It is false when the root can not be told.
func (s *shipper) claimed(ctx context.Context, origin seal.Origin) (claim, bool) {
	reader, ok := s.output.Output.(outputs.HeadReader)
	if !ok {
		return claim{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	found, err := newest(ctx, reader, origin)
	return found, err == nil && found.head.Root != seal.Hash{}
}

// repeat ships the batches that the destination says it has. It is false when
// something else than a fork ended it.
func (s *shipper) repeat(ctx context.Context, from *buffer.Buffer, found claim) bool {
	for at := from.Standing(s.output.Name); at.Newest && at.Size < at.Sealed; at = from.Standing(s.output.Name) {
		if found.origin == at.Origin && found.head.Size <= at.Size {
			break
		}
		batch, err := from.Next(ctx, s.output.Name)
		if err == nil && found.origin == at.Origin {
			// It has a seal of this number. Should that be another batch's, this
			// one's payload must not come to lie where no seal names it.
			seals := batch
			seals.Objects = withoutPayload(batch.Objects)
			_, err = s.output.Output.Ship(ctx, seals)
		}
		if err == nil {
			err = s.ship(ctx, from, batch)
		}
		if err != nil {
			return errors.Is(err, outputs.ErrFork)
		}
	}
	return true
}

// conflict is called when the destination has other bytes under a name.
func (s *shipper) conflict(ctx context.Context, from *buffer.Buffer, origin seal.Origin, cause error) {
	if origin.Epoch < from.Epoch() {
		n, err := from.Quarantine(s.output.Name, origin.Epoch)
		if err == nil {
			s.log.ErrorContext(ctx, "ALARM: batches of an epoch that this destination forked are kept in quarantine; other outputs hold them",
				"epoch", origin.Epoch, "batches", n, "error", cause)
		}
		return
	}
	found := claim{origin: origin, head: seal.Head{Root: seal.EmptyRoot()}}
	if at := from.Standing(s.output.Name); at.Known && at.Origin == origin {
		found.head = seal.Head{Size: at.Size, Root: at.Root}
	}
	if claimed, ok := s.claimed(ctx, origin); ok {
		found = claimed
	}
	s.log.ErrorContext(ctx, "ALARM: the destination has other bytes under the name of a batch", "error", cause)
	s.leave(ctx, from, seal.SuccessionFork, found)
}

// leave ends the epoch at hand.
func (s *shipper) leave(ctx context.Context, from *buffer.Buffer, cause string, found claim) {
	if found.head.Root == (seal.Hash{}) {
		// It can not tell its root, because it has not all of the log. What it
		// took from here is what is known of it.
		found.head = seal.Head{Root: seal.EmptyRoot()}
		if at := from.Standing(s.output.Name); at.Known && at.Origin == found.origin {
			found.head = seal.Head{Size: at.Size, Root: at.Root}
		}
	}
	err := from.Supersede(buffer.Fork{
		Cause: cause, Previous: found.origin.Epoch, Size: found.head.Size, Root: found.head.Root, Found: s.output.Name,
	})
	if err != nil {
		s.log.ErrorContext(ctx, "the end of the epoch can not be written down", "error", err)
	}
}
