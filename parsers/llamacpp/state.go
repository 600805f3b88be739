package llamacpp

import (
	"slices"
	"strconv"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Bounds of what is held.
const (
	window     = time.Hour       // after which a task whose end was not logged is recorded
	settle     = 3 * time.Second // after which nothing more is logged of a task that ended
	maxTasks   = 1024
	maxServers = 256
	maxLines   = 16 // of one task
	maxRecent  = 16
	maxExample = 64 // lines of a printed chat template
)

// Numbers that no task and no slot has.
const (
	noTask    = int64(-1)
	anonymous = int64(-2) // of the servers that wrote timings without a number
	noSlot    = int64(-1)
)

// Outcomes and reasons of tasks.
const (
	outcomeSuccess   = "success"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
	outcomeUnknown   = "unknown"

	reasonAborted   = "aborted"      // the caller went away, or the server stopped it
	reasonEngine    = "engine_error" // the engine could not do it
	reasonContext   = "context_exceeded"
	reasonTooLarge  = "input_too_large" // for one batch
	reasonRestarted = "server_restart"  // the server started again while the task was open
	reasonReused    = "task_id_used"    // another task came with the same number
)

// server is what is remembered of one server's log.
type server struct {
	name    string // path, and instance behind a router
	version string // "b4747"
	facts   facts
	load    *load // under way; nil: none
	open    map[int64]*task
	recent  []int64 // failed tasks that were recorded: their cancellation may follow
	block   int64   // task whose timings follow on lines without a number, or noTask
	example int     // lines that a printed chat template may still have
	calls   bool    // this server writes access lines

	number int // within a snapshot
}

// facts are what the log says of the model that the server runs.
type facts struct {
	file    string // as it was given
	alias   string // the name that a router has for it
	version string // general.version of the file
}

// load is a model on its way into memory.
type load struct {
	held []parsers.Ref
	seen time.Time
}

// task is one task of the engine.
type task struct {
	server *server
	id     int64
	slot   int64
	seen   time.Time // when its last line was read
	when   int64     // time of its last line, Unix seconds; 0: not known
	held   []parsers.Ref

	launched  bool
	released  bool
	cancelled bool
	failure   string // reason; empty: none was logged

	input     int64 // tokens of the whole prompt; negative: not known, like those below
	cached    int64
	evaluated int64
	output    int64
	ms        int64

	previous, next *task
}

// find returns the server of a name, or nil.
func (p *Parser) find(name string) *server {
	if p.last != nil && p.last.name == name {
		return p.last
	}
	for _, s := range p.servers {
		if s.name == name {
			p.last = s
			return s
		}
	}
	return nil
}

// serverOf returns the server of the line. The oldest is forgotten when there are too
// many; what it held is recorded.
func (p *Parser) serverOf(dst []parsers.Draft, name string) ([]parsers.Draft, *server) {
	if s := p.find(name); s != nil {
		return dst, s
	}
	if len(p.servers) == maxServers {
		dst = p.recordAll(dst, p.servers[0], parsers.ReasonOutcomeNotLogged)
		p.servers = slices.Delete(p.servers, 0, 1)
	}
	s := newServer(name)
	p.servers = append(p.servers, s)
	p.last = s
	return dst, s
}

func newServer(name string) *server {
	return &server{name: name, block: noTask, open: map[int64]*task{}}
}

// taskOf returns the task of a number, a new one if there is none.
func (p *Parser) taskOf(dst []parsers.Draft, s *server, id, slot int64) ([]parsers.Draft, *task) {
	if t := s.open[id]; t != nil {
		return dst, t
	}
	t := &task{server: s, id: id, slot: slot, input: -1, cached: -1, evaluated: -1, output: -1, ms: -1}
	s.open[id] = t
	t.previous, t.next = p.queue.previous, &p.queue
	t.previous.next, t.next.previous = t, t
	if p.count++; p.count > maxTasks {
		dst = p.record(dst, p.queue.next, parsers.ReasonOutcomeNotLogged)
	}
	return dst, t
}

// hold adds a line to a task. It reports false when the task has too many.
func (p *Parser) hold(t *task, c *current) bool {
	t.seen = c.line.Seen
	if c.when != 0 {
		t.when = c.when
	}
	if len(t.held) == maxLines {
		return false
	}
	ref := c.line.Ref()
	t.held = append(t.held, ref)
	p.lines += ref.Lines
	return true
}

// holding is the outcome of a line that belongs to a task.
func (p *Parser) holding(t *task, c *current) parsers.Outcome {
	if p.hold(t, c) {
		return held()
	}
	return ignored(ruleSlot)
}

// completed tells whether nothing more will be logged of the task.
func (t *task) completed() bool {
	return t.released && (t.output >= 0 || t.cancelled || t.failure != "")
}

// settled tells whether the task waits only for lines that need not come.
func (t *task) settled() bool { return t.released || (t.cancelled || t.failure != "") && !t.launched }

// end records the task with this line when it is complete, else holds the line.
func (p *Parser) end(dst []parsers.Draft, c *current, t *task) ([]parsers.Draft, parsers.Outcome) {
	if !t.completed() {
		return dst, p.holding(t, c)
	}
	t.seen = c.line.Seen
	if c.when != 0 {
		t.when = c.when
	}
	return p.record(dst, t, ""), recorded()
}

// settle records the tasks of a server of which nothing more will be logged, now
// that a line was logged which follows everything about them. Those that the line is
// about itself, by their number, stay.
func (p *Parser) settle(dst []parsers.Draft, s *server, id int64) []parsers.Draft {
	for t := p.queue.next; t != &p.queue; {
		next := t.next
		if t.server == s && t.id != id && t.released {
			dst = p.record(dst, t, "")
		}
		t = next
	}
	return dst
}

// record turns a task into a record and forgets it. The reason is that of a task
// that no line says the end of.
func (p *Parser) record(dst []parsers.Draft, t *task, reason string) []parsers.Draft {
	dst = p.draft(dst, t, reason)
	s := t.server
	if s.block == t.id {
		s.block = noTask
	}
	if t.failure != "" && !t.cancelled {
		if len(s.recent) == maxRecent {
			s.recent = slices.Delete(s.recent, 0, 1)
		}
		s.recent = append(s.recent, t.id)
	}
	delete(s.open, t.id)
	t.previous.next, t.next.previous = t.next, t.previous
	t.previous, t.next = nil, nil
	p.count--
	for i := range t.held {
		p.lines -= t.held[i].Lines
	}
	return dst
}

// recordAll records everything that is held of a server.
func (p *Parser) recordAll(dst []parsers.Draft, s *server, reason string) []parsers.Draft {
	for t := p.queue.next; t != &p.queue; {
		next := t.next
		if t.server == s {
			dst = p.record(dst, t, reason)
		}
		t = next
	}
	if s.load != nil {
		dst = p.loaded(dst, s, outcomeUnknown, reason)
	}
	return dst
}

// draft appends the record of a task: everything its lines said.
func (p *Parser) draft(dst []parsers.Draft, t *task, reason string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, t.held...)
	if t.when != 0 {
		d.SetTime(time.Unix(t.when, 0).UTC(), true)
	}
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, "text_completion")
	switch {
	case t.failure != "":
		r.SetString(audit.Outcome, outcomeFailed)
		r.SetString(audit.Reason, t.failure)
	case t.cancelled:
		r.SetString(audit.Outcome, outcomeCancelled)
		r.SetString(audit.Reason, reasonAborted)
	case t.output >= 0:
		r.SetString(audit.Outcome, outcomeSuccess)
	case t.released:
		r.SetString(audit.Outcome, outcomeSuccess)
		r.SetString(audit.APIOperation, "embeddings") // it ended without having generated
	default:
		r.SetString(audit.Outcome, outcomeUnknown)
		if reason == "" {
			reason = parsers.ReasonOutcomeNotLogged
		}
		r.SetString(audit.Reason, reason)
	}
	d.SetActor(nil)
	p.describe(d, t.server)
	for _, n := range [...]struct {
		field audit.Field
		value int64
	}{
		{audit.UsageInputTokens, t.input},
		{audit.UsageCachedTokens, t.cached},
		{audit.UsageOutputTokens, t.output},
		{audit.UsageDurationMs, t.ms},
	} {
		if n.value >= 0 {
			r.SetInt(n.field, n.value)
		}
	}
	var buffer [128]byte
	extra := buffer[:0]
	for _, n := range [...]struct {
		name  string
		value int64
	}{{`"slot_id":`, t.slot}, {`"task_id":`, t.id}, {`"prompt_eval_tokens":`, t.evaluated}} {
		if n.value >= 0 {
			extra = append(append(extra, ','), n.name...)
			extra = strconv.AppendInt(extra, n.value, 10)
		}
	}
	if len(extra) > 0 {
		extra[0] = '{'
		r.SetJSON(audit.Extra, append(extra, '}'))
	}
	return dst
}

// Flush implements [parsers.Stateful]: tasks of which nothing more is logged, and
// those whose end was not logged within the window.
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for t := p.queue.next; t != &p.queue; {
		next := t.next
		waited := now.Sub(t.seen).Abs()
		if now.IsZero() || waited >= window || (t.settled() || t.output >= 0) && waited >= settle {
			dst = p.record(dst, t, parsers.ReasonOutcomeNotLogged)
		}
		t = next
	}
	for _, s := range p.servers {
		if s.load != nil && (now.IsZero() || now.Sub(s.load.seen).Abs() >= window) {
			dst = p.loaded(dst, s, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int {
	lines := p.lines
	for _, s := range p.servers {
		if s.load != nil {
			for i := range s.load.held {
				lines += s.load.held[i].Lines
			}
		}
	}
	return lines
}
