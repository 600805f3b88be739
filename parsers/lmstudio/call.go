package lmstudio

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Bounds of what is held.
const (
	callWindow  = 10 * time.Minute // in which a call is answered
	otherWindow = 5 * time.Second  // in which a request is answered that no model works on
	endWindow   = 2 * time.Second  // in which it is logged that an answer had no reader any more
	maxCalls    = 256
	maxBytes    = 8 << 20 // of content
	maxHeld     = 8       // entries of one call
)

// Outcomes and reasons of calls.
const (
	outcomeSuccess   = "success"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
	outcomeUnknown   = "unknown"

	reasonServer     = "server_error"
	reasonLoad       = "load_failed"
	reasonInvalid    = "invalid_json"
	reasonUnexpected = "unexpected_endpoint"
	reasonRestarted  = "server_restart"
)

// call is one call on its way. What logged it is its request, or that a model began to
// work on it, or both.
type call struct {
	log   string    // path of the log
	when  time.Time // of its first entry; zero: not said
	zoned bool
	last  time.Time // of its last entry, by the log
	seen  time.Time // when that was read
	held  []parsers.Ref

	received     bool   // its request was logged
	method, path string // of the request
	operation    string // without a request; listing: models were listed
	messages     int    // that its request has; 0: not known
	tag          string // the model that works on it; empty: none yet
	facts        audit.Record
	input        content
	cancelled    bool // its caller is gone
	ended        bool // its stream ended
	inferred     bool
}

const listing = "list"

// content is what the capture policy left of a text.
type content struct {
	applied   []byte
	parts     int
	truncated bool
}

// event returns the event of the call, its operation and, for some, a route.
func (c *call) event() (event, operation string, route parsers.Route) {
	switch {
	case c.path != "":
	case c.operation == listing:
		return "model.list", "", route
	default:
		return "model.inference", c.operation, route
	}
	route = parsers.Classify([]byte(c.method), []byte(c.path))
	if event, operation = native(c.method, route.Path); event != "" {
		route.Model = nil
		return event, operation, route
	}
	return route.Event, route.Operation, route
}

// native knows the paths of LM Studio's own API that other servers do not have.
func native(method string, path []byte) (event, operation string) {
	rest, ok := bytes.CutPrefix(path, []byte("/api/v1/"))
	if !ok {
		return "", ""
	}
	if method == "GET" {
		if bytes.HasPrefix(rest, []byte("models/")) {
			return "model.list", ""
		}
		return "", ""
	}
	switch string(bytes.TrimRight(rest, "/")) {
	case "chat":
		return "model.inference", "chat"
	case "models/load":
		return "model.load", ""
	case "models/unload":
		return "model.unload", ""
	case "models/download":
		return "data.upload", ""
	default:
		return "", ""
	}
}

// runs tells whether a model works on the call, or is to.
func (c *call) runs() bool {
	event, _, _ := c.event()
	return event == "model.inference" && !c.ended
}

// streams tells whether the request asked for a stream. known is false without a request.
func (c *call) streams() (yes, known bool) {
	return c.facts.Bool(audit.ParamsStream), c.received && (c.facts.Has(audit.ParamsStream) || c.messages > 0)
}

// only returns the call of a log that fits, if there is just one.
func (p *Parser) only(path string, fits func(*call) bool) *call {
	p.found = p.found[:0]
	for _, c := range p.calls {
		if c.log == path && fits(c) {
			p.found = append(p.found, c)
		}
	}
	if len(p.found) != 1 {
		return nil
	}
	return p.found[0]
}

// received reads
//
//	Received request: POST to /v1/chat/completions with body {…}
//	Received POST request to /v1/chat/completions with body: {…}
//	Received request to embed: …
func (p *Parser) received(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	m := e.message[len("Received "):]
	if text, ok := bytes.CutPrefix(m, []byte("request to embed")); ok {
		return p.embeds(dst, line, e, text)
	}
	first, body, _ := bytes.Cut(m, []byte(" with body"))
	rest, ok := bytes.CutPrefix(first, []byte("request: "))
	method, target, ok2 := bytes.Cut(rest, []byte(" to "))
	if !ok {
		method, target, ok2 = bytes.Cut(first, []byte(" request to "))
	}
	target = bytes.TrimSpace(target)
	if !ok2 || !parsers.IsMethod(method) || len(target) == 0 || target[0] != '/' || bytes.IndexByte(target, '\n') >= 0 {
		return dst, unparsed("no method and path of a request")
	}
	if string(target) == "/lmstudio-greeting" {
		return dst, ignored(ruleGreet)
	}
	route := parsers.Classify(method, target)
	if rule, noise := route.Noise(http.StatusOK); noise {
		return dst, ignored(rule) // without its status: a probe that failed says so at level ERROR
	}
	c := p.newCall(line, e)
	c.received, c.method, c.path = true, string(method), string(target)
	if d, ok := p.requests.read(bytes.TrimLeft(body, ": \n"), line); ok {
		p.learnRequest(c, d)
		c.messages = p.requests.messages()
	}
	return p.admit(dst, c, line), held()
}

