package sglang

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/sampling"
	"github.com/auditail/auditail/parsers/internal/served"
	"github.com/auditail/auditail/parsers/internal/state"
)

// Bounds of what is held. Beyond them the oldest request is recorded as it is.
const (
	window      = 10 * time.Minute // after which a request whose end was not logged is recorded
	maxRequests = 1024
	maxServers  = 256
	maxBytes    = 8 << 20 // of held texts, as the capture policy left them
)

// server is what is remembered of the log at one path.
type server struct {
	path  string
	model served.Model
}

// request is a request whose end was not logged yet. It is one line: "Receive".
type request struct {
	path      string
	ids       []string // at least one
	line      parsers.Ref
	seen      time.Time
	logged    time.Time // zero: the line had no time
	zoned     bool
	operation string
	prompt    []byte // as the capture policy left it
	parts     int
	truncated bool
	settings  sampling.Settings
	adapter   string
	stream    trilean
	tokens    int64
	cut       bool
	invalid   bool
}

func (q *request) size() int {
	size := len(q.prompt) + len(q.adapter)
	for _, id := range q.ids {
		size += len(id)
	}
	return size
}

// key names a request: ids belong to the server that printed them.
type key struct{ path, id string }

// store is what a parser remembers between lines.
type store struct {
	servers []*server // oldest first
	open    []*request
	byID    map[key]*request
	bytes   int
	lines   int
}

// find returns the server of a path, or nil.
func (s *store) find(path string) *server {
	for _, server := range s.servers {
		if server.path == path {
			return server
		}
	}
	return nil
}

// serverOf returns the server of a path. The oldest is forgotten when there are
// too many; what it has open stays open.
func (s *store) serverOf(path string) *server {
	if server := s.find(path); server != nil {
		return server
	}
	if len(s.servers) == maxServers {
		s.servers = slices.Delete(s.servers, 0, 1)
	}
	server := &server{path: path}
	s.servers = append(s.servers, server)
	return server
}

func (s *store) add(q *request) {
	s.open = append(s.open, q)
	if s.byID == nil {
		s.byID = map[key]*request{}
	}
	for _, id := range q.ids {
		s.byID[key{q.path, id}] = q
	}
	s.bytes += q.size()
	s.lines += q.line.Lines
}

// remove forgets a request.
func (s *store) remove(q *request) {
	s.open = slices.DeleteFunc(s.open, func(other *request) bool { return other == q })
	for _, id := range q.ids {
		if k := (key{q.path, id}); s.byID[k] == q {
			delete(s.byID, k)
		}
	}
	s.bytes -= q.size()
	s.lines -= q.line.Lines
}

// full tells whether more is held than may be.
func (s *store) full() bool {
	return len(s.open) > maxRequests || s.bytes > maxBytes && len(s.open) > 1
}

// Flush implements [parsers.Stateful]: requests whose end was not logged within
// the window.
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for _, q := range slices.Clone(p.store.open) {
		if now.IsZero() || now.Sub(q.seen).Abs() >= window {
			dst = p.give(dst, q, parsers.ReasonOutcomeNotLogged)
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return p.store.lines }

// A snapshot is:
//
//	version 1
//	logs that are within a traceback
//	servers: path, model
//	open requests, oldest first
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	s := &p.store
	if len(s.servers) == 0 && len(s.open) == 0 && p.traceback.Idle() {
		return nil
	}
	e := state.Encoder{Bytes: append(make([]byte, 0, 256*(1+len(s.servers)+len(s.open))+s.bytes), snapshotVersion)}
	p.traceback.Encode(&e)
	e.Number(int64(len(s.servers)))
	for _, server := range s.servers {
		e.Text(server.path)
		server.model.Encode(&e)
	}
	e.Number(int64(len(s.open)))
	for _, q := range s.open {
		q.encode(&e)
	}
	return e.Bytes
}

func (q *request) encode(e *state.Encoder) {
	e.Text(q.path)
	e.Number(int64(len(q.ids)))
	for _, id := range q.ids {
		e.Text(id)
	}
	e.Refs([]parsers.Ref{q.line})
	e.Time(q.seen)
	e.Flags(!q.logged.IsZero(), q.zoned, q.truncated, q.cut, q.invalid)
	e.Number(int64(q.stream))
	if !q.logged.IsZero() {
		e.Time(q.logged)
	}
	e.Text(q.operation)
	e.Data(q.prompt)
	e.Number(int64(q.parts))
	q.settings.Encode(e)
	e.Text(q.adapter)
	e.Number(q.tokens)
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	fresh := &Parser{zone: p.zone}
	if len(snapshot) > 0 {
		if err := fresh.restore(snapshot); err != nil {
			return fmt.Errorf("restore sglang state: %w", err)
		}
	}
	p.traceback, p.store = fresh.traceback, fresh.store
	return nil
}

func (p *Parser) restore(snapshot []byte) error {
	if snapshot[0] != snapshotVersion {
		return fmt.Errorf("%w: version %d", errSnapshot, snapshot[0])
	}
	d := state.NewDecoder(snapshot[1:])
	p.traceback.Decode(d)
	for range d.Count(maxServers) {
		server := &server{path: d.Text()}
		server.model.Decode(d)
		if p.store.find(server.path) != nil {
			d.Fail()
		}
		p.store.servers = append(p.store.servers, server)
	}
	for range d.Count(maxRequests) {
		q := decodeRequest(d, p.zone)
		if d.Failed() {
			return errSnapshot
		}
		p.store.add(q)
	}
	if !d.Done() {
		return errSnapshot
	}
	return nil
}

func decodeRequest(d *state.Decoder, zone *time.Location) *request {
	q := &request{path: d.Text()}
	for range d.Count(maxIDs) {
		q.ids = append(q.ids, d.Text())
	}
	refs := d.Refs(1)
	if len(refs) == 0 || len(q.ids) == 0 {
		d.Fail()
		return q
	}
	q.line = refs[0]
	q.seen = d.Time()
	var timed bool
	d.Flags(&timed, &q.zoned, &q.truncated, &q.cut, &q.invalid)
	q.stream = trilean(d.Count(int(yes))) //nolint:gosec // at most 2
	if timed {
		q.logged = d.Time().In(zone)
		if q.zoned {
			q.logged = q.logged.UTC()
		}
	}
	q.operation = d.Text()
	q.prompt = d.Data()
	q.parts = d.Count(1 << 20)
	q.settings.Decode(d)
	q.adapter = d.Text()
	q.tokens = d.Number()
	return q
}
