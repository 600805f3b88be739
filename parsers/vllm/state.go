package vllm

import (
	"slices"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/sampling"
	"github.com/auditail/auditail/parsers/internal/served"
)

// server is what is remembered of the log at one path.
type server struct {
	path   string
	facts  facts
	clock  int64 // newest time of an engine line, Unix seconds
	orphan int64 // clock when the last call was recorded without its access line; 0: never

	endsLogged bool // this server logs how requests end

	open    map[string]*request
	waiting []*call // calls that an access line can still be joined to, at most one an operation
	crowd   int     // held calls that no access line can be joined to any more
	answers int     // access lines since there is a crowd
	failure bool    // one of these told of a failure

	number int // within a snapshot
}

// facts are what the start banner says.
type facts struct {
	model served.Model
	limit int64 // length to which logged texts are cut; negative: they are not
}

// call is one HTTP call. The engine may have made several requests of it
// ("cmpl-…-0", "cmpl-…-1").
type call struct {
	operation string
	requests  []*request // held, oldest first
	crowded   bool       // others were open with it, so no access line can be told to be its own
	answered  bool       // its access line was found
	access    access
	number    int // within a snapshot
}

// access is what an access line adds to a call.
type access struct {
	client, method, path, version string
	status                        int
}

// request is one request to the engine.
type request struct {
	server *server
	call   *call

	id          string
	seen        time.Time // when the first line was read
	logged      int64     // time of the first line, Unix seconds
	nanoseconds int64
	basis       basis         // of that time
	held        []parsers.Ref // its lines, oldest first

	operation    string
	prompt       content
	answer       content
	hasPrompt    bool // a line brought the prompt, or said that there is none
	hasParams    bool
	settings     sampling.Settings
	adapter      string
	inputTokens  int64 // negative: not known
	outputTokens int64 // negative: not known
	answers      int64 // lines with answers
	finish       []string
	streamed     bool
	cut          bool // a line was longer than max_line
	invalid      bool // a text was not Unicode
	inferred     bool // its outcome was told by counting access lines; it is recorded at once

	outcome string // empty until its end was logged
	reason  string
	ended   time.Time // when that line was read
	endedAt int64     // by the log, Unix seconds

	size           int
	previous, next *request
}

// content is held only as the capture policy left it.
type content struct {
	applied   []byte
	parts     int
	truncated bool
}

// find returns the server of a path, or nil.
func (p *Parser) find(path string) *server {
	if p.last != nil && p.last.path == path {
		return p.last
	}
	for _, s := range p.servers {
		if s.path == path {
			p.last = s
			return s
		}
	}
	return nil
}

// serverOf returns the server of a path. The oldest is forgotten when there are
// too many; what it held is recorded.
func (p *Parser) serverOf(dst []parsers.Draft, path string) ([]parsers.Draft, *server) {
	if s := p.find(path); s != nil {
		return dst, s
	}
	if len(p.servers) == maxServers {
		dst = p.recordAll(dst, p.servers[0])
		p.servers = slices.Delete(p.servers, 0, 1)
	}
	s := newServer(path)
	p.servers = append(p.servers, s)
	p.last = s
	return dst, s
}

func newServer(path string) *server {
	return &server{path: path, facts: facts{limit: -1}, open: map[string]*request{}}
}

// newRequest returns a request that is not held yet.
func (p *Parser) newRequest(s *server, id string, line *parsers.Line, when time.Time) *request {
	return &request{
		server: s, id: id, seen: line.Seen,
		logged: when.Unix(), nanoseconds: int64(when.Nanosecond()), basis: p.basis,
		operation: operationOf(id), inputTokens: -1, outputTokens: -1,
	}
}

// admit holds a request until its end is logged, as part of a call known
// already or as a new one.
func (p *Parser) admit(dst []parsers.Draft, r *request) []parsers.Draft {
	s := r.server
	if base := baseOf(r.id); base != r.id {
		if first := s.open[base+"-0"]; first != nil && !first.call.answered {
			r.call = first.call
		}
	}
	if r.call == nil {
		dst = p.addCall(dst, r)
	}
	r.call.requests = append(r.call.requests, r)
	s.open[r.id] = r
	p.link(r)
	for p.count > maxRequests || p.bytes > maxBytes && p.count > 1 {
		dst = p.record(dst, p.queue.next)
	}
	return dst
}

// addCall opens a call. Calls of the same operation that wait for an access
// line at the same time cannot be told apart by it, so none of them gets one.
func (p *Parser) addCall(dst []parsers.Draft, r *request) []parsers.Draft {
	s := r.server
	c := &call{operation: r.operation}
	c.crowded = s.crowd > 0 || s.orphan != 0 && !s.settled(s.orphan)
	for at := s.waitingFor(r.operation); at >= 0; at = s.waitingFor(r.operation) {
		other := s.waiting[at]
		s.waiting = slices.Delete(s.waiting, at, at+1)
		other.crowded = true
		s.crowd++
		if !s.over(other) {
			c.crowded = true
		}
		dst = p.recordEnded(dst, other)
	}
	if c.crowded {
		s.crowd++
	} else {
		s.waiting = append(s.waiting, c)
	}
	r.call = c
	return dst
}

