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
	details := detailsOf(m.Line(), kind)
	actor(m, r)
	outcome(m, r, kind, details)
	change(m, r, kind, details)
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// detailsOf returns the payload of the event: it stands under a key that is its type.
func detailsOf(line, kind []byte) []byte {
	for w := fieldmap.Open(line); w.Next(); {
		if bytes.Equal(w.Key, kind) {
			return w.Value
		}
	}
	return nil
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
func outcome(m *fieldmap.Map, r *audit.Record, kind, details []byte) {
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
	m.SetReason(r, m.Text(fieldmap.Member(details, "error_code")))
}

// change names what was changed, and what it was given.
func change(m *fieldmap.Map, r *audit.Record, kind, details []byte) {
	what := m.Text(fieldmap.Member(details, "id"))
	if what == nil {
		what = kind[:max(0, bytes.LastIndexByte(kind, '.'))]
	}
	switch string(r.Text(audit.Event)) {
	case "auth.success", "auth.failure", "auth.logout":
		return
	}
	r.SetText(audit.ChangeWhat, what)
	for _, payload := range [...]string{"data", "changes_requested"} {
		given := fieldmap.Member(details, payload)
		for _, key := range [...]string{"role", "api_call_logging", "role_name", "group_name", "email", "title", "name"} {
			if to := m.Text(fieldmap.Member(given, key)); to != nil && !r.Has(audit.ChangeTo) {
				r.SetText(audit.ChangeTo, to)
			}
		}
		if model := m.Text(fieldmap.Member(given, "fine_tuned_model_checkpoint")); model != nil {
			r.SetText(audit.ModelName, model)
		}
	}
	m.AddExtra("principal", m.Text(fieldmap.Member(details, "principal_id")))
	m.AddExtra("resource", m.Text(fieldmap.Member(details, "resource_id")))
	m.AddExtra("resource_type", m.Text(fieldmap.Member(details, "resource_type")))
}
