// Package json reads logs of one JSON object a line: API gateways, proxies and
// whatever else logs that way. Which source field fills which record field is
// said by a map in the configuration; what it does not name is not kept.
package json

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

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

// Mapping and Constant are those of package parsers.
type (
	Mapping  = parsers.Mapping
	Constant = parsers.Constant
)

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

// Explain implements [parsers.Explainer]: where the line stops being JSON, or
// which keys it has.
func (p *Parser) Explain(line []byte) string {
	var object map[string]json.RawMessage
	err := json.Unmarshal(line, &object)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("not valid JSON at byte %d: %s", syntax.Offset, syntax)
	}
	if err != nil {
		return "the line is JSON, but no object"
	}
	names := slices.Sorted(maps.Keys(object))
	return fmt.Sprintf("the line has the keys %q; mapped are %q", names, slices.Sorted(maps.Values(p.fields.Trace())))
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