// learnRequest takes what a request says.
func (p *Parser) learnRequest(c *call, d *parsers.Draft) {
	learn(&c.facts, &d.Record)
	d.Input.Model = string(d.Record.Text(audit.ModelName))
	c.input = p.keep(&d.Input)
}

// keep applies the capture policy to what was entered.
func (p *Parser) keep(c *parsers.Content) content {
	if c.Parts == 0 || p.config.Capture == nil {
		return content{}
	}
	return content{applied: p.config.Capture(nil, c, parsers.Entered), parts: c.Parts, truncated: c.Truncated}
}

// embeds reads what follows "Received request to embed". The request it belongs to may
// have been logged before, whole.
func (p *Parser) embeds(dst []parsers.Draft, line *parsers.Line, e *entry, text []byte) ([]parsers.Draft, parsers.Outcome) {
	for _, c := range p.calls {
		if _, operation, _ := c.event(); c.log == line.Path && c.received && operation == "embeddings" {
			return dst, ignored(ruleRestate)
		}
	}
	at := bytes.IndexByte(text, ':')
	if at < 0 {
		return dst, unparsed("no text to embed")
	}
	c := p.newCall(line, e)
	c.operation = "embeddings"
	if text = bytes.TrimSpace(text[at+1:]); len(text) > 0 {
		c.input = p.keep(&parsers.Content{Text: text, Parts: 1, Truncated: line.Cut})
	}
	return p.admit(dst, c, line), held()
}

// running reads "Running chat completion on conversation with 2 messages." The call is
// the one that was received and does not run yet, with as many messages; a log without
// level DEBUG has no requests.
func (p *Parser) running(dst []parsers.Draft, line *parsers.Line, e *entry, operation string) ([]parsers.Draft, parsers.Outcome) {
	messages := 0
	if _, rest, ok := bytes.Cut(e.message, []byte("conversation with ")); ok {
		number, _, _ := bytes.Cut(rest, []byte(" "))
		messages, _ = strconv.Atoi(string(number))
	}
	c := p.only(line.Path, func(c *call) bool {
		_, its, _ := c.event()
		return c.received && c.runs() && c.tag == "" && its == operation && (messages == 0 || c.messages == 0 || c.messages == messages)
	})
	switch {
	case c != nil:
		c.tag, c.inferred = string(e.model), c.inferred || len(e.model) > 0
		if !p.hold(c, line, e) {
			return dst, ignored(ruleStep)
		}
	case p.waits(line.Path, operation):
		return dst, ignored(ruleStep) // of one of those that were received; which, is not known
	default:
		c = p.newCall(line, e)
		c.operation, c.tag = operation, string(e.model)
		dst = p.admit(dst, c, line)
	}
	return dst, held()
}

// waits tells whether a call of an operation was received and does not run yet.
func (p *Parser) waits(path, operation string) bool {
	for _, c := range p.calls {
		if _, its, _ := c.event(); c.log == path && c.received && c.tag == "" && c.runs() && its == operation {
			return true
		}
	}
	return false
}

// predict opens a call of which a model got its input.
func (p *Parser) predict(dst []parsers.Draft, line *parsers.Line, e *entry, raw []byte) ([]parsers.Draft, parsers.Outcome) {
	dst = p.settle(dst, line.Path, e)
	d, ok := p.requests.read(raw, line)
	if !ok {
		return dst, unparsed("no input of a model")
	}
	c := p.newCall(line, e)
	c.operation, c.tag = "inference", string(e.model)
	p.learnRequest(c, d)
	return p.admit(dst, c, line), held()
}

// generated reads "Generated prediction: {…}" and "Generated packet: {…}", the same of a
// stream. Of both the JSON can be left out: "[Sensitive]".
func (p *Parser) generated(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	what, raw, ok := bytes.Cut(e.message[len("Generated "):], []byte(":"))
	if !ok || len(what) > 64 {
		return dst, unparsed("not a message that is known")
	}
	raw = bytes.TrimSpace(raw)
	if string(what) != "packet" {
		return p.answered(dst, line, e, raw, true)
	}
	if c := p.answering(line.Path, e, true); c != nil {
		if d, ok := p.answers.read(raw, line); ok {
			d.Record.Unflag(marks) // of pieces, which are not kept
			learn(&c.facts, &d.Record)
			c.inferred, c.seen = true, line.Seen
		}
	}
	return dst, ignored(rulePacket)
}

