package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Event is something that the server did or saw and keeps in a signed log of its
// own. Event names, and what the fields become, are those of the record format.
type Event struct {
	Event   string `json:"event"`
	Outcome string `json:"outcome,omitempty"` // "" for success
	Reason  string `json:"reason,omitempty"`
	Actor   string `json:"actor,omitempty"` // account or log; "" for the server itself
	Client  string `json:"client,omitempty"`
	Log     string `json:"log,omitempty"` // whose evidence it is about
	Path    string `json:"path,omitempty"`
	Status  int    `json:"status,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// Journal keeps events. Record returns nil when the event is durable. It is safe
// for concurrent use.
type Journal interface {
	Record(ctx context.Context, e Event) error
}

// record keeps what is done on the operator's behalf.
func (d *Deps) record(ctx context.Context, e Event) error {
	if d.Journal == nil {
		return nil
	}
	return d.Journal.Record(ctx, e)
}

// record keeps an event. Without a journal the operator's log is all there is.
func (s *Server) record(ctx context.Context, e Event) error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Record(ctx, e)
}

// note is record for what must not fail because it can not be kept.
func (s *Server) note(ctx context.Context, e Event) {
	if err := s.record(context.WithoutCancel(ctx), e); err != nil {
		s.logger.ErrorContext(ctx, "an event could not be recorded", "event", e.Event, "log", e.Log, "error", err)
	}
}

// refusalEvery is how often refusals of one kind are kept: anyone can cause them,
// and a log that grows with each would be a way to fill the disk.
const refusalEvery = time.Second

// maxRefusals is of how many kinds it is remembered when one was kept last.
const maxRefusals = 10_000

// refusals remembers when a refusal of a kind was kept last.
type refusals struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due tells whether a refusal is to be kept, unless one like it was a moment ago.
func (r *refusals) due(kind string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.last[kind]; ok && now.Sub(last) < refusalEvery && now.After(last) {
		return false
	}
	if r.last == nil || len(r.last) >= maxRefusals {
		r.last = make(map[string]time.Time)
	}
	r.last[kind] = now
	return true
}

// noteRefusal keeps a refusal that somebody may have to answer for. The operator's log
// has them all.
func (s *Server) noteRefusal(r *http.Request, p *problem) {
	if p.event == nil || !s.refusals.due(p.event.Reason+" "+p.event.Actor, s.clock()) {
		return
	}
	e := *p.event
	e.Client, e.Path, e.Status, e.Detail = r.RemoteAddr, logged(r.URL.Path), p.Status, p.Detail
	s.note(r.Context(), e)
}
