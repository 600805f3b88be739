package tgi

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Slots of the JSON format. The router writes the message beside the other members,
// the launcher among fields.
const (
	slotTime = iota
	slotLevel
	slotMessage
	slotInner
	slotTarget
	slotSpan
	slotSpans
)

// newFields returns the map of --json-output. It is used to read, not to record.
func newFields(config parsers.Config) (*fieldmap.Map, error) {
	return fieldmap.New(fieldmap.Config{
		Config: config,
		Fields: []fieldmap.Mapping{{Field: "time", Path: []string{"timestamp"}}},
		Slots: [][]string{
			slotTime:    {"timestamp"},
			slotLevel:   {"level"},
			slotMessage: {"message"},
			slotInner:   {"fields", "message"},
			slotTarget:  {"target"},
			slotSpan:    {"span"},
			slotSpans:   {"spans"},
		},
		Decide: func(*fieldmap.Map, *parsers.Draft) parsers.Outcome { return ignored(ruleRead) },
	})
}

// ruleRead ends the reading of every line in the map.
const ruleRead = "read"

// object reads a line of the JSON format.
func (p *Parser) object(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	m := p.fields
	var outcome parsers.Outcome
	if p.scratch, outcome = m.ParseJSON(p.scratch[:0], line); outcome.Rule != ruleRead {
		return dst, outcome
	}
	e := event{level: m.Slot(slotLevel), message: m.Slot(slotMessage), first: true}
	if e.message == nil {
		e.message = m.Slot(slotInner)
	}
	if !isLevel(e.level) || e.message == nil {
		return dst, unparsed("an object that is no event of TGI")
	}
	if when, n, ok := stamp.Read(m.Slot(slotTime), p.zone); ok && n == len(m.Slot(slotTime)) {
		e.when = when
	}
	e.router = isRouter(m.Slot(slotTarget))
	e.setServer(m.Slot(slotTarget))
	spans := fieldmap.Open(m.Slot(slotSpans))
	alone := true
	for spans.Next() {
		e.spanFromJSON(m, spans.Value)
		alone = false
	}
	if alone {
		e.spanFromJSON(m, m.Slot(slotSpan))
	}
	return p.event(dst, line, &e)
}

// spanFromJSON takes what the object of a span says.
func (e *event) spanFromJSON(m *fieldmap.Map, span []byte) {
	name := m.Text(fieldmap.Member(span, "name"))
	if string(name) == "shard-manager" {
		e.first = string(m.Text(fieldmap.Member(span, "rank"))) == "0"
		return
	}
	operation, stream, ok := operationOf(name)
	switch {
	case string(name) == "HTTP request":
	case !ok:
		return
	case !e.request || e.compatible: // the outermost decides, unless it is generate in another guise
		e.request, e.compatible = true, string(name) == "compat_generate"
		e.call.operation, e.call.stream = operation, stream
	}
	for w := fieldmap.Open(span); w.Next(); {
		e.call.memberFromJSON(w.Key, m.Text(w.Value))
	}
}

func (c *call) memberFromJSON(name, value []byte) {
	switch string(name) {
	case "parameters":
		c.readParameters(value)
	case "http.method", "http.request.method":
		c.method = value
	case "http.target", "url.path":
		c.target = value
	case "http.client_ip", "client.address":
		c.client = value
	case "http.user_agent", "user_agent.original":
		c.agent = value
	case "http.status_code", "http.response.status_code":
		c.setStatus(value)
	case "trace_id":
		c.trace = value
	default:
		c.figure(name, bytes.Trim(value, `"`))
	}
}
