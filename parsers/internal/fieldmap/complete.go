package fieldmap

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Reasons why a line of valid JSON makes no record.
const (
	reasonNoCall   = "the line has neither the event nor the api.path that the field map names"
	reasonNothing  = "the line has none of the mapped fields"
	reasonPolicy   = "a policy.* event needs policy.id and policy.decision"
	reasonNoChange = "the event needs change.what"
)

// operationUnknown is api.operation of a call that is known to be an inference
// and nothing more.
const operationUnknown = "inference"

// complete makes the record whole from what the line said: what kind of event
// it is, how it ended, who it was.
func (p *Map) complete(s *pass) parsers.Outcome {
	d := s.draft
	r := &d.Record
	for i := range p.constants {
		p.constants[i].apply(s)
	}
	if p.decide != nil {
		if outcome := p.decide(p, d); outcome.Verdict != parsers.Recorded {
			return outcome
		}
	}
	if outcome := p.decideEvent(s); outcome.Verdict != parsers.Recorded {
		return outcome
	}
	d.SetStatus(s.status)
	decideActor(d)
	d.SetProvider(p.provider)
	if r.Has(audit.ClientApp) {
		r.SetText(audit.ClientUserAgent, s.userAgent)
	} else {
		d.SetUserAgent(s.userAgent)
	}
	if len(s.extra) > 0 {
		r.SetJSON(audit.Extra, s.wrap("{", s.extra, "}"))
	}
	if len(s.item) > 0 {
		r.SetJSON(audit.Data, s.wrap("[{", s.item, "}]"))
	}
	if s.dropped > 0 {
		r.Flag(audit.FieldsDropped)
		p.dropped.Add(uint64(s.dropped))
	}
	if s.duplicate {
		r.Flag(audit.DuplicateKeys)
	}
	if s.replaced {
		r.Flag(audit.InvalidUTF8)
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// decideEvent fills event and api.*. In this order: the event that the line or
// a constant names; what the request asked for, which is a tool call when the
// path says nothing and the line names a tool; an inference, for a log whose map
// has neither event nor api.path, because then every line is one.
func (p *Map) decideEvent(s *pass) parsers.Outcome {
	d := s.draft
	r := &d.Record
	method, target := s.method, s.target
	if method == nil {
		if m, t, ok := parsers.SplitRequest(target); ok {
			method, target = m, t // nginx's $request in place of a path
		}
	}
	named := r.Has(audit.Event)
	switch isRequest := target != nil || p.mapsPath && (method != nil || s.status != parsers.NoStatus); {
	case isRequest:
		route := p.routes.Classify(method, target)
		if rule, ignored := route.Noise(s.status); ignored && !named {
			return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
		}
		if !named && !route.Known() && r.Has(audit.ToolName) {
			r.SetString(audit.Event, "tool.call") // MCP, whose path a gateway chooses
		}
		d.SetRequest(method, route)
	case named:
		if method != nil {
			r.SetText(audit.APIMethod, method)
		}
	case p.mapsPath || p.mapsEvent:
		return parsers.Outcome{Rule: reasonNoCall}
	case s.filled == 0:
		return parsers.Outcome{Rule: reasonNothing}
	default:
		r.SetString(audit.Event, "model.inference")
		r.SetText(audit.APIMethod, method)
	}
	if string(r.Text(audit.Event)) == "model.inference" && !r.Has(audit.APIOperation) {
		r.SetString(audit.APIOperation, operationUnknown)
	}
	if reason := lacking(r); reason != "" {
		return parsers.Outcome{Rule: reason}
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// lacking names what the record's event needs and only the line could have said.
func lacking(r *audit.Record) (reason string) {
	event := r.Text(audit.Event)
	switch {
	case bytes.HasPrefix(event, []byte("policy.")) && (!r.Has(audit.PolicyID) || !r.Has(audit.PolicyDecision)):
		return reasonPolicy
	case needsChange(event) && !r.Has(audit.ChangeWhat):
		return reasonNoChange
	default:
		return ""
	}
}

func needsChange(event []byte) bool {
	switch string(event) {
	case "model.deploy", "model.update", "model.conflict", "model.resolve", "admin.config", "admin.user":
		return true
	default:
		return false
	}
}

// decideActor says what the named identity rests on. Unless the configuration
// knows better, a name in a log is what some header said. Without a name there
// is no basis, and nothing is verified.
func decideActor(d *parsers.Draft) {
	r := &d.Record
	if !r.Has(audit.ActorType) {
		r.SetString(audit.ActorType, "unknown")
	}
	if !r.Has(audit.ActorID) {
		r.SetString(audit.ActorBasis, "none")
		r.SetBool(audit.ActorVerified, false)
		return
	}
	switch string(r.Text(audit.ActorBasis)) {
	case "sso", "idp_token", "mtls", "api_key":
	case "", "none":
		r.SetString(audit.ActorBasis, "header")
		r.SetBool(audit.ActorVerified, false)
	default:
		r.SetBool(audit.ActorVerified, false)
	}
	if !r.Bool(audit.ActorVerified) {
		r.SetBool(audit.ActorVerified, false)
		r.Flag(audit.ActorUnverified)
	}
}

// wrap encloses members, which end in a comma, in brackets.
func (p *pass) wrap(opening string, members []byte, closing string) []byte {
	p.list = append(append(p.list[:0], opening...), members...)
	p.list = append(p.list[:len(p.list)-1], closing...)
	return p.list
}
