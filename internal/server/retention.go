package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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

const holdsFolder = "holds"

func holdCell(name string) string { return holdsFolder + "/" + name + registrySuffix }

// SetHold sets a legal hold. It is recorded before it is set.
func SetHold(ctx context.Context, c Config, d Deps, h Hold) error {
	if !seal.ValidName(h.Name) || h.Reason == "" {
		return errors.New("a hold needs a name of a-z, 0-9, dot, dash and underscore, and a reason")
	}
	p, err := openPlaces(c, d, true)
	if err != nil {
		return err
	}
	h.Set = d.Now().UTC().Truncate(time.Second)
	err = d.Journal.Record(ctx, Event{Event: "store.purge", Reason: "hold_set", Outcome: "blocked", Detail: fmt.Sprintf("%+v", h)})
	if err == nil {
		err = p.cells.swapJSON(holdCell(h.Name), nil, h)
	}
	if errors.Is(err, errSwapped) {
		return fmt.Errorf("there is a hold %q already", h.Name)
	}
	return err
}

// LiftHold ends a legal hold. It is recorded before it is lifted.
func LiftHold(ctx context.Context, c Config, d Deps, name string) error {
	p, err := openPlaces(c, d, true)
	if err != nil {
		return err
	}
	var h Hold
	if !seal.ValidName(name) {
		return fmt.Errorf("there is no hold %q", name)
	}
	if _, err := p.cells.readJSON(holdCell(name), &h); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no hold %q", name)
	} else if err != nil {
		return err
	}
	if err := d.Journal.Record(ctx, Event{Event: "store.purge", Reason: "hold_lifted", Detail: fmt.Sprintf("%+v", h)}); err != nil {
		return err
	}
	return d.FS.Remove(filepath.Join(p.state, filepath.FromSlash(holdCell(name))))
}

// Holds lists the legal holds, ordered by name.
func Holds(c Config, d Deps) ([]Hold, error) {
	p, err := openPlaces(c, d, true)
	if err != nil {
		return nil, err
	}
	return p.holds()
}

func (p *places) holds() ([]Hold, error) {
	names, err := p.cells.names(holdsFolder)
	if err != nil {
		return nil, err
	}
	all := make([]Hold, 0, len(names))
	for _, name := range names {
		var h Hold
		if _, err := p.cells.readJSON(holdCell(name), &h); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
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
	p, err := openPlaces(c, d, true)
	if err != nil {
		return done, err
	}
	holds, err := p.holds()
	if err != nil {
		return done, err
	}
	for after := ""; ; {
		page, err := p.store.list(ctx, "records/", after, maxListed)
		if err != nil {
			return done, err
		}
		for _, o := range page {
			if err := p.expire(ctx, d, o, holds, dryRun, &done); err != nil {
				return done, err
			}
		}
		if len(page) < maxListed {
			return done, nil
		}
		after = page[len(page)-1].Path
	}
}

func (p *places) expire(ctx context.Context, d Deps, o ListedObject, holds []Hold, dryRun bool, done *Purge) error {
	name, err := seal.ParsePath(o.Path)
	if err != nil {
		return err
	}
	// The organization of an origin is not part of its paths.
	m, err := p.store.manifest(seal.Origin{Log: seal.Log{Agent: name.Agent}, Epoch: name.Epoch}, name.Number)
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
	for i := range holds {
		if holds[i].covers(&name) {
			done.Held++
			return nil
		}
	}
	if !dryRun {
		err := d.Journal.Record(ctx, Event{
			Event: "store.purge", Reason: "expired", Log: m.Origin.Log.String(), Path: o.Path,
			Detail: "kept until " + m.KeepUntil.UTC().Format(time.RFC3339) + ", sha256:" + m.Payload.String(),
		})
		if err == nil {
			err = p.store.remove(o.Path)
		}
		if err != nil {
			return fmt.Errorf("purge %s: %w", o.Path, err)
		}
	}
	done.Removed++
	done.Bytes += o.Size
	return nil
}

// remove removes a stored payload durably.
func (s *store) remove(path string) error {
	if err := s.fs.Remove(s.name(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.makeDurable(path)
}
