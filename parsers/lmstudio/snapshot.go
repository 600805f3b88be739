package lmstudio

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/state"
)

// A snapshot is, in the encoding of package state:
//
//	version 1
//	calls, oldest first: log, times, lines, texts, flags, facts, content
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.calls) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: append(make([]byte, 0, 512*len(p.calls)+p.bytes), snapshotVersion)}
	e.Number(int64(len(p.calls)))
	for _, c := range p.calls {
		encodeCall(&e, c)
	}
	return e.Bytes
}

func encodeCall(e *state.Encoder, c *call) {
	e.Flags(c.zoned, c.received, c.cancelled, c.ended, c.inferred, c.input.truncated)
	e.Time(c.when)
	e.Time(c.last)
	e.Time(c.seen)
	e.Refs(c.held)
	for _, text := range c.texts() {
		e.Text(*text)
	}
	e.Number(int64(c.messages))
	e.Number(int64(c.facts.Flags() & marks))
	for _, field := range facts {
		e.Flags(c.facts.Has(field))
		switch {
		case !c.facts.Has(field):
		case field.Def().Kind == audit.KindInt:
			e.Number(c.facts.Int(field))
		case field.Def().Kind == audit.KindBool:
			e.Flags(c.facts.Bool(field))
		default:
			e.Text(string(c.facts.Text(field))) // without secrets, which Data would keep
		}
	}
	e.Data(c.input.applied)
	e.Number(int64(c.input.parts))
}

// texts are the texts of a call in the order of a snapshot.
func (c *call) texts() [5]*string {
	return [5]*string{&c.log, &c.method, &c.path, &c.operation, &c.tag}
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	var calls []*call
	if len(snapshot) > 0 {
		if snapshot[0] != snapshotVersion {
			return fmt.Errorf("restore lm-studio state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		for range d.Count(maxCalls) {
			calls = append(calls, p.decodeCall(d))
		}
		if !d.Done() {
			return fmt.Errorf("restore lm-studio state: %w", errSnapshot)
		}
	}
	p.calls, p.lines, p.bytes = calls, 0, 0
	for _, c := range calls {
		p.bytes += len(c.input.applied)
		for i := range c.held {
			p.lines += c.held[i].Lines
		}
	}
	return nil
}

func (p *Parser) decodeCall(d *state.Decoder) *call {
	c := &call{}
	d.Flags(&c.zoned, &c.received, &c.cancelled, &c.ended, &c.inferred, &c.input.truncated)
	c.when, c.last, c.seen, c.held = d.Time().In(p.zone), d.Time().In(p.zone), d.Time(), d.Refs(maxHeld)
	if c.zoned {
		c.when = c.when.In(time.UTC)
	}
	for _, text := range c.texts() {
		*text = d.Text()
	}
	c.messages = d.Count(math.MaxInt32)
	c.facts.Flag(audit.Quality(d.Number()) & marks)
	for _, field := range facts {
		var has bool
		if d.Flags(&has); has && !d.Failed() {
			decodeFact(d, &c.facts, field)
		}
	}
	c.input.applied = d.Data()
	c.input.parts = d.Count(math.MaxInt32)
	if len(c.held) == 0 || c.received != (c.path != "") || c.received == (c.operation != "") {
		d.Fail()
	}
	return c
}

func decodeFact(d *state.Decoder, r *audit.Record, field audit.Field) {
	switch field.Def().Kind {
	case audit.KindInt:
		r.SetInt(field, d.Number())
	case audit.KindBool:
		var yes bool
		d.Flags(&yes)
		r.SetBool(field, yes)
	case audit.KindJSON, audit.KindNumber, audit.KindStrings:
		value := d.Data()
		if !fieldmap.Valid(value) || (value[0] == '[') != (field.Def().Kind == audit.KindStrings) {
			d.Fail()
			return
		}
		r.SetJSON(field, value)
	default:
		r.SetText(field, d.Data())
	}
}
