package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// AgentStatus is what the store holds of an agent's log. It says what is
// stored; that it is whole, auditail-verify proves.
type AgentStatus struct {
	Log      string    `json:"log"`
	State    string    `json:"state"` // what an operator should know, in words
	Key      string    `json:"key"`
	Enrolled time.Time `json:"enrolled"`
	Revoked  time.Time `json:"revoked,omitzero"`
	// Anchors are where the stored log goes on without what comes before.
	Anchors   []Anchor `json:"anchors,omitempty"`
	Epoch     int      `json:"epoch"`      // newest, 0 before the first object
	NextBatch uint64   `json:"next_batch"` // of the newest epoch
	// LastSealed and NextBy are those of the newest manifest; NextBy is zero
	// when it closed the log.
	LastSealed time.Time `json:"last_sealed,omitzero"`
	NextBy     time.Time `json:"next_by,omitzero"`
	Late       bool      `json:"late"`
	// Unclosed are the epochs that ended without close and were followed by another.
	Unclosed []int `json:"unclosed_epochs,omitempty"`
	Forks    int   `json:"forks"` // contradictions kept as evidence
	// Owed are the payloads that were refused for good and that the agent still
	// has in quarantine.
	Owed int `json:"payloads_owed"`
}

// Agents lists the enrolled agents, ordered by name, without a running server.
func Agents(ctx context.Context, c Config, d Deps) ([]AgentStatus, error) {
	p, err := openPlaces(ctx, c, d, false)
	if err != nil {
		return nil, err
	}
	return p.agents(ctx, d.Now())
}

func (p *places) agents(ctx context.Context, now time.Time) ([]AgentStatus, error) {
	enrolments, err := p.registry.list(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]AgentStatus, 0, len(enrolments))
	for _, e := range enrolments {
		status, err := p.status(ctx, e, now)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

func (p *places) status(ctx context.Context, e *Enrolment, now time.Time) (AgentStatus, error) {
	status := AgentStatus{Log: e.Log.String(), Key: seal.VKey(e.Log.String(), e.Key), Enrolled: e.Enrolled, Revoked: e.Revoked, Anchors: e.Anchors}
	var err error
	if status.Forks, err = p.countForks(ctx, e.Log.Agent); err != nil {
		return status, err
	}
	if status.Owed, err = p.countOwed(ctx, e.Log); err != nil {
		return status, err
	}
	for epoch := e.firstEpoch(); epoch <= seal.MaxEpoch; epoch++ {
		origin := seal.Origin{Log: e.Log, Epoch: epoch}
		size, err := p.size(ctx, e, origin)
		if err != nil {
			return status, err
		}
		if size == 0 {
			break
		}
		last, err := p.manifest(ctx, origin, size-1)
		if err != nil {
			return status, err
		}
		if status.Epoch > 0 && !status.NextBy.IsZero() {
			status.Unclosed = append(status.Unclosed, epoch-1)
		}
		status.Epoch, status.NextBatch, status.LastSealed, status.NextBy = epoch, size, last.Sealed, last.NextBy
		status.Late = !last.NextBy.IsZero() && now.After(last.NextBy)
	}
	status.State = status.words()
	return status, nil
}

// manifest returns a stored manifest, its signatures unverified.
func (p *places) manifest(ctx context.Context, origin seal.Origin, batch uint64) (*seal.Manifest, error) {
	path := origin.ManifestPath(batch)
	file, _, err := p.store.read(ctx, path)
	if err != nil {
		return nil, err
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	m, err := seal.ParseText(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// words sums up what an operator should look at.
func (a *AgentStatus) words() string {
	var words []string
	switch {
	case !a.Revoked.IsZero():
		words = append(words, "revoked")
	case a.Epoch == 0:
		words = append(words, "nothing received")
	case a.Late:
		words = append(words, "LATE")
	case a.NextBy.IsZero():
		words = append(words, "closed")
	default:
		words = append(words, "on time")
	}
	if a.Forks > 0 {
		words = append(words, "FORKED")
	}
	if a.Owed > 0 {
		words = append(words, fmt.Sprintf("%d payloads owed", a.Owed))
	}
	for _, epoch := range a.Unclosed {
		words = append(words, fmt.Sprintf("epoch %04d not closed", epoch))
	}
	for _, at := range a.Anchors {
		words = append(words, fmt.Sprintf("nothing before %s", at))
	}
	return strings.Join(words, ", ")
}

// firstEpoch is the epoch that the stored log begins with.
func (e *Enrolment) firstEpoch() int {
	first := 1
	for i, a := range e.Anchors {
		if i == 0 || a.Epoch < first {
			first = a.Epoch
		}
	}
	return first
}

// size returns the number behind the newest manifest stored of an epoch, 0 for
// none. Behind the last anchor that is stored they have no holes, so a few looks
// find the end.
func (p *places) size(ctx context.Context, e *Enrolment, origin seal.Origin) (uint64, error) {
	from := uint64(0)
	for _, a := range e.Anchors {
		if a.Epoch != origin.Epoch || a.Batch <= from {
			continue
		}
		ok, err := p.store.exists(ctx, origin.ManifestPath(a.Batch))
		if err != nil {
			return 0, err
		}
		if ok {
			from = a.Batch
		}
	}
	n, err := p.run(ctx, origin, from)
	if n == 0 || err != nil {
		return 0, err
	}
	return from + n, nil
}

// run returns the number of manifests stored one after the other from a batch on.
func (p *places) run(ctx context.Context, origin seal.Origin, from uint64) (uint64, error) {
	low, high := uint64(0), uint64(1) // low are stored; the one at high-1 is not, once the first loop ends
	for {
		ok, err := p.store.exists(ctx, origin.ManifestPath(from+high-1))
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, 2*high
	}
	for low+1 < high {
		middle := low + (high-low)/2
		ok, err := p.store.exists(ctx, origin.ManifestPath(from+middle-1))
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}
