// Package syslog reads lines that a syslog daemon wrote or forwarded, when what
// stands in the header is wanted too: who logged, where, how urgent, and structured
// data. Which part fills which record field is said by a map in the configuration;
// what it does not name is not kept.
//
// A log that only travels by syslog is better read with the preset of the program
// that wrote it and the input's wrapper = "syslog".
package syslog

import (
	"slices"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// Config is what the parser is told. The path of a mapping is the name of a part:
// facility, severity, timestamp, host, app, pid, msgid, message, sd.ID.NAME, or
// message.NAME of a message that is JSON.
type Config struct {
	parsers.Config
	Fields     []parsers.Mapping
	Set        []parsers.Constant
	TimeLayout string // of times that are mapped; that of the header is known
}

// Parser reads lines with a header of syslog. It holds nothing between lines.
type Parser struct {
	fields *fieldmap.Map
	keys   [parts]fieldmap.Key
	name   []byte // of the part in hand
	text   []byte // unescaped values of the line in hand
}

// New compiles the field map. Unless it names another, time is that of the header.
func New(c Config) (*Parser, error) {
	fields := c.Fields
	if !slices.ContainsFunc(fields, func(m parsers.Mapping) bool { return m.Field == "time" }) {
		fields = append(slices.Clone(fields), fieldmap.From("time", "timestamp rfc3339", "timestamp Jan _2 15:04:05"))
	}
	m, err := fieldmap.New(fieldmap.Config{Config: c.Config, Fields: fields, Set: c.Set, TimeLayout: c.TimeLayout, Flat: true})
	if err != nil {
		return nil, err
	}
	p := &Parser{fields: m}
	for i, name := range names() {
		p.keys[i] = m.Key([]byte(name))
	}
	return p, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	h, ok := split(line.Data)
	if !ok {
		return dst, parsers.Outcome{Rule: "no header of syslog (RFC 5424 or RFC 3164)"}, nil
	}
	p.text = p.text[:0]
	dst = p.fields.Begin(dst, &line)
	p.word("facility", h.facility)
	p.word("severity", h.severity)
	for part, value := range h.parts {
		if len(value) > 0 {
			p.fields.Take(p.keys[part], value)
		}
	}
	p.elements(h.data)
	p.members(h.parts[partMessage])
	dst, outcome := p.fields.End(dst)
	return dst, outcome, nil
}

// word takes a keyword.
func (p *Parser) word(name, word string) {
	if word != "" {
		p.name = append(p.name[:0], name...)
		at := len(p.text)
		p.text = append(p.text, word...)
		p.fields.Take(p.fields.Key(p.name), p.text[at:])
	}
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
