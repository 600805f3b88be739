// Package logfmt reads logs of key=value pairs, as Go's log/slog, Heroku,
// Grafana's programs and many others write them. Which key fills which record
// field is said by a map in the configuration; what it does not name is not kept.
//
// The form is not specified anywhere; read is what its writers agree on: pairs
// between spaces, values bare or in double quotes with Go's escapes, a bare key
// for true. A line without any pair is not logfmt and stays unparsed.
package logfmt

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// Config is what the parser is told. The path of a mapping is one key; dots in
// it belong to the key.
type Config struct {
	parsers.Config
	Fields     []parsers.Mapping
	Set        []parsers.Constant
	TimeLayout string
}

// Parser reads lines of key=value pairs. It holds nothing between lines.
type Parser struct {
	fields  *fieldmap.Map
	unquote []byte // unescaped values of the line in hand
}

// New compiles the field map.
func New(c Config) (*Parser, error) {
	fields, err := fieldmap.New(fieldmap.Config{Config: c.Config, Fields: c.Fields, Set: c.Set, TimeLayout: c.TimeLayout, Flat: true})
	if err != nil {
		return nil, err
	}
	return &Parser{fields: fields}, nil
}

// Reasons why a line is not read.
const (
	reasonNoPair = "no key=value pair"
	reasonQuote  = "a quoted value does not end"
	reasonEscape = "a quoted value has an escape that Go does not know"
)

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	p.unquote = p.unquote[:0]
	dst = p.fields.Begin(dst, &line)
	if reason := p.pairs(line.Data, line.Cut); reason != "" {
		return dst[:len(dst)-1], parsers.Outcome{Rule: reason}, nil
	}
	dst, outcome := p.fields.End(dst)
	return dst, outcome, nil
}

// pairs takes every pair of a line and returns why it can not be read, if so.
// Of a cut line the last value is left out: it may go on.
func (p *Parser) pairs(data []byte, cut bool) (reason string) {
	pairs := 0
	for {
		data = bytes.TrimLeft(data, " \t")
		if len(data) == 0 {
			break
		}
		end := bytes.IndexAny(data, "= \t")
		if end < 0 {
			end = len(data)
		}
		key := data[:end]
		data = data[end:]
		if len(data) == 0 || data[0] != '=' || len(key) == 0 {
			if len(key) == 0 {
				data = data[1:] // a stray "="
			}
			continue // words between pairs are no fields
		}
		var value []byte
		var whole bool
		if value, data, whole, reason = p.value(data[1:]); reason != "" {
			if cut {
				break
			}
			return reason
		}
		if cut && !whole && len(data) == 0 {
			break
		}
		pairs++
		p.fields.Take(p.fields.Key(key), value)
	}
	if pairs == 0 {
		return reasonNoPair
	}
	return ""
}

// value reads the value at the beginning of data. whole tells that nothing can
// be missing behind it.
func (p *Parser) value(data []byte) (value, rest []byte, whole bool, reason string) {
	if len(data) == 0 || data[0] != '"' {
		end := bytes.IndexAny(data, " \t")
		if end < 0 {
			return data, nil, false, ""
		}
		return data[:end], data[end:], true, ""
	}
	escaped := false
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if !escaped {
				return data[1:i], data[i+1:], true, ""
			}
			text, err := strconv.Unquote(string(data[:i+1]))
			if err != nil {
				return nil, nil, true, reasonEscape
			}
			at := len(p.unquote)
			p.unquote = append(p.unquote, text...)
			return p.unquote[at:len(p.unquote):len(p.unquote)], data[i+1:], true, ""
		}
	}
	return nil, nil, false, reasonQuote
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
