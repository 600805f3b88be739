package catalog

import (
	"slices"
	"time"
)

// sightSlack is how long before the first question the answer counts: the line
// that gave rise to it was written by then.
const sightSlack = 5 * time.Second

// Bounds of what is remembered of one name.
const (
	maxSpans  = 16
	maxRanges = 32 // of records that a later event may have to name
)

// span is a stretch of time in which a name meant one version.
type span struct {
	From      time.Time // start of the server process, or when it was first seen
	Confirmed time.Time // when it was last seen
	Process   string    // identity of the process; empty when unknown
	Layers    []layer
	Server    string // software and its version
	Version   string
	Ended     bool // the name was seen to mean something else, or nothing
	Told      bool // that it differs from the span before was recorded
	Pending   bool // weights are being hashed: it may yet turn out to differ
}

func (s *span) merged() merged { return merge(s.Layers...) }

// observation is what was seen of a name at one time.
type observation struct {
	at      time.Time
	asked   time.Time // when the question was put; zero: at
	process string
	from    time.Time // since when it has been so; zero: nobody knows
	layers  []layer
	server  string
	version string
	pending bool
}

// change is a difference between two spans that was not known before.
type change struct {
	before, after *span
}

// timeline is the history of a name, oldest first. Spans do not overlap.
type timeline struct {
	Spans []span
}

// last returns the newest span, or nil.
func (t *timeline) last() *span {
	if len(t.Spans) == 0 {
		return nil
	}
	return &t.Spans[len(t.Spans)-1]
}

// observe takes an observation in. It returns the change that it reveals, if any.
func (t *timeline) observe(o observation) *change {
	current := t.last()
	switch {
	case current == nil || current.Ended:
		t.begin(o)
	case current.Process == o.process && !t.contradicts(current, o):
		t.confirm(current, o)
	case t.equal(current, o):
		t.confirm(current, o) // another process of the same version
		current.Process = o.process
		current.Layers = o.layers
	default:
		current.Ended = true
		t.begin(o)
	}
	return t.changed()
}

// absent notes that the name means nothing any more.
func (t *timeline) absent() {
	if current := t.last(); current != nil {
		current.Ended = true
	}
}

func (t *timeline) contradicts(current *span, o observation) bool {
	old, seen := current.merged(), merge(o.layers...)
	return disagreement(&old.facts, &seen.facts) >= 0
}

// equal tells whether an observation says the same as the span, no less.
func (t *timeline) equal(current *span, o observation) bool {
	old, seen := current.merged(), merge(o.layers...)
	for i := range factCount {
		if string(old.facts[i]) != string(seen.facts[i]) {
			return false
		}
	}
	return true
}

// confirm takes in an observation of the version that the span holds. What was
// known of the process stays known: a digest is not lost because the file was
// replaced after the process had loaded it.
func (t *timeline) confirm(current *span, o observation) {
	current.Confirmed = o.at
	current.Server, current.Pending = o.server, o.pending
	if o.version != "" {
		current.Version = o.version
	}
	for _, seen := range o.layers {
		at := slices.IndexFunc(current.Layers, func(l layer) bool { return l.basis == seen.basis })
		if at < 0 {
			current.Layers = append(current.Layers, seen)
			continue
		}
		for i, text := range seen.facts {
			if text != nil {
				current.Layers[at].facts[i] = text
			}
		}
	}
}

// begin starts a span. It begins behind the last confirmation of the one
// before: what was confirmed stays.
func (t *timeline) begin(o observation) {
	s := span{
		From: o.from, Confirmed: o.at, Process: o.process, Layers: o.layers, Server: o.server, Version: o.version, Pending: o.pending,
	}
	before := t.last()
	switch {
	case before != nil && !s.From.After(before.Confirmed), s.From.After(o.at):
		s.From = o.at // something changed inside the running process
	case s.From.IsZero():
		s.From = o.asked.Add(-sightSlack)
	}
	t.Spans = append(t.Spans, s)
	if len(t.Spans) > maxSpans {
		t.Spans = slices.Delete(t.Spans, 0, len(t.Spans)-maxSpans)
	}
}

// changed tells, once, that the newest span differs from the one before.
func (t *timeline) changed() *change {
	if len(t.Spans) < 2 {
		return nil
	}
	before, after := &t.Spans[len(t.Spans)-2], &t.Spans[len(t.Spans)-1]
	old, now := before.merged(), after.merged()
	if after.Told || disagreement(&old.facts, &now.facts) < 0 {
		return nil
	}
	after.Told = true
	return &change{before: before, after: after}
}
