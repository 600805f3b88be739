package vllm

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// access records an access line, joins it to the call it belongs to, or
// ignores it as noise.
func (p *Parser) access(dst []parsers.Draft, line *parsers.Line, when stamp.Time, c *uvicorn.Access) ([]parsers.Draft, parsers.Outcome) {
	route := c.Route()
	if rule, noise := c.Noise(&route); noise {
		return dst, ignored(rule)
	}
	s := p.find(line.Path)
	// A refusal is mostly older than the request line, which it then has not;
	// an answer, or a failure of the engine, has one.
	if s != nil && len(s.open) > 0 && (c.Status/100 == 2 || c.Status >= 500) && isLogged(route.Operation) {
		if at := s.waitingFor(route.Operation); at >= 0 {
			return p.join(dst, line, s, at, c, &route)
		}
		if s.crowd > 0 {
			dst = p.answered(dst, s, c.Status)
		}
	}
	dst, d := parsers.Next(dst)
	when.Set(d)
	c.Fill(d, &route)
	if c.Status == 404 && route.Operation != "" {
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
func (p *Parser) join(dst []parsers.Draft, line *parsers.Line, s *server, at int, c *uvicorn.Access, route *parsers.Route) ([]parsers.Draft, parsers.Outcome) {
	found := s.waiting[at]
	s.waiting = append(s.waiting[:at], s.waiting[at+1:]...)
	found.answered = true
	found.access = access{
		client: string(c.Client), method: string(c.Method),
		path: string(route.Path), version: string(route.Version), status: c.Status,
	}
	for _, r := range found.requests {
		if r.operation == "" {
			r.operation = route.Operation
		}
		p.weigh(r)
	}
	outcome := held()
	for i := 0; i < len(found.requests); {
		r := found.requests[i]
		if r.outcome == "" && s.endsLogged && c.Status < 500 {
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