// answering returns the call that an answer belongs to, or nil. A request for a stream
// is not answered by a prediction, nor the other way round.
func (p *Parser) answering(path string, e *entry, stream bool) *call {
	fits := func(c *call) bool {
		yes, known := c.streams()
		return c.runs() && (!known || yes == stream) && (len(e.model) == 0 || c.tag == "" || c.tag == string(e.model))
	}
	return p.only(path, fits)
}

// answered records the call that an answer belongs to, or the answer by itself.
func (p *Parser) answered(dst []parsers.Draft, line *parsers.Line, e *entry, raw []byte, logged bool) ([]parsers.Draft, parsers.Outcome) {
	if !logged {
		dst = p.settle(dst, line.Path, e)
	}
	d, ok := p.answers.read(raw, line)
	c := p.answering(line.Path, e, false)
	if c == nil {
		dst = p.let(dst)
		if !ok {
			return dst, ignored(ruleEnd)
		}
		c = &call{log: line.Path, when: e.when, zoned: e.zoned, operation: operationOf(&d.Record)}
	} else {
		c.inferred = true
	}
	if len(e.model) > 0 && c.tag == "" {
		c.tag = string(e.model)
	}
	if ok {
		learn(&c.facts, &d.Record)
	}
	dst = p.end(dst, c, outcomeSuccess, "")
	if ok && d.Output.Parts > 0 {
		copyContent(&dst[len(dst)-1].Output, &d.Output)
	}
	return dst, recorded()
}

// operationOf tells from the id of an answer what was asked.
func operationOf(r *audit.Record) string {
	id := r.Text(audit.SessionResponseID)
	switch {
	case bytes.HasPrefix(id, []byte("chatcmpl-")), bytes.HasPrefix(id, []byte("resp_")), bytes.HasPrefix(id, []byte("msg_")):
		return "chat"
	case bytes.HasPrefix(id, []byte("cmpl-")):
		return "text_completion"
	default:
		return "inference"
	}
}

func copyContent(to, from *parsers.Content) {
	to.Text = append(to.Text[:0], from.Text...)
	to.Parts, to.Truncated = from.Parts, from.Truncated
}

