package triton

import (
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/parsers/internal/state"
)

// A snapshot is, in the encoding of package state:
//
//	version 1
//	servers: path, version, lines of a text, loads
//	calls, oldest first: server, times, lines, texts
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: []byte{snapshotVersion}}
	e.Number(int64(len(p.servers)))
	for i, s := range p.servers {
		s.number = i
		e.Text(s.path)
		e.Text(s.version)
		e.Number(int64(s.detail))
		e.Number(int64(len(s.loads)))
		for _, l := range s.loads {
			e.Text(l.model)
			e.Number(int64(len(l.versions)))
			for _, v := range l.versions {
				e.Text(v)
			}
			e.Time(l.seen)
			e.Refs(l.held)
		}
	}
	e.Number(int64(len(p.calls)))
	for _, c := range p.calls {
		e.Number(int64(c.server.number))
		e.Time(c.when)
		e.Time(c.seen)
		e.Refs(c.held)
		e.Flags(c.zoned, c.prepared)
		for _, text := range c.texts() {
			e.Text(*text)
		}
	}
	return e.Bytes
}

// texts are the texts of a call in the order of a snapshot.
func (c *call) texts() [7]*string {
	return [7]*string{&c.method, &c.path, &c.model, &c.asked, &c.actual, &c.id, &c.correlation}
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	fresh := &Parser{zone: p.zone}
	if len(snapshot) > 0 {
		if err := fresh.restore(snapshot); err != nil {
			return fmt.Errorf("restore triton state: %w", err)
		}
	}
	p.servers, p.last, p.calls, p.lines = fresh.servers, nil, fresh.calls, fresh.lines
	return nil
}

func (p *Parser) restore(snapshot []byte) error {
	if snapshot[0] != snapshotVersion {
		return fmt.Errorf("%w: version %d", errSnapshot, snapshot[0])
	}
	d := state.NewDecoder(snapshot[1:])
	for range d.Count(maxServers) {
		s := decodeServer(d)
		if p.find(s.path) != nil {
			d.Fail()
		}
		p.servers = append(p.servers, s)
	}
	for range d.Count(maxCalls) {
		at := d.Count(len(p.servers) - 1)
		if d.Failed() {
			return errSnapshot
		}
		c := &call{server: p.servers[at], when: d.Time().In(p.zone), seen: d.Time(), held: d.Refs(maxHeld)}
		d.Flags(&c.zoned, &c.prepared)
		if c.zoned {
			c.when = c.when.In(time.UTC)
		}
		for _, text := range c.texts() {
			*text = d.Text()
		}
		if len(c.held) == 0 || c.prepared && (c.model == "" || c.id == "") {
			d.Fail()
		}
		for i := range c.held {
			p.lines += c.held[i].Lines
		}
		p.calls = append(p.calls, c)
	}
	if !d.Done() {
		return errSnapshot
	}
	return nil
}

func decodeServer(d *state.Decoder) *server {
	s := &server{path: d.Text(), version: d.Text(), detail: d.Count(maxDetail)}
	if s.version != "" && !isVersion([]byte(s.version)) {
		d.Fail()
	}
	for range d.Count(maxLoads) {
		l := &load{model: d.Text()}
		for range d.Count(maxHeld) {
			l.versions = append(l.versions, d.Text())
		}
		l.seen, l.held = d.Time(), d.Refs(maxHeld)
		if l.model == "" || len(l.versions) == 0 || len(l.versions) != len(l.held) {
			d.Fail()
		}
		s.loads = append(s.loads, l)
	}
	return s
}
