package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditail/auditail/seal"
)

// Purge is what became of the payloads whose term is over.
type Purge struct {
	Removed int   `json:"removed"` // or would be, of a dry run
	Bytes   int64 `json:"bytes"`
	Held    int   `json:"held"` // kept by a legal hold
	Kept    int   `json:"kept"` // their term is not over
	Unknown int   `json:"unknown"`
}

// ApplyRetention removes the payloads whose manifest's keep-until has passed and
// that no legal hold covers. Each is recorded durably as store.purge before it
// goes. Seals never go, and a payload without a stored manifest is left alone.
func ApplyRetention(ctx context.Context, c Config, d Deps, dryRun bool) (Purge, error) {
	var done Purge
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return done, err
	}
	holds, err := p.holds(ctx)
	if err != nil {
		return done, err
	}
	if on := inForce(holds); len(on) > 0 && !dryRun { // where setting one did not come to its end
		if err := p.markHeld(ctx, func(name *seal.ObjectName) bool { return anyCovers(on, name) }, true); err != nil {
			return done, err
		}
	}
	err = all(ctx, p.store, "records/", func(o ListedObject) error {
		return p.expire(ctx, d, o, holds, dryRun, &done)
	})
	return done, err
}

func (p *places) expire(ctx context.Context, d Deps, o ListedObject, holds []Hold, dryRun bool, done *Purge) error {
	name, err := seal.ParsePath(o.Path)
	if err != nil {
		return err
	}
	// The organization of an origin is not part of its paths.
	m, err := p.manifest(ctx, seal.Origin{Log: seal.Log{Agent: name.Agent}, Epoch: name.Epoch}, name.Number)
	if errors.Is(err, fs.ErrNotExist) || err == nil && m.PayloadPath != o.Path {
		done.Unknown++
		return nil
	}
	if err != nil {
		return err
	}
	if m.KeepUntil.IsZero() || d.Now().Before(m.KeepUntil) {
		done.Kept++
		return nil
	}
	if !dryRun { // a run can take long
		if holds, err = p.holds(ctx); err != nil {
			return err
		}
	}
	if anyCovers(holds, &name) {
		done.Held++
		return nil
	}
	if !dryRun {
		err := d.record(ctx, Event{
			Event: "store.purge", Reason: "expired", Log: m.Origin.Log.String(), Path: o.Path,
			Detail: "kept until " + m.KeepUntil.UTC().Format(time.RFC3339) + ", sha256:" + m.Payload.String(),
		})
		if err == nil {
			err = p.store.remove(ctx, o.Path)
		}
		if err != nil {
			return fmt.Errorf("purge %s: %w", o.Path, err)
		}
	}
	done.Removed++
	done.Bytes += o.Size
	return nil
}
