package llamacpp

import (
	"bytes"
	"slices"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
)

// server reads what the server says besides its slots.
func (p *Parser) server(dst []parsers.Draft, c *current, l *llamalog.Line) ([]parsers.Draft, parsers.Outcome) {
	m := l.Message
	if rest, ok := bytes.CutPrefix(m, []byte("request: ")); ok {
		return p.access(dst, c, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("done request: ")); ok {
		return p.access(dst, c, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("cancel task, id_task = ")); ok {
		return p.cancel(dst, c, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("task id = ")); ok && string(l.Function) == "send_error" {
		return p.failed(dst, c, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("got exception: ")); ok {
		return p.exception(dst, c, rest)
	}
	switch {
	case string(m) == "unauthorized: Invalid API Key", string(m) == "Unauthorized: Invalid API Key":
		return p.unauthorized(dst, c)
	case string(m) == "all slots are idle":
		if s := p.find(c.server); s != nil && len(s.open) > 0 {
			dst = p.idle(dst, s)
		}
		return dst, ignored(ruleServer)
	case bytes.HasPrefix(m, []byte("request: ")), bytes.HasPrefix(m, []byte("response: ")):
		return dst, unparsed("the body of a call")
	}
	if dst, outcome, ok := p.model(dst, c, l); ok {
		return dst, outcome
	}
	if dst, ok := p.banner(dst, c, l); ok {
		return dst, ignored(ruleBanner)
	}
	if rule, ok := p.router(c, m); ok {
		return dst, ignored(rule)
	}
	rule := ruleServer
	if string(l.Group) == "cmn" || l.Group == nil || string(l.Function) == "init" || string(l.Function) == "load_model" ||
		string(l.Function) == "llama_server" || string(l.Function) == "init_listene" {
		rule = ruleStartup
	}
	return dst, quiet(l, m, rule)
}

// banner learns from what the server says of itself while it starts.
func (p *Parser) banner(dst []parsers.Draft, c *current, l *llamalog.Line) ([]parsers.Draft, bool) {
	m := l.Message
	switch {
	case string(m) == "initializing ..." && string(l.Function) == "llama_server":
		dst, s := p.serverOf(dst, c.server)
		return p.restart(dst, s), true
	case bytes.HasPrefix(m, []byte("common_params_print_info: build ")):
		dst, s := p.serverOf(dst, c.server)
		s.version = buildOf(m[len("common_params_print_info: build "):])
		return dst, true
	case bytes.Contains(m, []byte("example_format: '")) && !bytes.HasSuffix(m, []byte("'")):
		dst, s := p.serverOf(dst, c.server)
		s.example = maxExample
		return dst, true
	}
	return dst, false
}

// version reads "build: 4747 (c9d2fda) with cc (Debian 12) for x86_64-linux-gnu", with
// which servers up to 2025 began.
func (p *Parser) version(dst []parsers.Draft, c *current, m []byte) []parsers.Draft {
	build := buildOf(m)
	if build == "" {
		return dst
	}
	dst, s := p.serverOf(dst, c.server)
	dst = p.restart(dst, s)
	s.version = build
	return dst
}

// buildOf reads "4747 (c9d2fda) …" as "b4747", the name of that release.
func buildOf(b []byte) string {
	n, rest, ok := cutNumber(b)
	if !ok || n <= 0 || !bytes.HasPrefix(rest, []byte(" (")) {
		return ""
	}
	return "b" + string(b[:len(b)-len(rest)])
}

// restart begins with a new server. What the old one had open will not end any more.
func (p *Parser) restart(dst []parsers.Draft, s *server) []parsers.Draft {
	dst = p.recordAll(dst, s, reasonRestarted)
	alias, calls := s.facts.alias, s.calls
	*s = *newServer(s.name)
	s.facts.alias, s.calls = alias, calls
	return dst
}

// router learns which instance runs which model.
func (p *Parser) router(c *current, m []byte) (rule string, ok bool) {
	rest, ok := bytes.CutPrefix(m, []byte("proxying request to model "))
	if !ok {
		if rest, ok = bytes.CutPrefix(m, []byte("spawning server instance with name=")); !ok {
			return "", false
		}
	}
	at := bytes.LastIndex(rest, []byte(" on port "))
	if at <= 0 || at > maxName {
		return ruleRouter, true
	}
	name, port := rest[:at], rest[at+len(" on port "):]
	if n, tail, ok := cutNumber(port); ok && n > 0 && len(tail) == 0 {
		p.name = append(append(append(append(p.name[:0], c.server...), '['), port...), ']')
		if s := p.find(p.serverName(p.name)); s != nil {
			if s.facts.alias != string(name) {
				s.facts.alias = string(name)
			}
		} else if len(p.servers) < maxServers {
			s = newServer(string(p.name))
			s.facts.alias = string(name)
			p.servers = append(p.servers, s)
		}
	}
	return ruleRouter, true
}

// idle records the tasks of which nothing more will be logged now that the engine
// has nothing to do.
func (p *Parser) idle(dst []parsers.Draft, s *server) []parsers.Draft {
	for t := p.queue.next; t != &p.queue; {
		next := t.next
		if t.server == s && t.settled() {
			dst = p.record(dst, t, "")
		}
		t = next
	}
	return dst
}

// cancel notes that a task was cancelled, before it ends, or before it begins.
func (p *Parser) cancel(dst []parsers.Draft, c *current, m []byte) ([]parsers.Draft, parsers.Outcome) {
	id, _, ok := cutNumber(m)
	if !ok || id < 0 {
		return dst, unparsed("no number of a task")
	}
	dst, s := p.serverOf(dst, c.server)
	if at := slices.Index(s.recent, id); at >= 0 && s.open[id] == nil {
		s.recent = slices.Delete(s.recent, at, at+1)
		return dst, ignored(ruleCancel) // it failed, which is recorded
	}
	dst, t := p.taskOf(dst, s, id, noSlot)
	t.cancelled = true
	return p.end(dst, c, t)
}

// failed reads "62, error: request (3020 tokens) exceeds the available context size
// (1024 tokens), try increasing it".
func (p *Parser) failed(dst []parsers.Draft, c *current, m []byte) ([]parsers.Draft, parsers.Outcome) {
	id, rest, ok := cutNumber(m)
	if !ok || id < 0 || !bytes.HasPrefix(rest, []byte(", error: ")) {
		return dst, unparsed("no number of a task")
	}
	dst, s := p.serverOf(dst, c.server)
	dst, t := p.taskOf(dst, s, id, noSlot)
	p.fail(t, rest[len(", error: "):])
	return p.end(dst, c, t)
}

// fail notes why a task failed. The text itself is not kept.
func (p *Parser) fail(t *task, text []byte) {
	t.failure = reasonEngine
	switch {
	case bytes.Contains(text, []byte("exceeds the available context size")):
		t.failure = reasonContext
	case bytes.Contains(text, []byte("too large to process")):
		t.failure = reasonTooLarge
	default:
		return
	}
	for _, mark := range [...]string{"request (", "input ("} {
		if n, ok := after(text, mark); ok && t.input < 0 {
			t.input = n
		}
	}
}

// unauthorized records a call without a valid key. Servers that write access lines
// record it by that.
func (p *Parser) unauthorized(dst []parsers.Draft, c *current) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(c.server)
	if s != nil && s.calls {
		return dst, ignored(ruleServer)
	}
	dst, d := p.next(dst, c)
	d.Record.SetString(audit.Event, "auth.failure")
	d.Record.SetString(audit.Outcome, "denied")
	d.Record.SetString(audit.Reason, "invalid_api_key")
	p.describe(d, s)
	return dst, recorded()
}

// exception records a call that failed before there was a task. Its text can quote
// what the caller sent.
func (p *Parser) exception(dst []parsers.Draft, c *current, m []byte) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(c.server)
	if s != nil && s.calls {
		return dst, ignored(ruleServer)
	}
	status, ok := after(m, `{"error":{"code":`)
	if !ok || status < 400 || status > 599 {
		return dst, unparsed("an exception without a status")
	}
	dst, d := p.next(dst, c)
	d.Record.SetString(audit.Event, "model.inference")
	d.Record.SetString(audit.APIOperation, "text_completion")
	d.SetStatus(int(status))
	p.describe(d, s)
	return dst, recorded()
}

// next begins a record of the line itself.
func (p *Parser) next(dst []parsers.Draft, c *current) ([]parsers.Draft, *parsers.Draft) {
	dst, d := parsers.Next(dst)
	d.SetActor(nil)
	c.setTime(d)
	if c.line.Cut {
		d.Record.Flag(audit.Truncated)
	}
	return dst, d
}

// access reads "POST /v1/chat/completions 127.0.0.1 200". The server prints the path
// as it decoded it, so it is what remains between method and address.
func (p *Parser) access(dst []parsers.Draft, c *current, b []byte) ([]parsers.Draft, parsers.Outcome) {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	at := bytes.LastIndexByte(rest, ' ')
	if !ok || at < 0 || !parsers.IsMethod(method) {
		return dst, unparsed("not an access line, perhaps a body")
	}
	status, tail, ok := cutNumber(rest[at+1:])
	if !ok || len(tail) > 0 || status < -1 || status > 999 {
		return dst, unparsed("no status at the end")
	}
	rest = rest[:at]
	if at = bytes.LastIndexByte(rest, ' '); at < 1 || rest[0] != '/' {
		return dst, unparsed("no path and no client before the status")
	}
	return p.call(dst, c, method, rest[:at], rest[at+1:], int(status))
}

// call records an HTTP call, or ignores it as noise.
func (p *Parser) call(dst []parsers.Draft, c *current, method, path, client []byte, status int) ([]parsers.Draft, parsers.Outcome) {
	dst, s := p.serverOf(dst, c.server)
	s.calls = true
	route := parsers.Classify(method, path)
	if rule, noise := route.Noise(status); noise {
		return dst, ignored(rule)
	}
	dst, d := p.next(dst, c)
	d.SetRequest(method, &route)
	d.SetStatus(status)
	if len(client) > 0 && !d.SetClient(client) {
		d.Record.Flag(audit.FieldsDropped)
	}
	p.describe(d, s)
	return dst, recorded()
}
