package catalog

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/internal/probe"
)

// sights is what a catalog needs to ask at the first sight of a name.
type sights struct {
	index   int // of the catalog in its store
	targets []*target
	next    atomic.Pointer[time.Time] // before which there is nothing to ask; nil: there is
}

// sight asks the servers of an input at the first sight of a name and waits for
// the answers, but no longer than one question may take. Servers that were asked
// a moment ago are not asked again.
func (s *Store) sight(c *Catalog) {
	if len(c.sights.targets) == 0 {
		return
	}
	now := s.deps.Now()
	if next := c.sights.next.Load(); next != nil && now.Before(*next) {
		return
	}
	var answers []<-chan struct{}
	s.mu.Lock()
	next := now.Add(refreshEvery)
	for _, t := range c.sights.targets {
		if t.under == nil && now.Before(t.next) {
			if t.next.Before(next) {
				next = t.next
			}
			continue
		}
		if answer := s.ask(t); answer != nil {
			answers = append(answers, answer)
		}
	}
	if len(answers) == 0 && s.ctx != nil {
		c.sights.next.Store(&next)
	}
	ctx := s.ctx
	s.mu.Unlock()
	if len(answers) == 0 {
		return
	}
	limit := time.NewTimer(probe.Timeout)
	defer limit.Stop()
	for _, answer := range answers {
		select {
		case <-answer:
		case <-limit.C:
			later := s.deps.Now().Add(restShare * probe.Timeout)
			c.sights.next.Store(&later)
			return
		case <-ctx.Done():
			return
		}
	}
}

// Started tells the catalog that a server of its input printed its start
// banner: it is another process now, and may serve something else.
func (c *Catalog) Started(seen Seen) {
	if c.store == nil || len(c.sights.targets) == 0 {
		return
	}
	s := c.store
	s.mu.Lock()
	for _, t := range c.sights.targets {
		own := slices.ContainsFunc(t.links, func(l link) bool { return l.scope == c.input })
		// Of a banner that was read late nobody knows when it was printed.
		if own && !seen.NotBefore.IsZero() && seen.At.Sub(seen.NotBefore) < refreshEvery && seen.At.Sub(t.banner) > restMin {
			t.banner = seen.At
		}
	}
	s.mu.Unlock()
	s.nudge(c)
}

// nudge asks the servers of an input again, when they were not a moment ago.
func (s *Store) nudge(c *Catalog) {
	if len(c.sights.targets) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range c.sights.targets {
		if !s.deps.Now().Before(t.next) {
			s.ask(t)
		}
	}
}
