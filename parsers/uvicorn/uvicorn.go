// Package uvicorn reads the logs of uvicorn and gunicorn, the servers that Python
// applications run behind when no model server of their own does: access lines
// and what the servers say of themselves, in the formats of their defaults and in
// those that logging configurations commonly make of them.
//
// The promise: every request is a record with what its line says of it and
// nothing more; a line is read to its last byte, so that text which an application
// prints does not pass for a request; and of a time that the line does not have,
// or has without a zone, the record says so.
package uvicorn

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers and those of package uvicorn.
const ruleEmpty = "empty" // nothing on the line

// Parser reads the lines of one input. Between lines it remembers only which logs
// are within a traceback.
type Parser struct {
	config  parsers.Config
	server  string
	zone    *time.Location
	dropped atomic.Uint64

	fields    *fieldmap.Map // of the JSON form
	traceback traceback.Tracker

	recorder *access.Recorder // of the combined form
	call     access.Call

	plain []byte // the line in hand without colours, its fields without escapes
	line  []byte // one that begins with an empty field
}

// New returns a parser of uvicorn's log.
func New(config parsers.Config) (*Parser, error) { return newParser(config, "uvicorn") }

// NewGunicorn returns a parser of gunicorn's log. It reads the same lines, and
// calls the server by its name.
func NewGunicorn(config parsers.Config) (*Parser, error) { return newParser(config, "gunicorn") }

func newParser(config parsers.Config, server string) (*Parser, error) {
	p := &Parser{config: config, server: server, zone: config.Zone(), recorder: access.NewRecorder(config)}
	var err error
	p.fields, err = p.newJSON()
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	if len(line.Data) > 0 && line.Data[0] == '{' {
		dst, outcome := p.fields.ParseJSON(dst, &line)
		return dst, outcome, nil
	}
	h, message := uvicorn.CutHeader(line.Data, p.zone)
	if a, ok := uvicorn.SplitAccess(message); ok {
		dst, outcome := p.access(dst, &h, &a)
		return dst, outcome, nil
	}
	if dst, outcome, ok := p.combined(dst, &line, message); ok {
		return dst, outcome, nil
	}
	return dst, p.other(&line, &h, message), nil
}

func (p *Parser) access(dst []parsers.Draft, h *uvicorn.Header, a *uvicorn.Access) ([]parsers.Draft, parsers.Outcome) {
	route := a.Route()
	if rule, noise := a.Noise(&route); noise {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	h.When.Set(d)
	a.Fill(d, &route)
	d.SetProvider(p.config.Provider)
	d.Record.SetString(audit.APIServer, p.server)
	if d.Record.Flags()&audit.FieldsDropped != 0 {
		p.dropped.Add(1)
	}
	return dst, parsers.Outcome{Verdict: parsers.Recorded}
}

// other judges a line that is about no request.
func (p *Parser) other(line *parsers.Line, h *uvicorn.Header, message []byte) parsers.Outcome {
	if h.Found {
		if rule, ok := noise(message); ok {
			return ignored(rule)
		}
	}
	switch {
	case len(bytes.TrimSpace(line.Data)) == 0:
		return ignored(ruleEmpty)
	case p.traceback.Frame(line.Path, message):
		return ignored(traceback.Rule)
	case line.Cut:
		return unparsed("longer than max_line")
	case h.Found:
		return unparsed("a message that no rule knows")
	default:
		return unparsed("not a line of " + p.server)
	}
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 {
	return p.dropped.Load() + p.fields.Dropped() + p.recorder.Dropped()
}

// Flush implements [parsers.Stateful]; no lines are held.
func (p *Parser) Flush(_ time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return 0 }

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte { return p.traceback.Snapshot() }

// Restore implements [parsers.Stateful].
func (p *Parser) Restore(snapshot []byte) error { return p.traceback.Restore(snapshot) }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const request = "request line"
	trace := map[audit.Field]string{
		audit.Time:         "asctime",
		audit.Event:        request,
		audit.Outcome:      "status",
		audit.Reason:       "status",
		audit.ClientIP:     "client_addr",
		audit.APIOperation: request,
		audit.APIMethod:    request,
		audit.APIPath:      request,
		audit.APIVersion:   request,
		audit.APIStatus:    "status",
		audit.ModelName:    request,
		audit.ModelVersion: request,
	}
	for field, source := range p.fields.Trace() {
		if text := trace[field]; text != "" {
			source = text + "; in JSON " + source
		}
		trace[field] = source
	}
	return trace
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}
