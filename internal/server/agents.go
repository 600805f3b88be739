package server

import (
	"context"
	"fmt"
	"slices"
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
	Anchors []Anchor `json:"anchors,omitempty"`
	// LaterKeys were added behind Key for a log that is only witnessed.
	LaterKeys []LaterKey `json:"later_keys,omitempty"`
	Epoch     int        `json:"epoch"`      // newest, 0 before the first object
	NextBatch uint64     `json:"next_batch"` // of the newest epoch
	// LastSealed and NextBy are those of the newest manifest; NextBy is zero
	// when it closed the log. LastReceived is when that was stored, by the clock of
	// the store.
	LastSealed   time.Time `json:"last_sealed,omitzero"`
	LastReceived time.Time `json:"last_received,omitzero"`
	NextBy       time.Time `json:"next_by,omitzero"`
	// Late: NextBy has passed, or nothing was received for longer than the server
	// waits, whatever the agent's own word is.
	Late bool `json:"late"`
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
	return p.agents(ctx, d.Now(), nil)
}

// agents looks at all agents. What was seen of them before, by log, saves looks.
func (p *places) agents(ctx context.Context, now time.Time, seen map[string]AgentStatus) ([]AgentStatus, error) {
	enrolments, err := p.registry.list(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := p.kept(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]AgentStatus, len(enrolments))
	err = p.store.each(len(enrolments), func(i int) (err error) {
		e := enrolments[i]
		found[i] = AgentStatus{Log: e.Log.String(), Key: seal.VKey(e.Log.String(), e.Key), Enrolled: e.Enrolled, Revoked: e.Revoked, Anchors: e.Anchors, LaterKeys: e.Later}
		if before, ok := seen[found[i].Log]; ok && before.Key == found[i].Key {
			found[i].take(&before)
		}
		found[i].Forks = kept.forks[e.Log.Agent]
		if kept.owed[e.Log.Agent] > 0 {
			if found[i].Owed, err = p.countOwed(ctx, e.Log); err != nil {
				return err
			}
		}
		return p.status(ctx, e, &found[i], now)
	})
	return found, err
}

// take takes over how far the log was at an earlier look.
func (a *AgentStatus) take(b *AgentStatus) {
	a.Epoch, a.NextBatch, a.Unclosed = b.Epoch, b.NextBatch, b.Unclosed
	a.LastSealed, a.LastReceived, a.NextBy = b.LastSealed, b.LastReceived, b.NextBy
}

// kept counts what is kept about agents, by agent, in two walks: usually there is
// nothing.
func (p *places) kept(ctx context.Context) (counts struct{ forks, owed map[string]int }, err error) {
	count := func(folder string) (map[string]int, error) {
		byAgent := make(map[string]int)
		return byAgent, all(ctx, p.state, folder, func(o ListedObject) error {
			agent, _, _ := strings.Cut(strings.TrimPrefix(o.Path, folder), "/")
			byAgent[agent]++
			return nil
		})
	}
	if counts.forks, err = count(forksFolder); err == nil {
		counts.owed, err = count(owedFolder)
	}
	return counts, err
}

// status brings what is known of a log up to date with the store.
func (p *places) status(ctx context.Context, e *Enrolment, status *AgentStatus, now time.Time) error {
	defer func() { status.State = status.words(now) }()
	status.Late = p.late(status, now)
	if p.bucket != nil && status.Epoch > 0 && !status.Late && !status.NextBy.IsZero() {
		return nil // a look costs requests, and it is not due yet
	}
	for epoch := max(status.Epoch, e.firstEpoch()); epoch <= seal.MaxEpoch; epoch++ {
		origin, from := seal.Origin{Log: e.Log, Epoch: epoch}, uint64(0)
		if epoch == status.Epoch {
			from = status.NextBatch
		}
		size, err := p.size(ctx, e, origin, from)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if epoch == status.Epoch && size == from {
			continue
		}
		last, err := p.manifest(ctx, origin, size-1)
		if err != nil {
			return err
		}
		if status.LastReceived, err = p.store.arrived(ctx, origin.ManifestPath(size-1)); err != nil {
			return err
		}
		if status.Epoch > 0 && epoch > status.Epoch && !status.NextBy.IsZero() {
			status.Unclosed = append(slices.Clone(status.Unclosed), epoch-1)
		}
		status.Epoch, status.NextBatch, status.LastSealed, status.NextBy = epoch, size, last.Sealed, last.NextBy
	}
	status.Late = p.late(status, now)
	return nil
}

// late tells whether an agent is overdue: by its own word, or by the server's.
func (p *places) late(a *AgentStatus, now time.Time) bool {
	return !a.NextBy.IsZero() && (now.After(a.NextBy) || p.maxSilence > 0 && now.Sub(a.LastReceived) > p.maxSilence)
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
func (a *AgentStatus) words(now time.Time) string {
	var words []string
	switch {
	case !a.Revoked.IsZero():
		words = append(words, "revoked")
	case a.Epoch == 0:
		words = append(words, "nothing received")
	case a.Late:
		words = append(words, "LATE, last received "+silentFor(now.Sub(a.LastReceived))+" ago")
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
// find the end. So many as from are known to be.
func (p *places) size(ctx context.Context, e *Enrolment, origin seal.Origin, from uint64) (uint64, error) {
	known := from > 0
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
	if n == 0 && !known || err != nil {
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

// silentFor spells a time in the unit that an operator thinks in.
func silentFor(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", max(0, d)/time.Second)
}
