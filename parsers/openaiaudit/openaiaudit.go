// Package openaiaudit reads the audit log of an OpenAI organization: one object a
// line, as /v1/organization/audit_logs returns it in its list.
package openaiaudit

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// The slots, in the order of slots.
const (
	slotObject = iota
	slotType
	slotActorType
	slotKeyType
)

func slots() [][]string {
	return fieldmap.Paths("object", "type", "actor/type", "actor/api_key/type")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "effective_at unix"),
		from("actor.id", "actor/session/user/id", "actor/api_key/user/id", "actor/api_key/service_account/id"),
		from("actor.name", "actor/session/user/email", "actor/api_key/user/email"),
		from("actor.key_id", "actor/api_key/id"),
		from("client.ip", "actor/session/ip_address", "actor/api_key/ip_address"),
		from("client.country", "actor/session/ip_address_details/country", "actor/api_key/ip_address_details/country"),
		from("client.user_agent", "actor/session/user_agent", "actor/api_key/user_agent"),
		from("workspace", "project/id"),
		from("extra.type", "type"),
		from("extra.audit_log_id", "id"),
		from("extra.project_name", "project/name"),
	}
}

// New returns a parser.
func New(c parsers.Config) (parsers.Parser, error) {
	return fieldmap.NewJSON(fieldmap.Config{Config: c, Fields: fields(), Slots: slots(), Decide: decide})
}

func decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	kind := m.Slot(slotType)
	if object := string(m.Slot(slotObject)); kind == nil || object != "organization.audit_log" && (object != "" || !r.Has(audit.Time)) {
		return parsers.Outcome{Rule: "not an event of an organization's audit log"}
	}
	event := eventOf(kind)
	r.SetString(audit.Event, event)
	p := payloadOf(m.Line(), kind)
	actor(m, r)
	outcome(m, r, kind, &p)
	change(m, r, kind, &p)
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// payload is what is kept of the object that stands under a key that is the
// event's type; members as they stand in the line.
type payload struct {
	id, errorCode, principal, resource, resourceType []byte
	given                                            [2][]byte // what something was made with, what was asked to change
}

func payloadOf(line, kind []byte) (p payload) {
	for w := fieldmap.Open(line); w.Next(); {
		if bytes.Equal(w.Key, kind) {
			p.read(w.Value)
			break
		}
	}
	return p
}

func (p *payload) read(object []byte) {
	for w := fieldmap.Open(object); w.Next(); {
		var home *[]byte
		switch string(w.Key) {
		case "id":
			home = &p.id
		case "error_code":
			home = &p.errorCode
		case "principal_id":
			home = &p.principal
		case "resource_id":
			home = &p.resource
		case "resource_type":
			home = &p.resourceType
		case "data":
			home = &p.given[0]
		case "changes_requested":
			home = &p.given[1]
		default:
			continue
		}
		if *home == nil { // of a key that stands twice the first counts
			*home = w.Value
		}
	}
}

// actor says what the identity rests on: OpenAI's own session, or a key, which is
// only as good as whoever holds it.
func actor(m *fieldmap.Map, r *audit.Record) {
	if !r.Has(audit.ActorID) {
		return
	}
	switch {
	case string(m.Slot(slotActorType)) == "session":
		r.SetString(audit.ActorType, "human")
		r.SetString(audit.ActorBasis, "idp_token")
		r.SetBool(audit.ActorVerified, true)
	case string(m.Slot(slotKeyType)) == "service_account":
		r.SetString(audit.ActorType, "service")
		r.SetString(audit.ActorBasis, "api_key")
	case string(m.Slot(slotActorType)) == "api_key":
		r.SetString(audit.ActorType, "human")
		r.SetString(audit.ActorBasis, "api_key")
	}
}

// outcome reads how it ended from the type; all but the failures succeeded.
func outcome(m *fieldmap.Map, r *audit.Record, kind []byte, p *payload) {
	if !bytes.HasSuffix(kind, []byte(".failed")) {
		r.SetString(audit.Outcome, "success")
		return
	}
	r.SetString(audit.Outcome, "failed")
	if string(r.Text(audit.Event)) == "auth.failure" {
		r.SetString(audit.Outcome, "denied")
		if r.Has(audit.ActorID) { // whoever tried was not that user
			r.SetString(audit.ActorBasis, "header")
			r.SetBool(audit.ActorVerified, false)
		}
	}
	m.SetReason(r, m.Text(p.errorCode))
}

// change names what was changed, and what it was given.
func change(m *fieldmap.Map, r *audit.Record, kind []byte, p *payload) {
	switch string(r.Text(audit.Event)) {
	case "auth.success", "auth.failure", "auth.logout":
		return
	}
	what := m.Text(p.id)
	if what == nil {
		what = kind[:max(0, bytes.LastIndexByte(kind, '.'))]
	}
	r.SetText(audit.ChangeWhat, what)
	for _, given := range p.given {
		to, model := newValue(m, given)
		if to != nil && !r.Has(audit.ChangeTo) {
			r.SetText(audit.ChangeTo, to)
		}
		if model != nil {
			r.SetText(audit.ModelName, model)
		}
	}
	m.AddExtra("principal", m.Text(p.principal))
	m.AddExtra("resource", m.Text(p.resource))
	m.AddExtra("resource_type", m.Text(p.resourceType))
}

// newValue finds what tells most of a change, and the model that it is about.
func newValue(m *fieldmap.Map, given []byte) (to, model []byte) {
	best := 0
	for w := fieldmap.Open(given); w.Next(); {
		if string(w.Key) == "fine_tuned_model_checkpoint" && model == nil {
			model = m.Text(w.Value)
		}
		if weight := telling(w.Key); weight > best {
			if text := m.Text(w.Value); text != nil {
				to, best = text, weight
			}
		}
	}
	return to, model
}

// telling weighs the members that say what something was changed to.
func telling(key []byte) int {
	switch string(key) {
	case "role":
		return 7
	case "api_call_logging":
		return 6
	case "role_name":
		return 5
	case "group_name":
		return 4
	case "email":
		return 3
	case "title":
		return 2
	case "name":
		return 1
	default:
		return 0
	}
}
