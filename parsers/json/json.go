// Package json reads logs of one JSON object a line: API gateways, proxies and
// whatever else logs that way. Which source field fills which record field is
// said by a map in the configuration; what it does not name is not kept.
package json

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
	Fields     []Mapping  // in any order; each record field at most once
	Set        []Constant // values that every record gets
	TimeLayout string     // of times whose Mapping has none; empty: rfc3339
}

// Mapping says where a record field comes from.
type Mapping = fieldmap.Mapping

// Constant is a value that every record gets.
type Constant = fieldmap.Constant

// Parser reads lines of JSON. It holds nothing between lines.
type Parser struct{ fields *fieldmap.Map }

// New compiles the field map.
func New(c Config) (*Parser, error) {
	fields, err := fieldmap.New(fieldmap.Config{Config: c.Config, Fields: c.Fields, Set: c.Set, TimeLayout: c.TimeLayout})
	if err != nil {
		return nil, err
	}
	return &Parser{fields: fields}, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	dst, outcome := p.fields.ParseJSON(dst, &line)
	return dst, outcome, nil
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
