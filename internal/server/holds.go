package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
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
	// Lifted is when it began to be lifted: nothing new is put under it, what was is
	// not purged before the last of it is free.
	Lifted time.Time `json:"lifted,omitzero"`
}

func (h *Hold) covers(name *seal.ObjectName) bool {
	fits := func(want, have string) bool { return want == "" || want == have }
	return fits(h.Agent, name.Agent) && fits(h.Service, name.Stream.Service) && fits(h.Class, name.Stream.Class)
}

func anyCovers(holds []Hold, name *seal.ObjectName) bool {
	return slices.ContainsFunc(holds, func(h Hold) bool { return h.covers(name) })
}

// inForce are the holds that nobody has begun to lift.
func inForce(holds []Hold) []Hold {
	return slices.DeleteFunc(slices.Clone(holds), func(h Hold) bool { return !h.Lifted.IsZero() })
}

const holdsFolder = "holds"

func holdName(name string) string { return holdsFolder + "/" + name + registrySuffix }

// knownHolds are the holds that a server read last. Over a bucket each look costs a
// request, so what was read is used for as long as what was read of an agent.
type knownHolds struct {
	holds []Hold
	at    time.Time // before they were read
}

// isHeld tells whether a legal hold covers what arrives, as it was known at most
// bucketFresh ago. In a directory nothing is put under a hold: what removes payloads
// there looks by itself.
func (s *Server) isHeld(ctx context.Context, name *seal.ObjectName) (bool, error) {
	if !s.marksHolds() {
		return false, nil
	}
	now := s.clock()
	if known := s.known.Load(); known != nil && now.Sub(known.at) < s.registry.fresh {
		return anyCovers(known.holds, name), nil
	}
	holds, err := s.holds(ctx)
	if err != nil {
		return false, fmt.Errorf("look for legal holds: %w", err)
	}
	known := &knownHolds{holds: inForce(holds), at: now}
	s.known.Store(known)
	return anyCovers(known.holds, name), nil
}

// keepHeld puts a stored payload under the hold that covers it by now. Whoever sets
// a hold waits until every server knows of it, and then holds what is stored: what is
// stored behind that moment is held here.
func (s *Server) keepHeld(ctx context.Context, u *upload) error {
	held, err := s.isHeld(ctx, &u.name)
	if err != nil || !held {
		return err
	}
	if err := s.bucket.Hold(ctx, u.path, true); err != nil {
		return fmt.Errorf("legal hold of %s: %w", u.path, s.bucket.Sentence(err))
	}
	return nil
}

// marksHolds tells whether holds are the store's own, too.
func (p *places) marksHolds() bool { return p.bucket != nil && p.bucket.Locks() }

// spread waits until every server over the bucket knows of a changed hold.
func (p *places) spread(ctx context.Context, d Deps, name string) error {
	if !p.marksHolds() {
		return nil
	}
	const margin = time.Second
	wait := p.registry.fresh + margin
	d.Logger.InfoContext(ctx, "waiting until every server knows of the hold", "hold", name, "wait", wait.String())
	if d.Pause != nil {
		return d.Pause(ctx, wait)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetHold sets a legal hold. It is recorded before it is set.
func SetHold(ctx context.Context, c Config, d Deps, h Hold) error {
	if !seal.ValidName(h.Name) || h.Reason == "" {
		return errors.New("a hold needs a name of a-z, 0-9, dot, dash and underscore, and a reason")
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return err
	}
	h.Set, h.Lifted = d.Now().UTC().Truncate(time.Second), time.Time{}
	err = d.record(ctx, Event{Event: "store.purge", Reason: "hold_set", Outcome: "blocked", Detail: h.detail()})
	if err == nil {
		err = swapJSON(ctx, p.state, holdName(h.Name), "", h)
	}
	if errors.Is(err, errSwapped) {
		return fmt.Errorf("there is a hold %q already", h.Name)
	}
	if err != nil {
		return err
	}
	err = p.spread(ctx, d, h.Name)
	if err == nil {
		err = p.markHeld(ctx, h.covers, true)
	}
	if err != nil {
		return fmt.Errorf("the hold %s is set, but the bucket does not hold all that it covers yet; retention apply goes on with it: %w", h.Name, err)
	}
	return nil
}

// detail says in a record what a hold is.
func (h *Hold) detail() string {
	parts := []string{"hold " + h.Name}
	for _, part := range [][2]string{{"agent", h.Agent}, {"service", h.Service}, {"class", h.Class}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	return strings.Join(parts, ", ") + ": " + h.Reason
}

// markHeld sets or lifts the bucket's own legal hold of the payloads that are
// stored, so that no lifecycle rule and no other credentials remove what is held.
// A directory has none.
func (p *places) markHeld(ctx context.Context, covers func(*seal.ObjectName) bool, on bool) error {
	if !p.marksHolds() {
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
	tag, err := readJSON(ctx, p.state, holdName(name), &h)
	if errors.Is(err, fs.ErrNotExist) {
		// It may have been lifted a moment ago, and not for good yet.
		return errors.Join(fmt.Errorf("there is no hold %q", name), p.state.remove(ctx, holdName(name)))
	} else if err != nil {
		return err
	}
	if err := d.record(ctx, Event{Event: "store.purge", Reason: "hold_lifted", Detail: h.detail()}); err != nil {
		return err
	}
	if p.marksHolds() {
		if err := p.free(ctx, d, h, tag); err != nil {
			return fmt.Errorf("the hold %s is not lifted yet; lift it again: %w", name, err)
		}
	}
	return p.state.remove(ctx, holdName(name))
}

// free lets no server put anything under the hold any more, and then has the bucket
// hold nothing for it that no other hold covers.
func (p *places) free(ctx context.Context, d Deps, h Hold, tag string) error {
	if h.Lifted.IsZero() {
		h.Lifted = d.Now().UTC().Truncate(time.Second)
		if err := swapJSON(ctx, p.state, holdName(h.Name), tag, h); err != nil {
			return err
		}
	}
	if err := p.spread(ctx, d, h.Name); err != nil {
		return err
	}
	all, err := p.holds(ctx)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(inForce(all), func(other Hold) bool { return other.Name == h.Name })
	return p.markHeld(ctx, func(name *seal.ObjectName) bool { return h.covers(name) && !anyCovers(others, name) }, false)
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
		_, err := readJSON(ctx, p.state, holdName(name), &h)
		if errors.Is(err, fs.ErrNotExist) { // lifted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		holds = append(holds, h)
	}
	return holds, nil
}
