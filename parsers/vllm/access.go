package vllm

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// httpCall is what an access line of uvicorn says.
type httpCall struct {
	client         []byte // without port; empty when the caller came over a unix socket
	method, target []byte
	status         int
}

// splitAccess reads `10.20.0.14:41022 - "GET /health HTTP/1.1" 200 OK`. A
// request target holds no space (RFC 9112, 3.2), so what a caller sends cannot
// move the fields behind it.
func splitAccess(b []byte) (c httpCall, ok bool) {
	client, rest, ok := bytes.Cut(b, []byte(" "))
	if string(client) == "-" {
		client, rest = nil, b
	}
	if !ok {
		return c, false
	}
	if rest, ok = cut(rest, `- "`); !ok {
		return c, false
	}
	at := bytes.IndexByte(rest, ' ')
	if at < 1 || !parsers.IsMethod(rest[:at]) {
		return c, false
	}
	c.method, rest = rest[:at], rest[at+1:]
	if at = bytes.IndexByte(rest, ' '); at < 1 {
		return c, false
	}
	c.target, rest = rest[:at], rest[at+1:]
	if rest, ok = cut(rest, "HTTP/"); !ok {
		return c, false
	}
	at = bytes.IndexByte(rest, '"')
	if at < 1 || at > 3 || len(rest) < at+5 || rest[at+1] != ' ' {
		return c, false
	}
	rest = rest[at+2:]
	if digitRun(rest) != 3 || len(rest) > 3 && rest[3] != ' ' {
		return c, false
	}
	c.status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	c.client = client
	if at = bytes.LastIndexByte(client, ':'); at >= 0 { // "::1:36536": the port stands behind the last colon
		c.client = client[:at]
	}
	return c, true
}

// access records an access line, joins it to the call it belongs to, or
// ignores it as noise.
func (p *Parser) access(dst []parsers.Draft, line *parsers.Line, c *httpCall) ([]parsers.Draft, parsers.Outcome) {
	route := parsers.Classify(c.method, c.target)
	if rule, noise := route.Noise(c.status); noise {
		return dst, ignored(rule)
	}
	s := p.find(line.Path)
	// A refusal is mostly older than the request line, which it then has not;
	// an answer, or a failure of the engine, has one.
	if s != nil && len(s.open) > 0 && (c.status/100 == 2 || c.status >= 500) && isLogged(route.Operation) {
		if at := s.waitingFor(route.Operation); at >= 0 {
			return p.join(dst, line, s, at, c, &route)
		}
		if s.crowd > 0 {
			dst = p.answered(dst, s, c.status)
		}
	}
	dst, d := parsers.Next(dst)
	d.SetRequest(c.method, &route)
	d.SetStatus(c.status)
	d.SetActor(nil)
	p.setClient(d, c.client)
	if c.status == 404 && route.Operation != "" {
		// The model that was asked for is not the one that is served, nor any
		// that the catalog could name.
		s.describe(d)
		p.setModel(d, nil)
		d.Record.SetString(audit.ModelBasis, "unresolved")
		d.Record.Flag(audit.ModelUnresolved)
	} else {
		p.describe(d, s)
	}
	if line.Cut {
		d.Record.Flag(audit.Truncated)
	}
	return dst, recorded()
}

// isLogged tells whether the engine logs requests of an operation.
func isLogged(operation string) bool {
	switch operation {
	case "chat", "text_completion", "embeddings", "pooling", "classify", "score", "rerank", "transcription", "translation":
		return true
	default:
		return false
	}
}

func (p *Parser) setClient(d *parsers.Draft, client []byte) {
	if len(client) > 0 && !d.SetClient(client) {
		d.Record.Flag(audit.FieldsDropped)
	}
}

// join adds an access line to the only call that can have caused it. Requests
// that have ended, failed, or whose end is never logged are recorded with it.
func (p *Parser) join(dst []parsers.Draft, line *parsers.Line, s *server, at int, c *httpCall, route *parsers.Route) ([]parsers.Draft, parsers.Outcome) {
	found := s.waiting[at]
	s.waiting = append(s.waiting[:at], s.waiting[at+1:]...)
	found.answered = true
	found.access = access{
		client: string(c.client), method: string(c.method),
		path: string(route.Path), version: string(route.Version), status: c.status,
	}
	for _, r := range found.requests {
		p.weigh(r)
	}
	outcome := held()
	for i := 0; i < len(found.requests); {
		r := found.requests[i]
		if r.outcome == "" && s.endsLogged && c.status < 500 {
			i++
			continue
		}
		dst = p.record(dst, r)
		outcome = recorded()
	}
	if outcome.Verdict == parsers.Held && !p.hold(found.requests[0], line) {
		dst = p.record(dst, found.requests[0])
		outcome = recorded()
	}
	return dst, outcome
}
