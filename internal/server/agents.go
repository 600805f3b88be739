package server

import (
	"fmt"
	"time"

	"github.com/auditail/auditail/seal"
)

// AgentStatus is what the store holds of an agent's log. It says what is
// stored; that it is whole, auditail-verify proves.
type AgentStatus struct {
	Log       string    `json:"log"`
	Key       string    `json:"key"`
	Enrolled  time.Time `json:"enrolled"`
	Epoch     int       `json:"epoch"`      // newest, 0 before the first object
	NextBatch uint64    `json:"next_batch"` // of the newest epoch
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
func Agents(c Config, d Deps) ([]AgentStatus, error) {
	p, err := openPlaces(c, d, false)
	if err != nil {
		return nil, err
	}
	enrolments, err := p.registry.list()
	if err != nil {
		return nil, err
	}
	all := make([]AgentStatus, 0, len(enrolments))
	for _, e := range enrolments {
		status, err := p.status(e, d.Now())
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

func (p *places) status(e *Enrolment, now time.Time) (AgentStatus, error) {
	status := AgentStatus{Log: e.Log.String(), Key: seal.VKey(e.Log.String(), e.Key), Enrolled: e.Enrolled}
	var err error
	if status.Forks, err = p.countForks(e.Log.Agent); err != nil {
		return status, err
	}
	if status.Owed, err = p.countOwed(e.Log.Agent); err != nil {
		return status, err
	}
	for epoch := 1; epoch <= seal.MaxEpoch; epoch++ {
		origin := seal.Origin{Log: e.Log, Epoch: epoch}
		size, err := p.store.size(origin)
		if err != nil {
			return status, err
		}
		if size == 0 {
			return status, nil
		}
		last, err := p.store.manifest(origin, size-1)
		if err != nil {
			return status, err
		}
		if epoch > 1 && !status.NextBy.IsZero() {
			status.Unclosed = append(status.Unclosed, epoch-1)
		}
		status.Epoch, status.NextBatch, status.LastSealed, status.NextBy = epoch, size, last.Sealed, last.NextBy
		status.Late = !last.NextBy.IsZero() && now.After(last.NextBy)
	}
	return status, nil
}

// manifest returns a stored manifest, its signatures unverified.
func (s *store) manifest(origin seal.Origin, batch uint64) (*seal.Manifest, error) {
	path := origin.ManifestPath(batch)
	file, err := s.read(path)
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

// size returns the number of manifests stored of an epoch. They have no holes,
// so a few looks find the end.
func (s *store) size(origin seal.Origin) (uint64, error) {
	low, high := uint64(0), uint64(1) // low are stored; high-1 is not, once the first loop ends
	for {
		ok, err := s.exists(origin.ManifestPath(high - 1))
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
		ok, err := s.exists(origin.ManifestPath(middle - 1))
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
