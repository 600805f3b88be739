package rayserve

import (
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Slots of the JSON format.
const (
	slotTime = iota
	slotNanoseconds
	slotMessage
	slotComponent
	slotComponentID
	slotDeployment
	slotReplica
	slotRequestID
	slotRoute
	slotApplication
)

// newFields returns the map of encoding JSON. It is used to read, not to record.
func newFields(config parsers.Config) (*fieldmap.Map, error) {
	return fieldmap.New(fieldmap.Config{
		Config: config,
		Fields: []fieldmap.Mapping{{Field: "time", Path: []string{"asctime"}}},
		Slots: [][]string{
			slotTime:        {"asctime"},
			slotNanoseconds: {"timestamp_ns"},
			slotMessage:     {"message"},
			slotComponent:   {"component_name"},
			slotComponentID: {"component_id"},
			slotDeployment:  {"deployment"},
			slotReplica:     {"replica"},
			slotRequestID:   {"request_id"},
			slotRoute:       {"route"},
			slotApplication: {"application"},
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
	h := header{
		component: m.Slot(slotComponent), componentID: m.Slot(slotComponentID), requestID: m.Slot(slotRequestID),
		route: m.Slot(slotRoute), application: m.Slot(slotApplication), message: m.Slot(slotMessage),
	}
	if name := m.Slot(slotDeployment); name != nil {
		h.component, h.componentID, h.replica = name, m.Slot(slotReplica), true
	}
	if h.component == nil || h.message == nil {
		return dst, unparsed("an object that is no line of Ray Serve")
	}
	if !isID(h.requestID) {
		h.requestID = nil
	}
	if when, n, ok := stamp.Read(m.Slot(slotTime), p.zone); ok && n == len(m.Slot(slotTime)) {
		h.when = when
	}
	h.nanoseconds = m.Slot(slotNanoseconds)
	return p.event(dst, line, &h)
}
