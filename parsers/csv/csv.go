// Package csv reads logs of delimited columns (RFC 4180): one record a line, the
// columns named in the configuration. Which column fills which record field is
// said by a map; what it does not name is not kept.
//
// A line has to have exactly the columns that were named: one that has not is
// unparsed, because its values would be read under the wrong names.
package csv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// Config is what the parser is told. The path of a mapping is the name of a column.
type Config struct {
	parsers.Config
	Columns    []string // in the order of the line
	Separator  byte     // between columns; 0: a comma
	Fields     []parsers.Mapping
	Set        []parsers.Constant
	TimeLayout string
}

// Parser reads lines of columns. It holds nothing between lines.
type Parser struct {
	fields    *fieldmap.Map
	names     []string
	keys      []fieldmap.Key
	separator byte
	values    [][]byte
	unquote   []byte
}

// New compiles the field map.
func New(c Config) (*Parser, error) {
	if len(c.Columns) == 0 {
		return nil, errors.New("csv needs the names of its columns")
	}
	fields, err := fieldmap.New(fieldmap.Config{Config: c.Config, Fields: c.Fields, Set: c.Set, TimeLayout: c.TimeLayout, Flat: true})
	if err != nil {
		return nil, err
	}
	p := &Parser{fields: fields, names: c.Columns, separator: c.Separator}
	if p.separator == 0 {
		p.separator = ','
	}
	for i, name := range c.Columns {
		if slices.Contains(c.Columns[:i], name) {
			return nil, fmt.Errorf("the column %q stands twice", name)
		}
		p.keys = append(p.keys, fields.Key([]byte(name)))
	}
	for _, m := range c.Fields {
		if name := fieldmap.FlatName(m.Path); !slices.Contains(c.Columns, name) {
			return nil, fmt.Errorf("map %q: there is no column %q", m.Field, name)
		}
	}
	return p, nil
}

// Reasons why a line is not read, and the rule of the line that is none.
const (
	reasonColumns = "not as many columns as the configuration names"
	reasonQuote   = "a quoted column does not end with its quote"
	ruleHeader    = "header"
)

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	p.values, p.unquote = p.values[:0], p.unquote[:0]
	reason := p.split(line.Data)
	switch {
	case reason == "" && p.isHeader():
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleHeader}, nil
	case reason == "" && len(p.values) == len(p.keys) && !line.Cut:
	case line.Cut && len(p.values) > 0 && len(p.values) <= len(p.keys):
		p.values = p.values[:len(p.values)-1] // the last one may go on
	case reason == "":
		reason = reasonColumns
		fallthrough
	default:
		return dst, parsers.Outcome{Rule: reason}, nil
	}
	dst = p.fields.Begin(dst, &line)
	for i, value := range p.values {
		p.fields.Take(p.keys[i], value)
	}
	dst, outcome := p.fields.End(dst)
	return dst, outcome, nil
}

// isHeader tells whether the line names the columns.
func (p *Parser) isHeader() bool {
	return slices.EqualFunc(p.values, p.names, func(value []byte, name string) bool { return string(value) == name })
}

// split cuts a line into its columns.
func (p *Parser) split(data []byte) (reason string) {
	for {
		if len(data) > 0 && data[0] == '"' {
			value, rest, ok := p.quoted(data[1:])
			if !ok {
				p.values = append(p.values, nil)
				return reasonQuote
			}
			p.values = append(p.values, value)
			if len(rest) == 0 {
				return ""
			}
			data = rest[1:]
			continue
		}
		end := bytes.IndexByte(data, p.separator)
		if end < 0 {
			p.values = append(p.values, data)
			return ""
		}
		p.values = append(p.values, data[:end])
		data = data[end+1:]
	}
}

// quoted reads a column behind its opening quote. rest begins at the separator.
func (p *Parser) quoted(data []byte) (value, rest []byte, ok bool) {
	at := len(p.unquote)
	for {
		end := bytes.IndexByte(data, '"')
		if end < 0 {
			return nil, nil, false
		}
		p.unquote = append(p.unquote, data[:end]...)
		data = data[end+1:]
		if len(data) == 0 || data[0] == p.separator {
			return p.unquote[at:len(p.unquote):len(p.unquote)], data, true
		}
		if data[0] != '"' {
			return nil, nil, false
		}
		p.unquote = append(p.unquote, '"')
		data = data[1:]
	}
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
