package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/auditail/auditail/internal/probe"
)

// Weights knows what lies in the files that a server loads.
type Weights interface {
	// Run looks at the files until ctx ends, and calls changed when there is
	// something new to know.
	Run(ctx context.Context, changed func())
	// Look returns what is known of a file or folder now, without touching it.
	Look(path string) WeightsState
}

// WeightsState is what is known of weights. Empty members are unknown.
type WeightsState struct {
	Known   bool      // they were looked at
	Pending bool      // they are being hashed
	Digest  string    // of their bytes, with its prefix
	Changed time.Time // newest change to them, or to what leads to them

	// What a manifest beside them, or the names they have, says of them.
	ID, Version, Revision, Claimed string
}

// observe takes in what a target says about the names of a link. s.mu is held.
func (s *Store) observe(t *target, l link, answer probe.Answer, asked, now time.Time) {
	listed := map[string]bool{}
	for i := range answer.Models {
		m := &answer.Models[i]
		name := m.Name
		if l.entry != nil {
			name = l.entry.Name
			if m.Name != name && !slices.Contains(m.Aliases, name) {
				continue
			}
		}
		of := s.subject(l, name, t.question.Target.String())
		if of == nil {
			continue
		}
		listed[name] = true
		of.single = answer.Single
		if l.entry == nil {
			of.aliases = m.Aliases
		}
		if of.provider == "" {
			of.provider = string(t.question.Target.Kind)
		}
		o := observation{
			at: now, asked: asked, process: t.process.Identity, from: t.process.Last, server: answer.Server, version: answer.Version,
			layers: []layer{{basis: Probe, facts: factsOf(m.ID, m.Version, m.Revision, m.Digest, m.Adapter, m.Config)}},
		}
		if m.Modified.After(o.from) && !m.Modified.After(now) {
			o.from = m.Modified
		}
		if of.declared != nil && of.declared.Weights != "" {
			s.addWeights(&o, of.declared.Weights, t.process)
		}
		s.take(of, o)
	}
	for key, of := range s.subjects {
		if key.scope == l.scope && key.target == t.question.Target.String() && !listed[key.name] && (l.entry != nil && l.entry.Name == key.name || l.entry == nil && of.declared == nil) {
			of.timeline.absent()
		}
	}
}

// subject returns that of a name, making it when there is room. s.mu is held.
func (s *Store) subject(l link, name, target string) *subject {
	key := subjectKey{scope: l.scope, name: name, target: target}
	found := s.subjects[key]
	if found == nil {
		if len(s.subjects) >= maxSubjects {
			return nil
		}
		found = &subject{subjectKey: key}
		s.subjects[key] = found
	}
	found.declared = l.entry
	if found.declared == nil {
		found.declared = s.declared(l.scope, name)
	}
	found.provider = ""
	if found.declared != nil {
		found.provider = found.declared.Provider
	}
	for _, c := range s.catalogs {
		if found.provider == "" && c.input == l.scope {
			found.provider = c.provider
		}
	}
	return found
}

// declared returns the entry of a name for an input, or for all.
func (s *Store) declared(scope, name string) *Entry {
	var found *Entry
	for i := range s.config.Entries {
		e := &s.config.Entries[i]
		if e.Name == name && (e.Input == scope || e.Input == "" && found == nil) {
			found = e
		}
	}
	return found
}

// observeWeights takes in what lies in the files of entries that no server is
// asked for. Nobody knows then which process loaded them. s.mu is held.
func (s *Store) observeWeights() {
	if s.deps.Weights == nil {
		return
	}
	seen := false
	for i := range s.config.Entries {
		e := &s.config.Entries[i]
		if e.Weights == "" || s.served(e) {
			continue
		}
		now := s.deps.Now()
		o := observation{at: now, asked: now}
		if s.addWeights(&o, e.Weights, probe.Process{}); len(o.layers) == 0 {
			continue
		}
		if of := s.subject(link{scope: e.Input, entry: e}, e.Name, ""); of != nil {
			if of.provider == "" {
				of.provider = UnknownProvider
			}
			s.take(of, o)
			seen = true
		}
	}
	if seen {
		s.changed()
	}
}

// addWeights adds what the files on the disk say to an observation. They are
// what a process loaded only when nothing of them changed since it started:
// otherwise what was known of the process before stays.
func (s *Store) addWeights(o *observation, path string, process probe.Process) {
	if s.deps.Weights == nil {
		return
	}
	w := s.deps.Weights.Look(path)
	o.pending = w.Pending
	if !w.Known || process.Identity != "" && w.Changed.After(process.First) {
		return
	}
	beside := factsOf(w.ID, w.Version, w.Revision, w.Claimed, "", "")
	switch {
	case w.Digest == "":
	case process.Identity != "":
		o.layers = append(o.layers, layer{basis: Digest, facts: factsOf("", "", "", w.Digest, "", "")})
	default:
		beside[factDigest] = []byte(w.Digest) // of files that somebody may have loaded
	}
	if !beside.empty() {
		o.layers = append(o.layers, layer{basis: Manifest, facts: beside})
	}
}

// take adds an observation to a subject's history and has recorded what is new.
// s.mu is held.
func (s *Store) take(of *subject, o observation) {
	change := of.timeline.observe(o)
	current := of.timeline.last()
	k := &known{subject: of, name: of.name, declared: of.declared, provider: of.provider}
	if of.declared != nil {
		k.layer = of.declared.layer()
	}
	spans := viewSpans(&of.timeline, k.layer)
	now := s.observed(k, &spans[0], o.at)
	switch {
	case change != nil:
		before := &spans[1]
		var doubtful ranges
		doubtful, of.recent = of.recent.split(func(r seqRange) bool { return r.High > before.confirmed })
		now.update(before.merged.facts.ref(of.provider), change.before.Confirmed, change.after.From)
		now.Seqs = doubtful.texts()
		s.learn(s.refs, now.To)
		s.emit(now)
	case now.Basis > Unresolved && s.learn(s.refs, now.To):
		s.emit(now)
	}
	if now.Basis > Declared {
		s.conflict(k, &now)
	}
	if !current.Pending {
		_, of.recent = of.recent.split(func(r seqRange) bool { return r.High <= current.Confirmed.UnixNano() })
	}
}
