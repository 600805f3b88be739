package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// storedBytes counts what outputs under data_dir hold.
type storedBytes struct{ n atomic.Int64 }

func (s *storedBytes) add(n int64)  { s.n.Add(n) }
func (s *storedBytes) bytes() int64 { return s.n.Load() }

// shipper takes one output's batches to it, one after the other. Its cursor
// moves only on the output's acknowledgement.
type shipper struct {
	agent   *Agent
	output  Output
	log     *slog.Logger
	stopped bool // the output may not go on
	shipped shipped
}

// readRetry is how often a batch is read again that the buffer can not read.
const readRetry = 5 * time.Second

// run ends when ctx does, when the buffer has no more to ship or may not go on,
// or when the output may not: a manifest that is refused for good.
func (s *shipper) run(ctx context.Context, from *buffer.Buffer, round *rounds) {
	if s.stopped {
		return
	}
	s.compare(ctx, from)
	said := ""
	for !s.stopped {
		batch, err := from.Next(ctx, s.output.Name)
		if errors.Is(err, buffer.ErrClosed) || ctx.Err() != nil || from.Err() != nil {
			return
		}
		if err != nil {
			if text := err.Error(); text != said {
				said = text
				s.log.ErrorContext(ctx, "a sealed batch can not be read; trying again", "error", err)
			}
			pause(ctx, readRetry)
			continue
		}
		err = s.ship(ctx, from, batch)
		if err == nil {
			err = s.publish(ctx, from.Checkpoint(), batch.Manifest, round)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil || from.Err() != nil || errors.Is(err, buffer.ErrClosed):
			return
		case errors.Is(err, outputs.ErrFork):
			s.conflict(ctx, from, batch.Manifest.Origin, err)
		default:
			s.stopped = true
			s.shipped.stop(err, s.agent.deps.Now())
			s.log.ErrorContext(ctx, "ALARM: this output stops; its batches are kept and the other outputs go on",
				"batch", batch.Manifest.Batch, "error", err)
		}
	}
}

// ship delivers one batch and notes the acknowledgement.
func (s *shipper) ship(ctx context.Context, from *buffer.Buffer, batch seal.Batch) error {
	receipt, err := s.output.Output.Ship(ctx, batch)
	if s.output.BestEffort && errors.Is(err, outputs.ErrPermanent) {
		if !errors.Is(err, fs.ErrNotExist) { // else it was overtaken, which the buffer counts
			s.shipped.refuse()
		}
		s.log.WarnContext(ctx, "records are not copied; the evidence is complete at the other outputs", "batch", batch.Manifest.Batch, "error", err)
		err = nil
	}
	if s.payloadRefused(err) {
		if err := s.quarantine(ctx, batch, err); err != nil {
			return err
		}
		batch.Objects = withoutPayload(batch.Objects)
		receipt, err = s.output.Output.Ship(ctx, batch)
	}
	if err != nil {
		return err
	}
	if s.output.CountsOnDisk && receipt.Stored > 0 {
		// Rather too much than too little when some were there before; the next
		// start measures.
		for _, o := range batch.Objects {
			s.agent.stored.add(o.Size)
		}
	}
	s.log.DebugContext(ctx, "acknowledged", "batch", batch.Manifest.Batch, "kind", string(batch.Manifest.Kind))
	if err := from.Acknowledge(s.output.Name, batch); err != nil {
		return err
	}
	s.shipped.acknowledge(s.agent.deps.Now())
	return nil
}

// publish ends a ship round: when the output has caught up, it gets the
// checkpoint over exactly what it holds. A head that is already further belongs
// to a batch that is about to be shipped, and is published behind that.
func (s *shipper) publish(ctx context.Context, head seal.Checkpoint, shipped *seal.Manifest, round *rounds) error {
	if head.Origin != shipped.Origin || head.Size != shipped.Batch+1 || s.output.BestEffort {
		return nil // witnesses vouch for what lies at an evidence output
	}
	if publisher, ok := s.output.Output.(outputs.Publisher); ok {
		if err := publisher.Publish(ctx, head); err != nil {
			return err
		}
	}
	round.shipped(head)
	return nil
}

func (s *shipper) payloadRefused(err error) bool {
	var refused *outputs.ObjectError
	return errors.As(err, &refused) && refused.Kind == seal.PayloadObject && errors.Is(err, outputs.ErrPermanent)
}

func withoutPayload(objects []seal.Object) []seal.Object {
	var rest []seal.Object
	for _, o := range objects {
		if o.Kind != seal.PayloadObject {
			rest = append(rest, o)
		}
	}
	return rest
}

// quarantine keeps a payload that a destination refuses for good. Its manifest
// still ships, so verification reports the payload as owed.
func (s *shipper) quarantine(ctx context.Context, batch seal.Batch, cause error) error {
	s.shipped.quarantine()
	payload := batch.Objects[0]
	name := filepath.Join(s.agent.cfg.Buffer.Dir, "quarantine", s.output.Name+"-"+filepath.Base(payload.Path))
	err := copyObject(s.agent.deps.FS, payload, name)
	if errors.Is(err, fs.ErrNotExist) {
		// Its file is gone from the spool, which is why it can not be shipped:
		// there is nothing left to keep, and the seals say what is owed.
		s.log.ErrorContext(ctx, "ALARM: a sealed payload is missing from the buffer; its manifest still ships",
			"batch", batch.Manifest.Batch, "payload", payload.Path, "error", cause)
		return nil
	}
	if err != nil {
		return fmt.Errorf("quarantine %s: %w", payload.Path, err)
	}
	s.log.ErrorContext(ctx, "ALARM: a payload is refused for good; it is kept in quarantine and its manifest still ships",
		"batch", batch.Manifest.Batch, "file", name, "error", cause)
	return nil
}

func copyObject(fsys durable.FS, o seal.Object, name string) error {
	from, err := o.Open()
	if err != nil {
		return err
	}
	to, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, from.Close(), to.Close()); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
