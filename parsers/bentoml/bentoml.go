// Package bentoml reads the logs of BentoML's servers: the access lines of API
// servers and runners over HTTP, gRPC and WebSocket, with the trace they belong to.
//
// Lines that are not BentoML's may be those of an engine that a service runs.
// They are handed to the parser of the engine, when there is one.
package bentoml

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/nested"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers.
const (
	ruleServer = "serve_state" // services and workers that come and go
	ruleSocket = "websocket"   // what a WebSocket does besides being opened
	ruleTask   = "task"        // a task of which the access lines tell
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

	plain []byte // the line in hand without colours
	extra []byte // of the record in hand
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	return &Parser{Host: nested.Host{Engine: config.Engine}, config: config.Config, zone: config.Zone()}, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	whole := line
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	h, ok := p.split(line.Data)
	if ok {
		dst, outcome := p.event(dst, &line, &h)
		return dst, outcome, nil
	}
	if p.Engine != nil {
		dst, outcome, err := p.Engine.Parse(dst, whole)
		if outcome.Verdict == parsers.Unparsed {
			outcome.Rule = "neither a line of BentoML nor of an engine"
		}
		return dst, outcome, err
	}
	switch {
	case len(bytes.TrimSpace(line.Data)) == 0:
		return dst, ignored(ruleEmpty), nil
	case p.Traceback.Frame(line.Path, line.Data):
		return dst, ignored(traceback.Rule), nil
	default:
		return dst, unparsed("not a line of BentoML"), nil
	}
}

// event judges a line of BentoML.
func (p *Parser) event(dst []parsers.Draft, line *parsers.Line, h *header) ([]parsers.Draft, parsers.Outcome) {
	if c, ok := splitCall(h.message); ok {
		if c.socket && string(c.state) != "Connection established" {
			return dst, ignored(ruleSocket)
		}
		return p.call(dst, line, h, &c)
	}
	if id, name, ok := failedTask(h.message); ok {
		return p.task(dst, line, h, id, name), recorded()
	}
	if rule, ok := noiseOf(h); ok {
		return dst, ignored(rule)
	}
	return dst, unparsed("a message that no rule knows")
}

// call records a call.
func (p *Parser) call(dst []parsers.Draft, line *parsers.Line, h *header, c *call) ([]parsers.Draft, parsers.Outcome) {
	route := c.classify(h)
	if rule, noise := route.Noise(c.status); noise && !c.socket {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetRequest(c.method, &route)
	if c.socket {
		r.SetString(audit.Outcome, "success")
	} else {
		d.SetStatus(c.status)
	}
	p.common(d, line, h)
	if len(c.client) > 0 && !uvicorn.SetClient(d, c.client) {
		p.drop(d)
	}
	if c.unclear {
		p.drop(d)
	}
	if !c.socket {
		r.SetInt(audit.UsageDurationMs, c.duration)
	}
	if c.requestBytes >= 0 {
		r.SetInt(audit.UsageRequestBytes, c.requestBytes)
	}
	if c.responseBytes >= 0 {
		r.SetInt(audit.UsageResponseBytes, c.responseBytes)
	}
	p.setExtra(r, h, nil, c.grpcStatus)
	return dst, recorded()
}

// task records that what a caller left the server to do came to nothing. Its
// access line said success, because the task was accepted.
func (p *Parser) task(dst []parsers.Draft, line *parsers.Line, h *header, id, name []byte) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, "predict")
	r.SetString(audit.Outcome, "failed")
	r.SetString(audit.Reason, "task_failed")
	p.common(d, line, h)
	r.SetText(audit.SessionRequestID, id)
	p.setExtra(r, h, name, nil)
	return dst
}

// common fills what the records of all lines have.
func (p *Parser) common(d *parsers.Draft, line *parsers.Line, h *header) {
	r := &d.Record
	h.when.Set(d)
	d.SetActor(nil)
	var buffer [32]byte
	if trace, span, ok := appendTrace(buffer[:0], h.trace, h.span); ok {
		r.SetText(audit.SessionTraceID, trace)
		if appended, ok := appendSpan(buffer[:0], h.span, span); ok {
			r.SetText(audit.SessionSpanID, appended)
		}
	}
	d.SetProvider(p.config.Provider)
	r.SetString(audit.APIServer, "bentoml")
	if line.Cut {
		r.Flag(audit.Truncated)
	}
}

func (p *Parser) drop(d *parsers.Draft) {
	d.Record.Flag(audit.FieldsDropped)
	p.dropped.Add(1)
}

// setExtra keeps which part of BentoML wrote the line, for which a record has no
// home: a service or runner often is named after a model, but the line does not
// say so.
func (p *Parser) setExtra(r *audit.Record, h *header, task, grpcStatus []byte) {
	p.extra = append(p.extra[:0], '{')
	p.member("component", h.component)
	p.member("service", h.service)
	p.member("worker", h.worker)
	p.member("task", task)
	p.member("grpc_status", grpcStatus)
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

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.dropped.Load() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const call = "method, path"
	return p.Host.Trace(map[audit.Field]string{
		audit.Time:               "asctime",
		audit.Event:              call,
		audit.Outcome:            "status",
		audit.Reason:             "status",
		audit.ClientIP:           "address; peer",
		audit.APIOperation:       call,
		audit.APIMethod:          "method",
		audit.APIPath:            "path",
		audit.APIVersion:         "path",
		audit.APIStatus:          "status; http_status",
		audit.SessionRequestID:   "Task",
		audit.SessionTraceID:     "trace",
		audit.SessionSpanID:      "span",
		audit.UsageDurationMs:    "latency",
		audit.UsageRequestBytes:  "request length; size",
		audit.UsageResponseBytes: "response length; size",
		audit.Extra:              "component, service, worker, grpc_status, Task",
	})
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }
