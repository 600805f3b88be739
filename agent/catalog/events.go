package catalog

import (
	"time"

	"github.com/auditail/auditail/audit"
)

// Event is something that became known about a model: a record of its own.
type Event struct {
	Event    string // model.deploy, model.update, model.resolve or model.conflict
	At       time.Time
	Severity int64

	Name, Provider     string
	Basis              Basis
	Sensitivity, Owner string
	Server, Version    string // software and its version

	From, To      string // references
	After, Before time.Time
	Seqs          []string
	Ticket        string

	approved bool // it is the version that is declared
	facts    facts
	evidence [factCount]Basis // of each fact
}

// Fill writes the event into an empty record.
func (e *Event) Fill(r *audit.Record) {
	r.SetString(audit.Event, e.Event)
	r.SetString(audit.Outcome, "success")
	r.SetInt(audit.Severity, e.Severity)
	r.SetString(audit.ActorType, "unknown")
	r.SetString(audit.ModelName, e.Name)
	r.SetString(audit.ModelProvider, e.Provider)
	for i, text := range e.facts {
		r.SetText(factFields[i], text)
	}
	r.SetString(audit.ModelBasis, e.Basis.String())
	if e.Basis > Unresolved {
		r.SetString(audit.ModelRef, e.To)
	}
	r.SetString(audit.ModelSensitivity, e.Sensitivity)
	r.SetString(audit.ModelOwner, e.Owner)
	r.SetString(audit.APIServer, e.Server)
	r.SetString(audit.APIServerVersion, e.Version)
	r.SetString(audit.ChangeWhat, e.Provider+"/"+e.Name)
	r.SetString(audit.ChangeFrom, e.From)
	r.SetString(audit.ChangeTo, e.To)
	if !e.After.IsZero() {
		r.SetTime(audit.ChangeAfter, e.After.UTC())
	}
	if !e.Before.IsZero() {
		r.SetTime(audit.ChangeBefore, e.Before.UTC())
	}
	r.SetStrings(audit.ChangeSeqs, e.Seqs...)
	r.SetString(audit.ChangeTicket, e.Ticket)
	if e.Event == "model.update" {
		r.Flag(audit.ActorUnverified)
	}
	r.SetJSON(audit.Extra, e.extra())
}

// extra says which evidence each part of the version rests on:
// {"evidence":{"revision":"probe"}}.
func (e *Event) extra() []byte {
	var b []byte
	for i, basis := range e.evidence {
		if basis == Unresolved {
			continue
		}
		if b == nil {
			b = append(b, `{"evidence":{`...)
		} else {
			b = append(b, ',')
		}
		b = append(audit.AppendString(b, factNames[i]), ':')
		b = audit.AppendString(b, basis.String())
	}
	if b == nil {
		return nil
	}
	return append(b, '}', '}')
}

// describe takes what belongs to the name.
func (e *Event) describe(k *known) {
	if d := k.declared; d != nil {
		e.Sensitivity, e.Owner = d.Sensitivity, d.Owner
		if e.approved = agrees(&k.layer.facts, &e.facts); e.approved {
			e.Ticket = d.Ticket
		}
	}
}

// agrees tells whether a version is the one that was declared.
func agrees(declared, observed *facts) bool {
	same := false
	for i := range factCount {
		if differ(i, declared[i], observed[i]) {
			return false
		}
		same = same || declared[i] != nil && observed[i] != nil && string(declared[i]) == string(observed[i])
	}
	return same
}

// observed is the first sight of the version in a span.
func (s *Store) observed(k *known, v *viewSpan, at time.Time) Event {
	e := Event{
		Event: "model.deploy", At: at, Severity: 1, Name: k.name, Provider: k.provider, Basis: v.merged.basis,
		Server: v.server, Version: v.version, To: v.merged.facts.ref(k.provider), facts: v.merged.facts, evidence: v.merged.from,
	}
	e.describe(k)
	return e
}

// update makes the event one of a name that means something else now. What no
// operator declared is worth looking at.
func (e *Event) update(from string, after, before time.Time) {
	e.Event, e.From, e.After, e.Before = "model.update", from, after, before
	if e.Severity = 4; e.approved {
		e.Severity = 2
	}
}

// eventOf is the first sight of a version in a record.
func eventOf(r *audit.Record, ref string, basis Basis, at time.Time) Event {
	own, _ := ownLayer(r)
	e := Event{
		Event: "model.deploy", At: at, Severity: 1, Basis: basis, To: ref,
		Name: string(r.Text(audit.ModelName)), Provider: string(r.Text(audit.ModelProvider)),
		Sensitivity: string(r.Text(audit.ModelSensitivity)), Owner: string(r.Text(audit.ModelOwner)),
		Server: string(r.Text(audit.APIServer)), Version: string(r.Text(audit.APIServerVersion)),
	}
	for i, text := range own.facts {
		if text != nil {
			e.facts[i] = append([]byte(nil), text...)
		}
	}
	return e
}

// resolveEvent says which version records had that were written without one.
func (s *Store) resolveEvent(k *known, v *viewSpan, covered ranges) Event {
	e := s.observed(k, v, s.deps.Now())
	e.Event = "model.resolve"
	low := covered[0].Low
	for _, r := range covered {
		low = min(low, r.Low)
	}
	e.After, e.Before, e.Seqs = time.Unix(0, low), e.At, covered.texts()
	return e
}

// conflict records, once, that what is declared is not what was observed. s.mu
// is held.
func (s *Store) conflict(k *known, observed *Event) {
	if k.declared == nil || disagreement(&k.layer.facts, &observed.facts) < 0 {
		return
	}
	e := *observed
	e.Event, e.Severity, e.Seqs, e.Ticket = "model.conflict", 4, nil, ""
	e.From = k.layer.facts.ref(e.Provider)
	e.After, e.Before = time.Time{}, time.Time{}
	if s.learn(s.conflicts, e.Name+"\x00"+e.From+"\x00"+e.To) {
		s.emit(e)
	}
}
