package catalog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// stateVersion is the version of what state returns; another one is not read.
const stateVersion = 1

// maxState bounds the state: it is committed with every refresh.
const maxState = 256 << 10

// maxAge is how long the history of a name is kept that is not seen any more.
const maxAge = 30 * 24 * time.Hour

// saved is the state as it is committed.
type saved struct {
	Version   int            `json:"v"`
	Subjects  []savedSubject `json:"subjects,omitempty"`
	Open      []savedOpen    `json:"open,omitempty"`
	Refs      []string       `json:"refs,omitempty"`
	Conflicts []string       `json:"conflicts,omitempty"`
	Calls     []call         `json:"calls,omitempty"`
}

type savedSubject struct {
	Scope    string      `json:"scope,omitempty"`
	Name     string      `json:"name"`
	Target   string      `json:"target,omitempty"`
	Aliases  []string    `json:"aliases,omitempty"`
	Provider string      `json:"provider,omitempty"`
	Single   bool        `json:"single,omitempty"`
	Spans    []savedSpan `json:"spans"`
	Recent   ranges      `json:"recent,omitempty"`
}

type savedSpan struct {
	From      time.Time           `json:"from"`
	Confirmed time.Time           `json:"confirmed"`
	Process   string              `json:"process,omitempty"`
	Layers    map[string][]string `json:"layers"` // by basis, facts in their order
	Server    string              `json:"server,omitempty"`
	Version   string              `json:"version,omitempty"`
	Ended     bool                `json:"ended,omitempty"`
	Told      bool                `json:"told,omitempty"`
}

type savedOpen struct {
	Input  string `json:"input"`
	Name   string `json:"name"`
	Ranges ranges `json:"ranges"`
}

// state returns what Restore takes. When it would be too large, history is left
// out first, then the names that were not seen for longest. s.mu is held.
func (s *Store) state() []byte {
	subjects := len(s.subjects)
	for spans := maxSpans; ; spans = max(spans/4, 1) {
		data, err := json.Marshal(s.save(subjects, spans, spans == maxSpans))
		if err != nil {
			panic("catalog: " + err.Error()) // texts, numbers and times always encode
		}
		if len(data) <= maxState || subjects == 0 {
			return data
		}
		if spans == 1 {
			subjects /= 2
		}
	}
}

// save makes the state of the newest subjects. s.mu is held.
func (s *Store) save(subjects, spans int, all bool) *saved {
	out := &saved{Version: stateVersion}
	oldest := s.deps.Now().Add(-maxAge)
	list := slices.SortedFunc(maps.Values(s.subjects), func(a, b *subject) int {
		return cmp.Or(b.newest().Compare(a.newest()), cmp.Compare(a.scope, b.scope), cmp.Compare(a.name, b.name), cmp.Compare(a.target, b.target))
	})
	for _, of := range list[:min(subjects, len(list))] {
		if of.newest().Before(oldest) {
			continue
		}
		one := savedSubject{
			Scope: of.scope, Name: of.name, Target: of.target, Aliases: of.aliases, Provider: of.provider, Single: of.single, Recent: of.recent,
		}
		for _, p := range of.timeline.Spans[max(0, len(of.timeline.Spans)-spans):] {
			one.Spans = append(one.Spans, p.save())
		}
		out.Subjects = append(out.Subjects, one)
	}
	if !all {
		return out
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.open), func(a, b openKey) int {
		return cmp.Or(cmp.Compare(a.input, b.input), cmp.Compare(a.name, b.name))
	}) {
		out.Open = append(out.Open, savedOpen{Input: key.input, Name: key.name, Ranges: s.open[key]})
	}
	out.Refs = slices.Sorted(maps.Keys(s.refs))
	out.Conflicts = slices.Sorted(maps.Keys(s.conflicts))
	out.Calls = s.ledger.save()
	return out
}

func (of *subject) newest() time.Time {
	if last := of.timeline.last(); last != nil {
		return last.Confirmed
	}
	return time.Time{}
}

func (p *span) save() savedSpan {
	out := savedSpan{
		From: p.From.UTC(), Confirmed: p.Confirmed.UTC(), Process: p.Process, Server: p.Server, Version: p.Version,
		Ended: p.Ended, Told: p.Told, Layers: map[string][]string{},
	}
	for _, l := range p.Layers {
		var texts []string
		for _, text := range l.facts {
			texts = append(texts, string(text))
		}
		out.Layers[l.basis.String()] = texts
	}
	return out
}

func (l *ledger) save() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls[max(0, len(l.calls)-maxCalls/4):])
}

// Inherit goes on with what another store knows, and with the events that it has
// not recorded. It is called before Run, when the other one does not run any more.
func (s *Store) Inherit(from *Store) error {
	from.mu.Lock()
	state, pending := from.state(), from.pending
	from.mu.Unlock()
	if err := s.Restore(state); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, pending...)
	s.dirty = s.dirty || len(pending) > 0
	return nil
}

// Restore goes on with the state that an earlier run committed. Call it before
// Run.
func (s *Store) Restore(state []byte) error {
	var in saved
	if err := json.Unmarshal(state, &in); err != nil {
		return fmt.Errorf("read state of the model catalog: %w", err)
	}
	if in.Version != stateVersion {
		return fmt.Errorf("read state of the model catalog: version %d, want %d", in.Version, stateVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range in.Subjects {
		one := &in.Subjects[i]
		of := &subject{
			subjectKey: subjectKey{scope: one.Scope, name: one.Name, target: one.Target}, aliases: one.Aliases, provider: one.Provider,
			single: one.Single, recent: one.Recent, declared: s.declared(one.Scope, one.Name),
		}
		for j := range one.Spans {
			of.timeline.Spans = append(of.timeline.Spans, one.Spans[j].restore())
		}
		if len(of.timeline.Spans) > 0 && len(s.subjects) < maxSubjects {
			s.subjects[of.subjectKey] = of
		}
	}
	for _, o := range in.Open {
		s.open[openKey{input: o.Input, name: o.Name}] = o.Ranges
	}
	for _, ref := range in.Refs {
		s.learn(s.refs, ref)
	}
	for _, pair := range in.Conflicts {
		s.learn(s.conflicts, pair)
	}
	for _, c := range in.Calls {
		s.ledger.add(c)
	}
	for _, c := range s.catalogs {
		s.publish(c)
	}
	return nil
}

func (in *savedSpan) restore() span {
	out := span{
		From: in.From, Confirmed: in.Confirmed, Process: in.Process, Server: in.Server, Version: in.Version, Ended: in.Ended, Told: in.Told,
	}
	for name, texts := range in.Layers {
		l := layer{basis: basisOf([]byte(name))}
		for i, text := range texts[:min(len(texts), factCount)] {
			if text != "" {
				l.facts[i] = []byte(text)
			}
		}
		out.Layers = append(out.Layers, l)
	}
	slices.SortFunc(out.Layers, func(a, b layer) int { return cmp.Compare(b.basis, a.basis) })
	return out
}