// let records the calls that answering found, when there are several: one of them got an
// answer, and nothing that follows can be said to be another's.
func (p *Parser) let(dst []parsers.Draft) []parsers.Draft {
	for _, c := range p.found {
		dst = p.end(dst, c, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
	}
	return dst
}

// finished reads the end of a stream. That it had no reader is logged behind it.
func (p *Parser) finished(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	c := p.answering(line.Path, e, true)
	if c == nil {
		return p.let(dst), ignored(ruleEnd)
	}
	c.inferred = true
	if c.cancelled || !p.hold(c, line, e) {
		return p.end(dst, c, outcomeSuccess, ""), recorded()
	}
	c.ended = true
	return dst, held()
}

// disconnected marks the call whose caller is gone, when there is just one.
func (p *Parser) disconnected(line *parsers.Line, e *entry) parsers.Outcome {
	c := p.only(line.Path, func(c *call) bool { return c.ended || c.runs() })
	if c == nil {
		return ignored(ruleStep)
	}
	c.cancelled, c.inferred = true, true
	if !p.hold(c, line, e) {
		return ignored(ruleStep)
	}
	return held()
}

// returned reads what answers a request that no model works on, and embeddings:
//
//	Returning {…}
//	Returning 5 models from v1 API
//	Returning embeddings (not shown in logs)
func (p *Parser) returned(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	rest := e.message[len("Returning "):]
	event, operation := "model.list", ""
	switch {
	case bytes.HasPrefix(rest, []byte("embeddings")):
		event, operation = "model.inference", "embeddings"
	case rest[0] == '{' && bytes.Contains(rest, []byte(`"data"`)):
	case rest[0] >= '0' && rest[0] <= '9' && bytes.Contains(rest, []byte(" models")):
	default:
		return dst, unparsed("not an answer that is known")
	}
	several := false
	c := p.only(line.Path, func(c *call) bool {
		its, what, _ := c.event()
		fits := its == event && what == operation
		several = several || fits
		return fits
	})
	switch {
	case c != nil:
		c.inferred = true
	case several:
		return dst, ignored(ruleEnd)
	case operation == "":
		c = &call{log: line.Path, when: e.when, zoned: e.zoned, operation: listing}
	default:
		c = &call{log: line.Path, when: e.when, zoned: e.zoned, operation: operation}
	}
	return p.end(dst, c, outcomeSuccess, ""), recorded()
}

// restarted records the calls of a server that starts again.
func (p *Parser) restarted(dst []parsers.Draft, path string) []parsers.Draft {
	for i := 0; i < len(p.calls); {
		if c := p.calls[i]; c.log == path {
			dst = p.end(dst, c, outcomeUnknown, reasonRestarted)
		} else {
			i++
		}
	}
	return dst
}

func (p *Parser) newCall(line *parsers.Line, e *entry) *call {
	return &call{log: line.Path, when: e.when, zoned: e.zoned}
}

// admit holds a call.
func (p *Parser) admit(dst []parsers.Draft, c *call, line *parsers.Line) []parsers.Draft {
	p.bytes += len(c.input.applied)
	for len(p.calls) > 0 && (len(p.calls) == maxCalls || p.bytes > maxBytes) {
		dst = p.end(dst, p.calls[0], outcomeUnknown, parsers.ReasonOutcomeNotLogged)
	}
	p.calls = append(p.calls, c)
	p.hold(c, line, &entry{when: c.when})
	return dst
}

func (p *Parser) hold(c *call, line *parsers.Line, e *entry) bool {
	if len(c.held) == maxHeld {
		return false
	}
	c.seen = line.Seen
	if !e.when.IsZero() {
		c.last = e.when
	}
	ref := line.Ref()
	c.held = append(c.held, ref)
	p.lines += ref.Lines
	return true
}

// settle records the calls of a log that have waited long enough by its own times.
func (p *Parser) settle(dst []parsers.Draft, path string, e *entry) []parsers.Draft {
	if e.when.IsZero() {
		return dst
	}
	for i := 0; i < len(p.calls); {
		c := p.calls[i]
		if c.log == path && !c.last.IsZero() && e.when.Sub(c.last) > c.window() {
			dst = p.end(dst, c, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
		} else {
			i++
		}
	}
	return dst
}

func (c *call) window() time.Duration {
	switch {
	case c.ended:
		return endWindow
	case c.runs():
		return callWindow
	default:
		return otherWindow
	}
}

// Flush implements [parsers.Stateful].
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for i := 0; i < len(p.calls); {
		if c := p.calls[i]; now.IsZero() || now.Sub(c.seen).Abs() > c.window() {
			dst = p.end(dst, c, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
		} else {
			i++
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return p.lines }

// end records a call and forgets it. What is known of its end goes before outcome.
func (p *Parser) end(dst []parsers.Draft, c *call, outcome, reason string) []parsers.Draft {
	if at := slices.Index(p.calls, c); at >= 0 {
		p.calls = slices.Delete(p.calls, at, at+1)
		p.bytes -= len(c.input.applied)
		for i := range c.held {
			p.lines -= c.held[i].Lines
		}
	}
	switch {
	case outcome == outcomeFailed:
	case c.cancelled:
		outcome, reason = outcomeCancelled, parsers.ReasonClientClosed
	case c.ended:
		outcome, reason = outcomeSuccess, ""
	}
	return p.draft(dst, c, outcome, reason)
}

// setModel names the model that served the call. Where the name that the caller asked
// for was not logged, it is that one, too.
func (c *call) setModel(r *audit.Record) {
	served := c.facts.Text(audit.ModelServed)
	if len(served) == 0 {
		served = []byte(c.tag)
	}
	r.SetText(audit.ModelServed, served)
	if !r.Has(audit.ModelName) {
		r.SetText(audit.ModelName, served)
	}
}

// draft appends the record of a call: everything its entries said.
func (p *Parser) draft(dst []parsers.Draft, c *call, outcome, reason string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, c.held...)
	if !c.when.IsZero() {
		d.SetTime(c.when, c.zoned)
	}
	learn(r, &c.facts)
	event, operation, route := c.event()
	r.SetString(audit.Event, event)
	r.SetString(audit.APIOperation, operation)
	r.SetString(audit.Outcome, outcome)
	r.SetString(audit.Reason, reason)
	d.SetActor(c.facts.Text(audit.ActorID))
	if c.path != "" {
		d.SetRequest([]byte(c.method), &route)
	}
	if event == "model.inference" {
		c.setModel(r)
	}
	d.Input.Applied = append(d.Input.Applied, c.input.applied...)
	d.Input.Parts, d.Input.Truncated = c.input.parts, c.input.truncated
	if c.inferred && len(c.held) > 0 {
		r.Flag(audit.InferredJoin)
	}
	p.finish(d)
	return dst
}
