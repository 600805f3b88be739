package triton

import (
	"bytes"
	"strconv"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Bounds of what is held.
const (
	settleTime = 5 * time.Second // in which the lines of a call follow each other
	maxCalls   = 256
	maxServers = 256
	maxHeld    = 4   // lines of one call
	maxDetail  = 512 // lines of a text on several lines
	maxLoads   = 64  // models that are loaded at once
	maxName    = 512
)

const (
	outcomeUnknown = "unknown"
	reasonInfer    = "infer_failed"
)

// call is one call on its way.
type call struct {
	server *server
	when   time.Time // of its first line, by the log
	zoned  bool
	seen   time.Time // when its last line was read
	held   []parsers.Ref

	method, path  string // of HTTP; empty: not known
	model         string
	asked, actual string // versions
	id            string
	correlation   string
	prepared      bool
}

// methods are libevhtp's numbers of methods, in which Triton prints them.
var methods = [...]string{
	"GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "TRACE", "CONNECT", "PATCH",
}

// cutMethod reads "2 /v2/models/x/infer".
func cutMethod(b []byte) (method string, target []byte, ok bool) {
	number, target, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(number) == 0 || len(number) > 2 {
		return "", nil, false
	}
	n := 0
	for _, c := range number {
		if c < '0' || c > '9' {
			return "", nil, false
		}
		n = n*10 + int(c-'0')
	}
	if n >= len(methods) {
		return "", target, true
	}
	return methods[n], target, true
}

// request reads what follows "HTTP request: ". A call to a model is held for what is
// prepared; others are recorded, without a status, because none is logged.
func (p *Parser) request(dst []parsers.Draft, line *parsers.Line, e *entry, b []byte) ([]parsers.Draft, parsers.Outcome) {
	method, target, ok := cutMethod(b)
	if !ok || len(target) == 0 {
		return dst, unparsed("no method and path behind HTTP request")
	}
	route := parsers.Classify([]byte(method), target)
	if route.Event == "model.inference" || !route.Known() {
		dst, s := p.serverOf(dst, line.Path)
		c := &call{server: s, when: e.when, zoned: e.zoned, method: method, path: string(target), model: string(route.Model), asked: string(route.Revision)}
		return p.admit(dst, c, line), held()
	}
	if rule, noise := quietRoute(&route); noise {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	d.SetTime(e.when, e.zoned)
	d.SetRequest([]byte(method), &route)
	d.Record.SetString(audit.Outcome, outcomeUnknown)
	d.Record.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	p.describe(d, p.find(line.Path))
	return dst, recorded()
}

// quietRoute returns the rule under which a request of a route is ignored, though its
// status is not logged: probes come every few seconds and tell of nothing when they
// fail but that the server is not ready, which it says itself.
func quietRoute(route *parsers.Route) (rule string, ignored bool) {
	return route.Noise(200)
}

// admit holds a call.
func (p *Parser) admit(dst []parsers.Draft, c *call, line *parsers.Line) []parsers.Draft {
	if len(p.calls) == maxCalls {
		dst = p.record(dst, p.calls[0])
	}
	p.calls = append(p.calls, c)
	p.hold(c, line)
	return dst
}

func (p *Parser) hold(c *call, line *parsers.Line) bool {
	c.seen = line.Seen
	if len(c.held) == maxHeld {
		return false
	}
	ref := line.Ref()
	c.held = append(c.held, ref)
	p.lines += ref.Lines
	return true
}

// prepared reads what follows "prepared: ":
//
//	[0x0x7efe841eb340] request id: G-bf9acb9e, model: identity_fp32, requested version: 1, actual version: 1, flags: 0x0, correlation id: 0, batch size: 1, priority: 0, timeout (us): 0
//
// The caller chooses request and correlation id. What else the line has comes from the
// server, so the last of each mark is the server's.
func (p *Parser) prepared(dst []parsers.Draft, line *parsers.Line, e *entry, b []byte) ([]parsers.Draft, parsers.Outcome) {
	first, _, _ := bytes.Cut(b, []byte("\n"))
	_, rest, ok := bytes.Cut(first, []byte("] request id: "))
	at := bytes.LastIndex(rest, []byte(", model: "))
	if !ok || at < 0 {
		return dst, unparsed("no request id and model in what was prepared")
	}
	id, rest := rest[:at], rest[at+len(", model: "):]
	model, rest, ok1 := bytes.Cut(rest, []byte(", requested version: "))
	asked, rest, ok2 := bytes.Cut(rest, []byte(", actual version: "))
	actual, rest, ok3 := bytes.Cut(rest, []byte(", flags: "))
	if !ok1 || !ok2 || !ok3 || len(model) == 0 || len(model) > maxName || len(id) > maxName {
		return dst, unparsed("no model and version in what was prepared")
	}
	_, rest, _ = bytes.Cut(rest, []byte(", correlation id: "))
	correlation := rest
	if at = bytes.LastIndex(rest, []byte(", batch size: ")); at >= 0 {
		correlation = rest[:at]
	}
	dst, s := p.serverOf(dst, line.Path)
	if !e.quoted {
		s.detail = maxDetail // its tensors follow on lines of their own
	}
	if string(asked) == "-1" {
		asked = nil // none was asked for
	}
	c := p.waiting(s, model, asked)
	if c == nil {
		c = &call{server: s, when: e.when, zoned: e.zoned, model: string(model), asked: string(asked)}
		dst = p.admit(dst, c, line)
	} else {
		p.hold(c, line)
	}
	c.prepared, c.actual, c.id = true, string(actual), string(id)
	if len(correlation) <= maxName && string(correlation) != "0" {
		c.correlation = string(correlation)
	}
	if c.id == "" {
		c.held = c.held[:len(c.held)-1] // no line that follows can name it
		p.lines -= line.Ref().Lines
		return p.record(dst, c), recorded()
	}
	return dst, held()
}

// waiting returns the oldest call over HTTP that asked for the model and the version
// and was not prepared yet, or nil.
func (p *Parser) waiting(s *server, model, asked []byte) *call {
	for _, c := range p.calls {
		if c.server == s && !c.prepared && c.model == string(model) && c.asked == string(asked) {
			return c
		}
	}
	return nil
}

// refused reads "HTTP error: 2 /v2/nope - 404", which follows the request.
func (p *Parser) refused(dst []parsers.Draft, line *parsers.Line, e *entry, b []byte) ([]parsers.Draft, parsers.Outcome) {
	method, rest, ok := cutMethod(b)
	at := bytes.LastIndex(rest, []byte(" - "))
	if !ok || at < 0 {
		return dst, unparsed("no status behind HTTP error")
	}
	status, err := strconv.Atoi(string(rest[at+len(" - "):]))
	if err != nil || status < 400 || status > 599 {
		return dst, unparsed("no status behind HTTP error")
	}
	path := rest[:at]
	dst, s := p.serverOf(dst, line.Path)
	var found *call
	for _, c := range p.calls {
		if c.server == s && !c.prepared && c.method == method && c.path == string(path) {
			found = c
		}
	}
	if found == nil {
		found = &call{server: s, when: e.when, zoned: e.zoned, method: method, path: string(path)}
		dst = p.draft(dst, found)
	} else {
		dst = p.record(dst, found)
	}
	d := &dst[len(dst)-1]
	d.Record.Clear(audit.Outcome)
	d.Record.Clear(audit.Reason)
	d.SetStatus(status)
	return dst, recorded()
}

// failed reads "[request id: G-bf9acb9e] Infer failed: …". The text can quote what the
// caller sent and is not kept.
func (p *Parser) failed(dst []parsers.Draft, line *parsers.Line, e *entry, id []byte) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	var found *call
	for _, c := range p.calls {
		if c.server == s && len(id) > 0 && c.id == string(id) {
			found = c
		}
	}
	if found == nil && len(id) == 0 {
		found = p.only(s) // it failed before it was prepared
	}
	switch {
	case found != nil:
		dst = p.record(dst, found)
	case len(id) == 0:
		return dst, unparsed("a call failed, and the line does not say which")
	default:
		dst, s = p.serverOf(dst, line.Path)
		dst = p.draft(dst, &call{server: s, when: e.when, zoned: e.zoned, id: string(id)})
	}
	r := &dst[len(dst)-1].Record
	r.SetString(audit.Outcome, "failed")
	r.SetString(audit.Reason, reasonInfer)
	return dst, recorded()
}

// only returns the call that waits for being prepared, if there is just one.
func (p *Parser) only(s *server) (found *call) {
	for _, c := range p.calls {
		if c.server == s && !c.prepared {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

// releases records the call that the server is done with. That says nothing of how it
// ended.
func (p *Parser) releases(dst []parsers.Draft, line *parsers.Line, _ *entry, id []byte) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	for _, c := range p.calls {
		if c.server == s && len(id) > 0 && c.id == string(id) {
			return p.record(dst, c), recorded()
		}
	}
	return dst, ignored(ruleServer)
}

// settle records the calls of a server whose lines have all been logged by now.
func (p *Parser) settle(dst []parsers.Draft, s *server, now time.Time) []parsers.Draft {
	for len(p.calls) > 0 {
		var old *call
		for _, c := range p.calls {
			if c.server == s {
				old = c
				break
			}
		}
		if old == nil || now.Sub(old.when) < settleTime {
			break
		}
		dst = p.record(dst, old)
	}
	return dst
}

// record turns a held call into a record and forgets it.
func (p *Parser) record(dst []parsers.Draft, c *call) []parsers.Draft {
	dst = p.draft(dst, c)
	for i, other := range p.calls {
		if other == c {
			p.calls = append(p.calls[:i], p.calls[i+1:]...)
			break
		}
	}
	for i := range c.held {
		p.lines -= c.held[i].Lines
	}
	return dst
}

// draft appends the record of a call: everything its lines said.
func (p *Parser) draft(dst []parsers.Draft, c *call) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, c.held...)
	d.SetTime(c.when, c.zoned)
	if c.path != "" {
		route := parsers.Classify([]byte(c.method), []byte(c.path))
		if c.prepared {
			r.SetString(audit.ModelName, c.model)
			r.SetString(audit.ModelVersion, c.actual)
		}
		d.SetRequest([]byte(c.method), &route)
	} else {
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "predict")
		r.SetString(audit.ModelName, c.model)
		r.SetString(audit.ModelVersion, c.actual)
	}
	r.SetString(audit.SessionRequestID, c.id)
	r.SetString(audit.Outcome, outcomeUnknown)
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	if c.correlation != "" {
		r.SetJSON(audit.Extra, append(audit.AppendString([]byte(`{"correlation_id":`), c.correlation), '}'))
	}
	if c.prepared && c.path != "" {
		r.Flag(audit.InferredJoin)
	}
	p.describe(d, c.server)
	return dst
}

// describe fills what is known of the server behind a record.
func (p *Parser) describe(d *parsers.Draft, s *server) {
	d.Record.SetString(audit.APIServer, "triton")
	if s != nil {
		d.Record.SetString(audit.APIServerVersion, s.version)
	}
	d.SetProvider(p.provider)
}
