// Package kserve reads what KServe's logger sends for each prediction: a CloudEvent
// of the request and one of the response, one JSON object a line, in the structured
// form of CloudEvents or as the logger's batches write them. Access lines of KServe's
// own model server, in the formats of its Python package, are records of their own.
//
// The two are joined by id into one record. KServe logs a response only when the
// model server answered 200, so a request without one did not succeed, or nobody
// logs responses: the record says that its outcome is not known.
package kserve

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

const (
	window  = 10 * time.Minute // a request waits this long for its response
	maxOpen = 1024             // requests that wait at once
	maxHeld = 8 << 20          // bytes of them
)

// reasonIDUsed is the reason of a request whose id another one took.
const reasonIDUsed = "request_id_used"

// The slots, in the order of slots.
const (
	slotType = iota
	slotReqType
	slotService
	slotOldService
	slotComponent
	slotMessages
	slotPrompt
	slotTensor
	slotInstances
	slotInput
	slotModel
	slotModelName
	slotPredictions
	slotOutputs
)

func slots() [][]string {
	return fieldmap.Paths("type", "reqType", "inferenceservicename", "inferenceService", "component",
		"data/messages", "data/prompt", "data/inputs", "data/instances", "data/input",
		"data/model", "data/model_name", "data/predictions", "data/outputs")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "time", "occurrenceTime", "recordedtime"),
		from("session.request_id", "id"),
		from("session.response_id", "data/id"),
		from("workspace", "namespace"),
		from("actor.id", "metadata/X-Forwarded-User/0", "metadata/X-Auth-Request-User/0", "metadata/Kubeflow-Userid/0",
			"metadata/X-User-Id/0", "metadata/X-User/0"),
		from("client.ip", "metadata/X-Forwarded-For/0"),
		from("client.user_agent", "metadata/User-Agent/0"),
		from("model.name", "data/model", "data/model_name", "inferenceservicename", "inferenceService"),
		from("model.version", "data/model_version"),
		from("api.fingerprint", "data/system_fingerprint"),
		from("params.temperature", "data/temperature"),
		from("params.top_p", "data/top_p"),
		from("params.max_tokens", "data/max_tokens", "data/max_completion_tokens"),
		from("params.seed", "data/seed"),
		from("params.stream", "data/stream"),
		from("usage.input_tokens", "data/usage/prompt_tokens"),
		from("usage.output_tokens", "data/usage/completion_tokens"),
		from("usage.cached_tokens", "data/usage/prompt_tokens_details/cached_tokens"),
		from("input", "data"),
		from("output.finish", "data/choices/0/finish_reason"),
	}
}

// Parser joins requests and responses.
type Parser struct {
	config  parsers.Config
	fields  *fieldmap.JSON
	isReply bool   // the event in hand is a response
	key     []byte // what joins it
	open    []*request
	bytes   int
}

// New returns a parser.
func New(c parsers.Config) (*Parser, error) {
	if c.Provider == "" {
		c.Provider = "kserve"
	}
	p := &Parser{config: c}
	var err error
	p.fields, err = fieldmap.NewJSON(fieldmap.Config{
		Config: c, Fields: fields(), Slots: slots(), Decide: p.decide, Embedded: fieldmap.Paths("metadata", "data"),
	})
	return p, err
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	if len(line.Data) > 0 && line.Data[0] != '{' {
		dst, outcome := p.text(dst, &line)
		return dst, outcome, nil
	}
	start := len(dst)
	dst, outcome, err := p.fields.Parse(dst, line)
	if err != nil || outcome.Verdict != parsers.Recorded {
		return dst, outcome, err
	}
	d := &dst[start]
	at := p.find(p.key)
	switch {
	case p.isReply && at >= 0:
		p.open[at].join(d)
		p.remove(at)
		return dst, outcome, nil
	case p.isReply || len(p.key) == 0:
		return dst, outcome, nil
	}
	fresh := p.newRequest(d, &line)
	dst = dst[:start]
	if at >= 0 {
		dst = p.release(dst, at, reasonIDUsed)
	}
	p.open = append(p.open, fresh)
	p.bytes += fresh.size()
	for len(p.open) > maxOpen || p.bytes > maxHeld && len(p.open) > 1 {
		dst = p.release(dst, 0, parsers.ReasonOutcomeNotLogged)
	}
	return dst, parsers.Outcome{Verdict: parsers.Held}, nil
}

// decide completes the record of one event.
func (p *Parser) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	kind := either(m.Slot(slotType), m.Slot(slotReqType))
	service := either(m.Slot(slotService), m.Slot(slotOldService))
	p.isReply = bytes.HasSuffix(kind, []byte(".inference.response"))
	if !p.isReply && !bytes.HasSuffix(kind, []byte(".inference.request")) {
		return parsers.Outcome{Rule: "not an event of KServe's logger"}
	}
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, operationOf(m))
	m.AddExtra("inference_service", service)
	m.AddExtra("component", m.Slot(slotComponent))
	if d.Input.Parts == 0 { // tensors are no text; they were entered or came back all the same
		for _, slot := range [...]int{slotTensor, slotInstances, slotPredictions, slotOutputs} {
			if raw := m.Slot(slot); len(raw) > 0 && raw[0] == '[' {
				d.Input.Text, d.Input.Parts = append(d.Input.Text[:0], raw...), 1
				break
			}
		}
	}
	if p.isReply {
		d.Input, d.Output = d.Output, d.Input
		r.SetText(audit.ModelServed, either(m.Slot(slotModel), m.Slot(slotModelName)))
		r.SetString(audit.Outcome, "success")
	}
	p.key = p.key[:0]
	if id := r.Text(audit.SessionRequestID); id != nil {
		for _, part := range [...][]byte{id, r.Text(audit.Workspace), service, m.Slot(slotComponent)} {
			p.key = append(append(p.key, part...), 0)
		}
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// operationOf tells what was asked from the form of the body.
func operationOf(m *fieldmap.Map) string {
	switch {
	case m.Slot(slotMessages) != nil:
		return "chat"
	case m.Slot(slotPrompt) != nil:
		return "text_completion"
	case m.Slot(slotTensor) != nil, m.Slot(slotInstances) != nil:
		return "predict"
	case m.Slot(slotInput) != nil:
		return "embeddings"
	default:
		return "predict"
	}
}

func either(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}
