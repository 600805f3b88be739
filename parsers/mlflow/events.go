package mlflow

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// The slots, in the order of slots.
const (
	slotEntity = iota
	slotAction
	slotName
	slotVersion
	slotAlias
	slotKey
	slotEvent // of a Databricks workspace
	slotModel
	slotModelVersion
)

func slots() [][]string {
	return fieldmap.Paths("entity", "action", "data/name", "data/version", "data/alias", "data/key", "event", "model_name", "version")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "timestamp", "event_timestamp unix", "event_timestamp unix_ms"),
		from("workspace", "workspace"),
		from("change.from", "from_stage"),
		from("change.to", "to_stage"),
		from("extra.source", "data/source"),
		from("extra.run_id", "data/run_id"),
		from("extra.entity", "entity"),
		from("extra.event", "event"),
		from("extra.webhook_id", "webhook_id"),
	}
}

// events decides over the events of registries. It keeps nothing between lines but
// memory.
type events struct{ what []byte }

func newEvents(c parsers.Config) (*fieldmap.Map, error) {
	e := &events{}
	return fieldmap.New(fieldmap.Config{Config: c, Fields: fields(), Slots: slots(), Decide: e.decide})
}

func (e *events) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	known := false
	switch {
	case m.Slot(slotEntity) != nil && m.Slot(slotAction) != nil && m.Slot(slotName) != nil:
		known = e.registry(m, d)
	case m.Slot(slotEvent) != nil && m.Slot(slotModel) != nil:
		known = e.workspace(m, d)
	}
	if !known {
		return parsers.Outcome{Rule: "not an event of a registry"}
	}
	d.Record.SetString(audit.Outcome, "success") // an event tells of what is done
	d.SetProvider(provider)
	if d.Record.Has(audit.ModelVersion) {
		fieldmap.ExactModel(d, provider, d.Record.Text(audit.ModelName))
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// registry fills an event of MLflow's webhooks: something was done to a model, a
// prompt, one of their versions, or its aliases and tags.
func (e *events) registry(m *fieldmap.Map, d *parsers.Draft) bool {
	r := &d.Record
	entity, action, name, version := m.Slot(slotEntity), m.Slot(slotAction), m.Slot(slotName), m.Slot(slotVersion)
	switch {
	case bytes.HasPrefix(entity, []byte("prompt")):
		r.SetString(audit.Event, "data.modify")
		r.SetText(audit.PromptName, name)
		r.SetText(audit.PromptVersion, version)
		e.name(r, "prompts:/", name, version, m.Slot(slotAlias))
	case string(entity) == "model_version" && string(action) == "created":
		r.SetString(audit.Event, "model.deploy")
		e.model(r, name, version, nil)
	case string(entity) == "model_version_alias":
		// Whoever asks for the alias gets another version from now on.
		r.SetString(audit.Event, "model.update")
		e.model(r, name, nil, m.Slot(slotAlias))
		r.SetText(audit.ModelVersion, version)
		r.SetText(audit.ChangeTo, version)
	case string(entity) == "registered_model", string(entity) == "model_version":
		r.SetString(audit.Event, "admin.config")
		e.model(r, name, version, nil)
	case string(entity) == "model_version_tag", string(entity) == "registered_model_tag":
		r.SetString(audit.Event, "data.modify")
		e.model(r, name, version, nil)
		m.AddExtra("tag", m.Slot(slotKey))
	default:
		return false
	}
	m.AddExtra("action", action)
	return true
}

// workspace fills an event of the registry of a Databricks workspace.
func (e *events) workspace(m *fieldmap.Map, d *parsers.Draft) bool {
	r := &d.Record
	event := m.Slot(slotEvent)
	switch {
	case string(event) == "MODEL_VERSION_CREATED":
		r.SetString(audit.Event, "model.deploy")
	case bytes.HasPrefix(event, []byte("MODEL_VERSION_TRANSITIONED_")):
		r.SetString(audit.Event, "model.update")
	case bytes.HasPrefix(event, []byte("TRANSITION_REQUEST_")):
		r.SetString(audit.Event, "approval.request")
		r.SetString(audit.ApprovalState, "requested")
	case string(event) == "REGISTERED_MODEL_CREATED":
		r.SetString(audit.Event, "admin.config")
	case string(event) == "MODEL_VERSION_TAG_SET", string(event) == "COMMENT_CREATED":
		r.SetString(audit.Event, "data.modify")
	default:
		return false
	}
	e.model(r, m.Slot(slotModel), m.Slot(slotModelVersion), nil)
	return true
}

// model names a model, and what of it was changed.
func (e *events) model(r *audit.Record, name, version, alias []byte) {
	r.SetText(audit.ModelName, name)
	r.SetText(audit.ModelVersion, version)
	e.name(r, "models:/", name, version, alias)
}

// name fills change.what with the URI that MLflow's clients use:
// "models:/NAME/VERSION", "models:/NAME@ALIAS".
func (e *events) name(r *audit.Record, scheme string, name, version, alias []byte) {
	e.what = append(append(e.what[:0], scheme...), name...)
	switch {
	case alias != nil:
		e.what = append(append(e.what, '@'), alias...)
	case version != nil:
		e.what = append(append(e.what, '/'), version...)
	}
	r.SetText(audit.ChangeWhat, e.what)
}
