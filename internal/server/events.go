package server

import (
	"context"
	"net/http"
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

// noteRefusal keeps a refusal, unless one was kept a moment ago. The operator's
// log has them all.
func (s *Server) noteRefusal(r *http.Request, e Event) {
	now := s.clock()
	s.refusals.Lock()
	quiet := now.Sub(s.refusals.last) < refusalEvery && now.After(s.refusals.last)
	if !quiet {
		s.refusals.last = now
	}
	s.refusals.Unlock()
	if !quiet {
		s.note(r.Context(), e)
	}
}
