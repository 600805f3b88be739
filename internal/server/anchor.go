package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// StartAnywhere, as the start of an enrolment, lets the log begin with whatever
// manifest arrives first: an output that was added later starts in the middle of
// its agent's log. The server then writes down where that was, and nothing before
// it is taken any more.
const StartAnywhere = "any"

// Anchor is a place at which the server's copy of a log goes on although the
// manifest before it is not stored: where it begins, or where an operator said
// that a hole ends. The auditor is told by `auditail-server agents`; to the
// verifier a hole is a violation unless --from says where to begin.
type Anchor struct {
	Epoch int    `json:"epoch"`
	Batch uint64 `json:"batch"`
}

// String returns <epoch4>/<batch>.
func (a Anchor) String() string { return fmt.Sprintf("%04d/%d", a.Epoch, a.Batch) }

// ParseAnchor parses <epoch>/<batch>.
func ParseAnchor(s string) (Anchor, error) {
	epoch, batch, ok := strings.Cut(s, "/")
	e, epochErr := strconv.ParseUint(epoch, 10, 14)
	b, batchErr := strconv.ParseUint(batch, 10, 40)
	if !ok || epochErr != nil || batchErr != nil || e == 0 || e > seal.MaxEpoch {
		return Anchor{}, fmt.Errorf("%q is not <epoch>/<batch>, such as 0001/42", s)
	}
	return Anchor{Epoch: int(e), Batch: b}, nil
}

// parseStart parses where a log may begin: "" with its first epoch, "any", or an anchor.
func parseStart(s string) ([]Anchor, error) {
	if s == "" || s == StartAnywhere {
		return nil, nil
	}
	a, err := ParseAnchor(s)
	if err != nil {
		return nil, fmt.Errorf("start: %w, nor %q", err, StartAnywhere)
	}
	return []Anchor{a}, nil
}

// anchored tells whether the log may go on at a place.
func (e *Enrolment) anchored(at Anchor) bool { return slices.Contains(e.Anchors, at) }

// anchorBehind returns the first anchor of an epoch at or behind a batch.
func (e *Enrolment) anchorBehind(epoch int, batch uint64) (uint64, bool) {
	found, ok := uint64(0), false
	for _, a := range e.Anchors {
		if a.Epoch == epoch && a.Batch >= batch && (!ok || a.Batch < found) {
			found, ok = a.Batch, true
		}
	}
	return found, ok
}

// mayStart tells whether the log may go on at a place that does not follow on
// what is stored.
func (e *Enrolment) mayStart(at Anchor) bool { return e.anchored(at) || e.Start == StartAnywhere }

// begin writes down where a log that may begin anywhere does begin. The caller
// holds the log's turn and has verified the manifest there.
func (s *Server) begin(ctx context.Context, a *agentLog, at Anchor) error {
	if a.enrolment.Start != StartAnywhere {
		return nil
	}
	changed, err := s.registry.change(ctx, a.log.Agent, func(e *Enrolment) error {
		if e.Start == StartAnywhere { // else another server was first, here or elsewhere
			e.Start, e.Anchors = "", append(slices.Clone(e.Anchors), at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.enrolment = changed
	s.logger.InfoContext(ctx, "the log begins here", "log", a.log.String(), "at", at.String())
	return nil
}

// resume verifies a manifest file at which the log may go on without the one
// before it, and returns the chain behind it. Only its identity signature ties it
// to the log.
func (s *Server) resume(ctx context.Context, a *agentLog, e *epoch, at Anchor, file []byte) (*seal.Chain, *seal.Manifest, error) {
	chain := e.chain.Clone()
	m, err := chain.Resume(file)
	if err == nil && m.Batch != at.Batch {
		err = fmt.Errorf("it is the manifest of batch %d", m.Batch)
	}
	if err != nil {
		return nil, nil, refuse(http.StatusUnprocessableEntity, "manifest %d does not verify: %s", at.Batch, err)
	}
	if err := s.begin(ctx, a, at); err != nil {
		return nil, nil, err
	}
	if !a.enrolment.mayStart(at) {
		return nil, nil, later(http.StatusServiceUnavailable, retrySoon, nil, "another request let the log begin elsewhere at the same time")
	}
	return chain, m, nil
}

// AddAnchor lets an agent's log go on at a place although what comes before is
// not stored.
func AddAnchor(ctx context.Context, c Config, d Deps, agent string, at Anchor) error {
	return changeEnrolment(ctx, c, d, agent, "anchor at "+at.String(), func(e *Enrolment) error {
		if e.anchored(at) {
			return fmt.Errorf("%s has this anchor already", e.Log)
		}
		e.Anchors = append(e.Anchors, at)
		return nil
	})
}

// Revoke ends what an agent may write, at once. Its log stays.
func Revoke(ctx context.Context, c Config, d Deps, agent string) error {
	return changeEnrolment(ctx, c, d, agent, "revoked", func(e *Enrolment) error {
		if e.revoked() {
			return fmt.Errorf("%s was revoked on %s", e.Log, e.Revoked.Format("2006-01-02"))
		}
		e.Revoked = d.Now().UTC()
		return nil
	})
}

// Restore takes a revocation back.
func Restore(ctx context.Context, c Config, d Deps, agent string) error {
	return changeEnrolment(ctx, c, d, agent, "restored", func(e *Enrolment) error {
		if !e.revoked() {
			return fmt.Errorf("%s was not revoked", e.Log)
		}
		e.Revoked = time.Time{}
		return nil
	})
}

// NewToken gives an agent another bearer token; the one it had ends. The token is
// written to tokenFile first when that is not empty.
func NewToken(ctx context.Context, c Config, d Deps, agent, tokenFile string) (token string, err error) {
	token = newToken(agentToken, agent)
	err = changeEnrolment(ctx, c, d, agent, "token replaced", func(e *Enrolment) error {
		e.token = tokenDigest(token)
		if tokenFile != "" {
			return writeToken(d.FS, tokenFile, token)
		}
		return nil
	})
	return token, err
}

// changeEnrolment changes an enrolment on the operator's behalf. What is done is
// recorded before it is.
func changeEnrolment(ctx context.Context, c Config, d Deps, agent, what string, change func(*Enrolment) error) error {
	p, err := openPlaces(ctx, c, d, false)
	if err != nil {
		return err
	}
	return p.changeEnrolment(ctx, d, agent, what, change)
}

func (p *places) changeEnrolment(ctx context.Context, d Deps, agent, what string, change func(*Enrolment) error) error {
	if !seal.ValidName(agent) {
		return fmt.Errorf("agent %q is no name", agent)
	}
	_, err := p.registry.change(ctx, agent, func(e *Enrolment) error {
		if err := change(e); err != nil {
			return err
		}
		return d.record(ctx, Event{Event: "auth.key", Log: e.Log.String(), Detail: what})
	})
	if errors.Is(err, errUnknown) {
		return fmt.Errorf("agent %q is not enrolled", agent)
	}
	return err
}
