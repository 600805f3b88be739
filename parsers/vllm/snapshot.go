package vllm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/auditail/auditail/parsers"
)

// A snapshot is, with numbers as varints and texts behind their length:
//
//	version 1
//	servers: path, facts, clock, orphan, flags
//	requests, oldest first: server, call, id, times, lines, contents, …
//
// Servers and calls are named by their number; a call is written with the first
// of its requests. Which calls wait for an access line follows from that.
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 {
		return nil
	}
	e := encoder{b: make([]byte, 0, 256*(len(p.servers)+p.count)+p.bytes)}
	e.b = append(e.b, snapshotVersion)
	e.number(int64(len(p.servers)))
	for i, s := range p.servers {
		s.number = i
		e.server(s)
	}
	calls := 0
	var last parsers.Ref
	e.number(int64(p.count))
	for r := p.queue.next; r != &p.queue; r = r.next {
		e.number(int64(r.server.number))
		first := r.call.requests[0] == r // both lists are in the order of admission
		if first {
			r.call.number = calls
			calls++
		}
		e.number(int64(r.call.number))
		if first {
			e.call(r.call)
		}
		e.request(r, &last)
	}
	return e.b
}

type encoder struct{ b []byte }

func (e *encoder) number(n int64) { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) flags(flags ...bool) {
	var set byte
	for i, flag := range flags {
		if flag {
			set |= 1 << i
		}
	}
	e.b = append(e.b, set)
}

func (e *encoder) server(s *server) {
	e.text(s.path)
	e.text(s.facts.version)
	e.text(s.facts.name)
	e.text(s.facts.model)
	e.text(s.facts.revision)
	e.number(s.facts.limit)
	e.number(s.clock)
	e.number(s.orphan)
	e.number(int64(s.answers))
	e.flags(s.endsLogged, s.traceback, s.failure)
}

func (e *encoder) call(c *call) {
	e.text(c.operation)
	e.flags(c.crowded, c.answered)
	if c.answered {
		a := &c.access
		e.text(a.client)
		e.text(a.method)
		e.text(a.path)
		e.text(a.version)
		e.number(int64(a.status))
	}
}

func (e *encoder) request(r *request, last *parsers.Ref) {
	e.text(r.id)
	e.number(r.seen.UnixNano())
	e.number(r.logged)
	e.number(int64(len(r.held)))
	for _, ref := range r.held {
		same := ref.Generation == last.Generation && ref.Path == last.Path
		e.flags(same)
		if !same {
			e.text(ref.Generation)
			e.text(ref.Path)
		}
		e.number(ref.Offset)
		e.number(ref.Size)
		e.number(int64(ref.Lines))
		*last = ref
	}
	e.text(r.operation)
	e.content(&r.prompt)
	e.content(&r.answer)
	e.flags(r.hasPrompt, r.hasParams, r.streamed, r.cut, r.invalid)
	e.text(r.settings.temperature)
	e.text(r.settings.topP)
	e.flags(r.settings.has[:]...)
	for i, n := range r.settings.number {
		if r.settings.has[i] {
			e.number(n)
		}
	}
	e.text(r.adapter)
	e.number(r.inputTokens)
	e.number(r.outputTokens)
	e.number(r.answers)
	e.number(int64(len(r.finish)))
	for _, f := range r.finish {
		e.text(f)
	}
	e.text(r.outcome)
	if r.outcome != "" {
		e.text(r.reason)
		e.number(r.ended.UnixNano())
		e.number(r.endedAt)
	}
}