// waitingFor returns the index of a call that waits for an access line of the
// operation, or -1.
func (s *server) waitingFor(operation string) int {
	return slices.IndexFunc(s.waiting, func(c *call) bool { return mayBe(c.operation, operation) })
}

// settled tells whether so much has been logged since the time that an access
// line of what ended then would have been, too.
func (s *server) settled(ended int64) bool { return s.clock-ended > int64(settle/time.Second) }

// over tells whether all of the call ended so long ago that no access line of it
// will come.
func (s *server) over(c *call) bool {
	for _, r := range c.requests {
		if r.outcome == "" || !s.settled(r.endedAt) {
			return false
		}
	}
	return true
}

// recordEnded records those requests of a call whose end is known.
func (p *Parser) recordEnded(dst []parsers.Draft, c *call) []parsers.Draft {
	for i := 0; i < len(c.requests); {
		if r := c.requests[i]; r.outcome != "" {
			dst = p.record(dst, r)
		} else {
			i++
		}
	}
	return dst
}

// answered counts an access line that no call can be named for. When there are
// as many as calls in the crowd, each has been answered: if nothing more will be
// logged of them, they are recorded.
func (p *Parser) answered(dst []parsers.Draft, s *server, status int) []parsers.Draft {
	s.answers++
	s.failure = s.failure || status >= 500
	if s.answers < s.crowd || s.endsLogged {
		return dst
	}
	success := !s.failure
	for r := p.queue.next; r != &p.queue; {
		next := r.next
		if r.server == s && r.call.crowded {
			if success && r.outcome == "" {
				r.end(outcomeSuccess, "", r.seen, r.logged)
				r.inferred = true
			}
			dst = p.record(dst, r)
		}
		r = next
	}
	s.orphan = 0
	return dst
}

// recordAll records everything that is held of a server.
func (p *Parser) recordAll(dst []parsers.Draft, s *server) []parsers.Draft {
	for r := p.queue.next; r != &p.queue; {
		next := r.next
		if r.server == s {
			dst = p.record(dst, r)
		}
		r = next
	}
	return dst
}

// record turns a held request into a record and forgets it.
func (p *Parser) record(dst []parsers.Draft, r *request) []parsers.Draft {
	s, c := r.server, r.call
	dst = p.draft(dst, r)
	p.unlink(r)
	delete(s.open, r.id)
	c.requests = slices.DeleteFunc(c.requests, func(other *request) bool { return other == r })
	if c.answered {
		return dst
	}
	if r.outcome == "" || r.outcome != outcomeCancelled && !s.settled(r.endedAt) {
		s.orphan = s.clock
	}
	if len(c.requests) > 0 {
		return dst
	}
	if c.crowded {
		// Had it been answered, its access line is no longer one of the crowd's;
		// had it not, the crowd only waits longer.
		s.crowd--
		s.answers = max(s.answers-1, 0)
		if s.crowd == 0 {
			s.answers, s.failure = 0, false
		}
	} else {
		s.waiting = slices.DeleteFunc(s.waiting, func(other *call) bool { return other == c })
	}
	return dst
}

// hold adds a line to a held request. It reports false when it has too many.
func (p *Parser) hold(r *request, line *parsers.Line) bool {
	if len(r.held) == maxLines {
		return false
	}
	ref := line.Ref()
	r.held = append(r.held, ref)
	if r.next != nil {
		p.lines += ref.Lines
	}
	return true
}

func (p *Parser) link(r *request) {
	r.previous, r.next = p.queue.previous, &p.queue
	r.previous.next, r.next.previous = r, r
	p.count++
	p.lines += physical(r.held)
	p.weigh(r)
}

func (p *Parser) unlink(r *request) {
	r.previous.next, r.next.previous = r.next, r.previous
	r.previous, r.next = nil, nil
	p.count--
	p.lines -= physical(r.held)
	p.bytes -= r.size
}

// physical counts the lines of the source that refs stand for.
func physical(refs []parsers.Ref) (lines int) {
	for i := range refs {
		lines += refs[i].Lines
	}
	return lines
}

// weigh brings the account of held bytes up to date with a held request.
func (p *Parser) weigh(r *request) {
	size := len(r.id) + len(r.prompt.applied) + len(r.answer.applied) + len(r.adapter) + len(r.call.access.path)
	p.bytes += size - r.size
	r.size = size
}

// Flush implements [parsers.Stateful]: requests whose end was not logged within
// the window, and ended ones whose access line did not follow.
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for r := p.queue.next; r != &p.queue; {
		next := r.next
		if now.IsZero() || now.Sub(r.seen).Abs() >= window || r.outcome != "" && now.Sub(r.ended).Abs() >= settle {
			dst = p.record(dst, r)
		}
		r = next
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return p.lines }
