package llamacpp

import (
	"errors"
	"fmt"

	"github.com/auditail/auditail/parsers/internal/state"
)

// A snapshot is, in the encoding of package state:
//
//	version 1
//	servers: name, version, facts, flags, numbers of failed tasks, load
//	tasks, oldest first: server, number, times, lines, flags, counts
//
// Servers are named by their number.
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: append(make([]byte, 0, 128*(len(p.servers)+p.count)), snapshotVersion)}
	e.Number(int64(len(p.servers)))
	for i, s := range p.servers {
		s.number = i
		e.Text(s.name)
		e.Text(s.version)
		e.Text(s.facts.file)
		e.Text(s.facts.alias)
		e.Text(s.facts.version)
		e.Flags(s.calls, s.load != nil)
		e.Number(s.block)
		e.Number(int64(s.example))
		e.Number(int64(len(s.recent)))
		for _, id := range s.recent {
			e.Number(id)
		}
		if s.load != nil {
			e.Refs(s.load.held)
			e.Time(s.load.seen)
		}
	}
	e.Number(int64(p.count))
	for t := p.queue.next; t != &p.queue; t = t.next {
		e.Number(int64(t.server.number))
		e.Number(t.id)
		e.Number(t.slot)
		e.Time(t.seen)
		e.Number(t.when)
		e.Refs(t.held)
		e.Flags(t.launched, t.released, t.cancelled)
		e.Text(t.failure)
		for _, n := range t.counts() {
			e.Number(*n)
		}
	}
	return e.Bytes
}

// counts are the figures of a task in the order of a snapshot.
func (t *task) counts() [5]*int64 {
	return [5]*int64{&t.input, &t.cached, &t.evaluated, &t.output, &t.ms}
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	fresh := &Parser{}
	fresh.reset()
	if len(snapshot) > 0 {
		if err := fresh.restore(snapshot); err != nil {
			return fmt.Errorf("restore llamacpp state: %w", err)
		}
	}
	p.reset()
	p.servers, p.count, p.lines = fresh.servers, fresh.count, fresh.lines
	if p.count > 0 {
		p.queue.next, p.queue.previous = fresh.queue.next, fresh.queue.previous
		p.queue.next.previous, p.queue.previous.next = &p.queue, &p.queue
	}
	return nil
}

func (p *Parser) restore(snapshot []byte) error {
	if snapshot[0] != snapshotVersion {
		return fmt.Errorf("%w: version %d", errSnapshot, snapshot[0])
	}
	d := state.NewDecoder(snapshot[1:])
	for range d.Count(maxServers) {
		s := decodeServer(d)
		if p.find(s.name) != nil {
			d.Fail()
		}
		p.servers = append(p.servers, s)
	}
	for range d.Count(maxTasks) {
		at := d.Count(len(p.servers) - 1)
		if d.Failed() {
			return errSnapshot
		}
		s := p.servers[at]
		id, slot := d.Number(), d.Number()
		if id < anonymous || id == noTask || slot < noSlot || s.open[id] != nil {
			return errSnapshot
		}
		_, t := p.taskOf(nil, s, id, slot)
		t.seen, t.when, t.held = d.Time(), d.Number(), d.Refs(maxLines)
		d.Flags(&t.launched, &t.released, &t.cancelled)
		t.failure = d.Text()
		for _, n := range t.counts() {
			if *n = d.Number(); *n < -1 {
				d.Fail()
			}
		}
		if t.when < 0 || t.when > maxTime || len(t.held) == 0 {
			d.Fail()
		}
		for i := range t.held {
			p.lines += t.held[i].Lines
		}
	}
	if !d.Done() {
		return errSnapshot
	}
	return nil
}

// maxTime bounds the seconds of a legacy line; year 5138.
const maxTime = 1e11

func decodeServer(d *state.Decoder) *server {
	s := newServer(d.Text())
	s.version = d.Text()
	s.facts = facts{file: d.Text(), alias: d.Text(), version: d.Text()}
	var loads bool
	d.Flags(&s.calls, &loads)
	s.block = d.Number()
	s.example = d.Count(maxExample)
	for range d.Count(maxRecent) {
		s.recent = append(s.recent, d.Number())
	}
	if loads {
		s.load = &load{held: d.Refs(1), seen: d.Time()}
		if len(s.load.held) != 1 {
			d.Fail()
		}
	}
	if s.block < anonymous {
		d.Fail()
	}
	return s
}
