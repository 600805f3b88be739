// Package rayserve reads the logs of Ray Serve: what its proxies and replicas say
// of each call, in text and JSON, and what its controller says of deployments.
//
// One HTTP call leaves several lines with the same request id: the proxy's, the
// replica's that got it, and one for each deployment that was called on the way.
// Each is a record, because each is another program's word; the request id tells
// that they belong together.
//
// Lines that are not Ray's may be those of an engine that runs inside a replica.
// They are handed to the parser of the engine, when there is one.
package rayserve

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/nested"
	"github.com/auditail/auditail/parsers/internal/process"
	"github.com/auditail/auditail/parsers/internal/traceback"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers.
const (
	ruleServer = "serve_state" // deployments, replicas and proxies come and go
	ruleEmpty  = "empty"       // nothing on the line
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
	Engine nested.Engine // of vLLM; may be nil
}

// Parser reads the lines of one input. It holds no lines, but its engine may.
type Parser struct {
	nested.Host
	config  parsers.Config
	zone    *time.Location
	dropped atomic.Uint64
	fields  *fieldmap.Map // of the JSON format

	plain   []byte // the line in hand without colours
	extra   []byte // of the record in hand
	scratch []parsers.Draft
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	p := &Parser{Host: nested.Host{Engine: config.Engine}, config: config.Config, zone: config.Zone()}
	var err error
	p.fields, err = newFields(config.Config)
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	whole := line
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	line.Data = process.Peel(line.Data)
	if len(line.Data) > 0 && line.Data[0] == '{' {
		dst, outcome := p.object(dst, &line)
		return dst, outcome, nil
	}
	h, ok := p.split(line.Data)
	if ok {
		dst, outcome := p.event(dst, &line, &h)
		return dst, outcome, nil
	}
	if p.Engine != nil {
		dst, outcome, err := p.Engine.Parse(dst, whole)
		if outcome.Verdict == parsers.Unparsed {
			outcome.Rule = "neither a line of Ray Serve nor of its engine"
		}
		return dst, outcome, err
	}
	return dst, p.bare(&line), nil
}

// event judges a line of Ray Serve.
func (p *Parser) event(dst []parsers.Draft, line *parsers.Line, h *header) ([]parsers.Draft, parsers.Outcome) {
	if c, ok := splitCall(h); ok {
		return p.call(dst, line, h, &c)
	}
	if rule, ok := noiseOf(h.message); ok {
		return dst, ignored(rule)
	}
	if what, ok := deployed(h.message); ok {
		return p.change(dst, h, what), recorded()
	}
	if p.Traceback.Frame(line.Path, h.message) {
		return dst, ignored(traceback.Rule)
	}
	return dst, unparsed("a message that no rule knows")
}

// call records a call.
func (p *Parser) call(dst []parsers.Draft, line *parsers.Line, h *header, c *call) ([]parsers.Draft, parsers.Outcome) {
	route := c.classify()
	if rule, noise := route.Noise(c.status); noise && c.isHTTP {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	h.setTime(d)
	if c.isHTTP {
		d.SetRequest(c.method, &route)
	} else {
		r.SetString(audit.Event, route.Event)
		r.SetString(audit.APIOperation, route.Operation)
	}
	c.setOutcome(d)
	d.SetActor(nil)
	if len(c.client) > 0 && !d.SetClient(c.client) {
		p.drop(d)
	}
	r.SetText(audit.SessionRequestID, h.requestID)
	r.SetInt(audit.UsageDurationMs, c.duration)
	d.SetProvider(p.config.Provider)
	r.SetString(audit.APIServer, "ray-serve")
	p.setExtra(r, h, c)
	if h.dropped || c.repeated {
		p.drop(d)
	}
	if line.Cut {
		r.Flag(audit.Truncated)
	}
	return dst, recorded()
}

func (p *Parser) drop(d *parsers.Draft) {
	d.Record.Flag(audit.FieldsDropped)
	p.dropped.Add(1)
}

// setExtra keeps which part of Ray Serve wrote the line, for which a record has no
// home: a deployment often is a model, but the line does not say so.
func (p *Parser) setExtra(r *audit.Record, h *header, c *call) {
	p.extra = append(p.extra[:0], '{')
	if h.isReplica() {
		p.member("deployment", h.component)
		p.member("replica", h.componentID)
	} else {
		p.member("component", h.component)
	}
	p.member("application", h.application)
	if !c.isHTTP {
		p.member("method", c.target)
	}
	if len(p.extra) > 1 {
		p.extra[len(p.extra)-1] = '}'
		r.SetJSON(audit.Extra, p.extra)
	}
}

func (p *Parser) member(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	p.extra = append(append(append(p.extra, '"'), name...), `":`...)
	p.extra = append(audit.AppendText(p.extra, value), ',')
}

// change records that the controller was told to change what is deployed.
func (p *Parser) change(dst []parsers.Draft, h *header, what []byte) []parsers.Draft {
	dst, d := parsers.Next(dst)
	h.setTime(d)
	d.Record.SetString(audit.Event, "admin.config")
	d.Record.SetString(audit.Outcome, "unknown") // that it was begun is all the line says
	d.Record.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	d.Record.SetText(audit.ChangeWhat, what)
	d.Record.SetString(audit.APIServer, "ray-serve")
	return dst
}

// bare judges a line without a header of Ray Serve.
func (p *Parser) bare(line *parsers.Line) parsers.Outcome {
	switch {
	case len(bytes.TrimSpace(line.Data)) == 0:
		return ignored(ruleEmpty)
	case p.Traceback.Frame(line.Path, line.Data):
		return ignored(traceback.Rule)
	default:
		return unparsed("not a line of Ray Serve")
	}
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.dropped.Load() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const call = "method, route"
	return p.Host.Trace(map[audit.Field]string{
		audit.Time:             "asctime; timestamp_ns",
		audit.Event:            call,
		audit.Outcome:          "status",
		audit.Reason:           "status",
		audit.ClientIP:         "client",
		audit.APIOperation:     call,
		audit.APIMethod:        "method",
		audit.APIPath:          "route",
		audit.APIVersion:       "route",
		audit.APIStatus:        "status",
		audit.SessionRequestID: "request_id",
		audit.UsageDurationMs:  "latency",
		audit.ChangeWhat:       "Deploying, Deleting",
		audit.Extra:            "component_name, component_id, application, call method",
	})
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }
