// Package litellm reads what a LiteLLM proxy writes: its standard logging
// payload, one JSON object a call, as callbacks write it to files, buckets and
// HTTP collectors; the rows of its spend logs; and its console, as text or, with
// JSON_LOGS, as JSON.
//
// The payload is a dump of whatever the call touched. Prompts hide in
// proxy_server_request, bearer tokens in what guardrails answered, so only the
// fields that this package names are ever looked at.
package litellm

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/traceback"
)

// Parser reads lines of all three kinds, mixed. Of earlier lines it remembers
// only which logs are within a traceback.
type Parser struct {
	provider  string
	payload   *fieldmap.Map
	console   *fieldmap.Map
	traceback traceback.Tracker
	plain     []byte // a line without colours
}

// New returns a parser.
func New(c parsers.Config) (*Parser, error) {
	p := &Parser{provider: c.Provider}
	var err error
	if p.payload, err = newPayload(c); err != nil {
		return nil, err
	}
	p.console, err = p.newConsole(c)
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	var outcome parsers.Outcome
	switch {
	case bytes.HasPrefix(line.Data, []byte(`{"message":`)): // the first key of a console line; a payload has none of that name
		dst, outcome = p.console.ParseJSON(dst, &line)
	case len(line.Data) > 0 && line.Data[0] == '{':
		dst, outcome = p.payload.ParseJSON(dst, &line)
	default:
		dst, outcome = p.text(dst, &line)
	}
	return dst, outcome, nil
}

// Flush implements [parsers.Stateful]; no line is ever held.
func (p *Parser) Flush(_ time.Time, dst []parsers.Draft) (drafts []parsers.Draft, released int) {
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return 0 }

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte { return p.traceback.Snapshot() }

// Restore implements [parsers.Stateful].
func (p *Parser) Restore(snapshot []byte) error { return p.traceback.Restore(snapshot) }

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.payload.Dropped() + p.console.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.payload.Trace() }