func (e *encoder) content(c *content) {
	e.text(string(c.applied))
	e.number(int64(c.parts))
	e.flags(c.truncated)
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
	d := decoder{b: snapshot[1:]}
	for range d.count(maxServers) {
		s := d.server()
		if p.find(s.path) != nil {
			d.fail()
			break
		}
		p.servers = append(p.servers, s)
	}
	var calls []*call
	var last parsers.Ref
	for range d.count(maxRequests) {
		at := d.count(len(p.servers) - 1)
		n := d.count(len(calls))
		if d.failed || len(p.servers) == 0 {
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
		r := d.request(&last)
		r.server, r.call = s, calls[n]
		if d.failed || s.open[r.id] != nil || len(r.call.requests) > 0 && r.call.requests[0].server != s {
			return errSnapshot
		}
		r.call.requests = append(r.call.requests, r)
		s.open[r.id] = r
		p.link(r)
	}
	if d.failed || len(d.b) > 0 {
		return errSnapshot
	}
	return nil
}

// decoder reads what encoder wrote. After a fault it returns zero values.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() { d.failed, d.b = true, nil }

func (d *decoder) number() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count reads a number from 0 to limit.
func (d *decoder) count(limit int) int {
	n := d.number()
	if n < 0 || n > int64(limit) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count(len(d.b))
	if n > len(d.b) { // the number itself took some of them
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) flags(flags ...*bool) {
	if len(d.b) == 0 || d.b[0]>>len(flags) != 0 {
		d.fail()
		return
	}
	for i, flag := range flags {
		*flag = d.b[0]&(1<<i) != 0
	}
	d.b = d.b[1:]
}

func (d *decoder) server() *server {
	s := newServer(d.text())
	s.facts.version = d.text()
	s.facts.name = d.text()
	s.facts.model = d.text()
	s.facts.revision = d.text()
	s.facts.limit = d.number()
	s.clock = d.number()
	s.orphan = d.number()
	s.answers = d.count(math.MaxInt32)
	d.flags(&s.endsLogged, &s.traceback, &s.failure)
	return s
}

func (d *decoder) call() *call {
	c := &call{operation: d.text()}
	d.flags(&c.crowded, &c.answered)
	if c.answered {
		a := &c.access
		a.client = d.text()
		a.method = d.text()
		a.path = d.text()
		a.version = d.text()
		a.status = d.count(999)
	}
	return c
}

func (d *decoder) request(last *parsers.Ref) *request {
	r := &request{id: d.text()}
	r.seen = time.Unix(0, d.number())
	r.logged = d.number()
	for range d.count(maxLines) {
		var same bool
		d.flags(&same)
		if !same {
			last.Generation = d.text()
			last.Path = d.text()
		}
		last.Offset = d.number()
		last.Size = d.number()
		if last.Lines = d.count(maxJoined); last.Lines == 0 {
			d.fail()
		}
		r.held = append(r.held, *last)
	}
	r.operation = d.text()
	d.content(&r.prompt)
	d.content(&r.answer)
	d.flags(&r.hasPrompt, &r.hasParams, &r.streamed, &r.cut, &r.invalid)
	r.settings.temperature = d.text()
	r.settings.topP = d.text()
	has := &r.settings.has
	d.flags(&has[0], &has[1], &has[2], &has[3], &has[4])
	for i := range r.settings.number {
		if has[i] {
			r.settings.number[i] = d.number()
		}
	}
	r.adapter = d.text()
	r.inputTokens = d.number()
	r.outputTokens = d.number()
	r.answers = d.number()
	for range d.count(maxLines) {
		r.finish = append(r.finish, d.text())
	}
	r.outcome = d.text()
	if r.outcome != "" {
		r.reason = d.text()
		r.ended = time.Unix(0, d.number())
		r.endedAt = d.number()
	}
	if len(r.held) == 0 || !isPlain(r.settings.temperature) || !isPlain(r.settings.topP) {
		d.fail()
	}
	return r
}

// maxJoined bounds the physical lines that an input joins into one.
const maxJoined = 1 << 24

// isPlain accepts what readSettings stores of a number.
func isPlain(number string) bool { return number == "" || isNumber([]byte(number)) }

func (d *decoder) content(c *content) {
	if text := d.text(); text != "" {
		c.applied = []byte(text)
	}
	c.parts = d.count(1)
	d.flags(&c.truncated)
}
