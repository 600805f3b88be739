package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/auditail/auditail/seal"
)

// Hold keeps payloads beyond their term until it is lifted. Empty fields fit all.
type Hold struct {
	Name    string    `json:"name"`
	Agent   string    `json:"agent,omitempty"`
	Service string    `json:"service,omitempty"`
	Class   string    `json:"class,omitempty"`
	Reason  string    `json:"reason"`
	Set     time.Time `json:"set"`
}

func (h *Hold) covers(name *seal.ObjectName) bool {
	fits := func(want, have string) bool { return want == "" || want == have }
	return fits(h.Agent, name.Agent) && fits(h.Service, name.Stream.Service) && fits(h.Class, name.Stream.Class)
}

func anyCovers(holds []Hold, name *seal.ObjectName) bool {
	return slices.ContainsFunc(holds, func(h Hold) bool { return h.covers(name) })
}

const holdsFolder = "holds"

func holdName(name string) string { return holdsFolder + "/" + name + registrySuffix }

// SetHold sets a legal hold. It is recorded before it is set.
func SetHold(ctx context.Context, c Config, d Deps, h Hold) error {
	if !seal.ValidName(h.Name) || h.Reason == "" {
		return errors.New("a hold needs a name of a-z, 0-9, dot, dash and underscore, and a reason")
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return err
	}
	h.Set = d.Now().UTC().Truncate(time.Second)
	err = d.record(ctx, Event{Event: "store.purge", Reason: "hold_set", Outcome: "blocked", Detail: fmt.Sprintf("%+v", h)})
	if err == nil {
		err = swapJSON(ctx, p.state, holdName(h.Name), "", h)
	}
	if errors.Is(err, errSwapped) {
		return fmt.Errorf("there is a hold %q already", h.Name)
	}
	if err != nil {
		return err
	}
	if err := p.markHeld(ctx, h.covers, true); err != nil {
		return fmt.Errorf("the hold %s is set, but the bucket does not hold all that it covers yet; retention apply goes on with it: %w", h.Name, err)
	}
	return nil
}

// markHeld sets or lifts the bucket's own legal hold of the payloads that are
// stored, so that no lifecycle rule and no other credentials remove what is held.
// A directory has none.
func (p *places) markHeld(ctx context.Context, covers func(*seal.ObjectName) bool, on bool) error {
	if p.bucket == nil || !p.bucket.Locks() {
		return nil
	}
	var covered []string
	mark := func() error {
		err := p.store.each(len(covered), func(i int) error {
			if err := p.bucket.Hold(ctx, covered[i], on); err != nil {
				return fmt.Errorf("legal hold of %s: %w", covered[i], p.bucket.Sentence(err))
			}
			return nil
		})
		covered = covered[:0]
		return err
	}
	err := all(ctx, p.store, "records/", func(o ListedObject) error {
		name, err := seal.ParsePath(o.Path)
		if err == nil && covers(&name) {
			covered = append(covered, o.Path)
		}
		if err == nil && len(covered) == maxListed {
			err = mark()
		}
		return err
	})
	if err != nil {
		return err
	}
	return mark()
}

// LiftHold ends a legal hold. It is recorded before it is lifted, and is there until
// the bucket holds nothing for it any more.
func LiftHold(ctx context.Context, c Config, d Deps, name string) error {
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return err
	}
	var h Hold
	if !seal.ValidName(name) {
		return fmt.Errorf("there is no hold %q", name)
	}
	if _, err := readJSON(ctx, p.state, holdName(name), &h); errors.Is(err, fs.ErrNotExist) {
		// It may have been lifted a moment ago, and not for good yet.
		return errors.Join(fmt.Errorf("there is no hold %q", name), p.state.remove(ctx, holdName(name)))
	} else if err != nil {
		return err
	}
	if err := d.record(ctx, Event{Event: "store.purge", Reason: "hold_lifted", Detail: fmt.Sprintf("%+v", h)}); err != nil {
		return err
	}
	others, err := p.holds(ctx)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(other Hold) bool { return other.Name == name })
	err = p.markHeld(ctx, func(name *seal.ObjectName) bool { return h.covers(name) && !anyCovers(others, name) }, false)
	if err != nil {
		return fmt.Errorf("the hold %s is not lifted yet; lift it again: %w", name, err)
	}
	return p.state.remove(ctx, holdName(name))
}

// Holds lists the legal holds, ordered by name.
func Holds(ctx context.Context, c Config, d Deps) ([]Hold, error) {
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return nil, err
	}
	return p.holds(ctx)
}

func (p *places) holds(ctx context.Context) ([]Hold, error) {
	found, err := names(ctx, p.state, holdsFolder)
	if err != nil {
		return nil, err
	}
	holds := make([]Hold, 0, len(found))
	for _, name := range found {
		var h Hold
		if _, err := readJSON(ctx, p.state, holdName(name), &h); err != nil {
			return nil, err
		}
		holds = append(holds, h)
	}
	return holds, nil
}

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
	if len(holds) > 0 && !dryRun { // what came since they were set
		if err := p.markHeld(ctx, func(name *seal.ObjectName) bool { return anyCovers(holds, name) }, true); err != nil {
			return done, err
		}
	}
	return done, all(ctx, p.store, "records/", func(o ListedObject) error {
		return p.expire(ctx, d, o, holds, dryRun, &done)
	})
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
