package vllm

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/state"
)

// A snapshot is:
//
//	version 3
//	logs that are within a traceback
//	servers: path, facts, clock, orphan, flags
//	requests, oldest first: server, call, id, times, lines, contents, …
//
// Servers and calls are named by their number; a call is written with the first
// of its requests. Which calls wait for an access line follows from that.
const snapshotVersion = 3

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 && p.traceback.Idle() {
		return nil
	}
	var e encoder
	e.Bytes = append(make([]byte, 0, 256*(1+len(p.servers)+p.count)+p.bytes), snapshotVersion)
	p.traceback.Encode(&e.Encoder)
	e.Number(int64(len(p.servers)))
	for i, s := range p.servers {
		s.number = i
		e.server(s)
	}
	calls := 0
	e.Number(int64(p.count))
	for r := p.queue.next; r != &p.queue; r = r.next {
		e.Number(int64(r.server.number))
		first := r.call.requests[0] == r // both lists are in the order of admission
		if first {
			r.call.number = calls
			calls++
		}
		e.Number(int64(r.call.number))
		if first {
			e.call(r.call)
		}
		e.request(r)
	}
	return e.Bytes
}

type encoder struct{ state.Encoder }

func (e *encoder) server(s *server) {
	e.Text(s.path)
	s.facts.model.Encode(&e.Encoder)
	e.Number(s.facts.limit)
	e.Number(s.clock)
	e.Number(s.orphan)
	e.Number(int64(s.answers))
	e.Flags(s.endsLogged, s.failure)
}

func (e *encoder) call(c *call) {
	e.Text(c.operation)
	e.Flags(c.crowded, c.answered)
	if c.answered {
		a := &c.access
		e.Text(a.client)
		e.Text(a.method)
		e.Text(a.path)
		e.Text(a.version)
		e.Number(int64(a.status))
	}
}

func (e *encoder) request(r *request) {
	e.Text(r.id)
	e.Time(r.seen)
	e.Number(r.logged)
	e.Number(r.nanoseconds)
	e.Number(int64(r.basis))
	e.Refs(r.held)
	e.Text(r.operation)
	e.content(&r.prompt)
	e.content(&r.answer)
	e.Flags(r.hasPrompt, r.hasParams, r.streamed, r.cut, r.invalid)
	r.settings.Encode(&e.Encoder)
	e.Text(r.adapter)
	e.Number(r.inputTokens)
	e.Number(r.outputTokens)
	e.Number(r.answers)
	e.Number(int64(len(r.finish)))
	for _, f := range r.finish {
		e.Text(f)
	}
	e.Text(r.outcome)
	if r.outcome != "" {
		e.Text(r.reason)
		e.Time(r.ended)
		e.Number(r.endedAt)
	}
}

func (e *encoder) content(c *content) {
	e.Data(c.applied)
	e.Number(int64(c.parts))
	e.Flags(c.truncated)
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	fresh := &Parser{config: p.config, provider: p.provider, zone: p.zone}
	fresh.reset()
	if len(snapshot) > 0 {
		if err := fresh.restore(snapshot); err != nil {
			return fmt.Errorf("restore vllm state: %w", err)
		}
	}
	p.reset()
	p.traceback = fresh.traceback
	p.servers, p.count, p.lines, p.bytes = fresh.servers, fresh.count, fresh.lines, fresh.bytes
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
	d := decoder{state.NewDecoder(snapshot[1:])}
	p.traceback.Decode(d.Decoder)
	for range d.Count(maxServers) {
		s := d.server()
		if p.find(s.path) != nil {
			d.Fail()
			break
		}
		p.servers = append(p.servers, s)
	}
	var calls []*call
	for range d.Count(maxRequests) {
		at := d.Count(len(p.servers) - 1)
		n := d.Count(len(calls))
		if d.Failed() || len(p.servers) == 0 {
			return errSnapshot
		}
		s := p.servers[at]
		if n == len(calls) {
			c := d.call()
			calls = append(calls, c)
			switch {
			case c.crowded:
				s.crowd++
			case !c.answered:
				s.waiting = append(s.waiting, c)
			}
		}
		r := d.request()
		r.server, r.call = s, calls[n]
		if d.Failed() || s.open[r.id] != nil || len(r.call.requests) > 0 && r.call.requests[0].server != s {
			return errSnapshot
		}
		r.call.requests = append(r.call.requests, r)
		s.open[r.id] = r
		p.link(r)
	}
	if !d.Done() {
		return errSnapshot
	}
	return nil
}

// decoder reads what encoder wrote.
type decoder struct{ *state.Decoder }

func (d *decoder) server() *server {
	s := newServer(d.Text())
	s.facts.model.Decode(d.Decoder)
	s.facts.limit = d.Number()
	s.clock = d.Number()
	s.orphan = d.Number()
	s.answers = d.Count(math.MaxInt32)
	d.Flags(&s.endsLogged, &s.failure)
	return s
}

func (d *decoder) call() *call {
	c := &call{operation: d.Text()}
	d.Flags(&c.crowded, &c.answered)
	if c.answered {
		a := &c.access
		a.client = d.Text()
		a.method = d.Text()
		a.path = d.Text()
		a.version = d.Text()
		a.status = d.Count(999)
	}
	return c
}

func (d *decoder) request() *request {
	r := &request{id: d.Text()}
	r.seen = d.Time()
	r.logged = d.Number()
	r.nanoseconds = int64(d.Count(999_999_999))
	r.basis = basis(d.Count(int(bases) - 1))
	r.held = d.Refs(maxLines)
	r.operation = d.Text()
	d.content(&r.prompt)
	d.content(&r.answer)
	d.Flags(&r.hasPrompt, &r.hasParams, &r.streamed, &r.cut, &r.invalid)
	r.settings.Decode(d.Decoder)
	r.adapter = d.Text()
	r.inputTokens = d.Number()
	r.outputTokens = d.Number()
	r.answers = d.Number()
	for range d.Count(maxLines) {
		r.finish = append(r.finish, d.Text())
	}
	r.outcome = d.Text()
	if r.outcome != "" {
		r.reason = d.Text()
		r.ended = d.Time()
		r.endedAt = d.Number()
	}
	if len(r.held) == 0 || !stamp.Fits(time.Unix(r.logged, 0).UTC()) || !stamp.Fits(time.Unix(r.endedAt, 0).UTC()) {
		d.Fail()
	}
	return r
}

func (d *decoder) content(c *content) {
	c.applied = d.Data()
	c.parts = d.Count(1)
	d.Flags(&c.truncated)
}
