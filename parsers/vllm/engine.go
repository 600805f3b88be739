package vllm

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/sampling"
)

// Outcomes and reasons of requests.
const (
	outcomeSuccess   = "success"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
	outcomeUnknown   = "unknown"

	reasonAborted     = "aborted"         // by the server or its caller; the log does not say
	reasonEngineError = "engine_error"    // the engine raised an exception
	reasonRestarted   = "server_restart"  // the server started again while the request was open
	reasonReused      = "request_id_used" // another request came with the same id
)

// engine reads a line of the engine's logger.
func (p *Parser) engine(dst []parsers.Draft, line *parsers.Line, when time.Time, message []byte) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s != nil {
		s.clock = max(s.clock, when.Unix())
	}
	if rest, ok := cut(message, "Received request "); ok {
		return p.received(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Generated response "); ok {
		return p.generated(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Added request "); ok {
		return dst, p.added(line, s, rest)
	}
	if rest, ok := cut(message, "Finished request "); ok {
		return p.finished(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Aborted request "); ok {
		return p.aborted(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Aborted request(s) "); ok {
		return p.aborted(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Request "); ok {
		return p.outcome(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Loading weights took "); ok {
		return p.loaded(dst, line, when, rest)
	}
	if rest, ok := cut(message, "Loading model weights took "); ok {
		return p.loaded(dst, line, when, rest)
	}
	if dst, ok := p.banner(dst, line.Path, when, message); ok {
		return dst, ignored(ruleBanner)
	}
	return dst, p.message(line.Path, message)
}

func cut(message []byte, prefix string) ([]byte, bool) {
	if len(message) < len(prefix) || string(message[:len(prefix)]) != prefix {
		return nil, false
	}
	return message[len(prefix):], true
}

// received opens a request, or completes one that a "details" line opened.
func (p *Parser) received(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	id, rest, ok := cutID(b)
	if !ok {
		return dst, unparsed("no request id")
	}
	f, reason := readSections(rest, line.Cut)
	if reason != "" {
		return dst, unparsed(reason)
	}
	if !f.hasPrompt && !f.hasParams {
		return dst, unparsed("a request without prompt and parameters")
	}
	dst, s := p.serverOf(dst, line.Path)
	s.clock = max(s.clock, when.Unix())
	r := s.open[string(id)]
	if r != nil && (f.hasPrompt && r.hasPrompt || f.hasParams && r.hasParams) {
		r.end(outcomeUnknown, reasonReused, r.seen, r.logged)
		dst = p.record(dst, r)
		r = nil
	}
	if r != nil {
		p.fill(r, &f)
		p.hold(r, line)
		p.weigh(r)
		return dst, held()
	}
	r = p.newRequest(s, string(id), line, when)
	p.fill(r, &f)
	if r.operation == "" && !isEither(r.id) {
		r.operation = "text_completion"
		if bytes.HasPrefix(f.params, []byte("PoolingParams(")) {
			r.operation = "pooling"
		}
	}
	p.hold(r, line)
	return p.admit(dst, r), held()
}

// fill takes the sections of a line into a request.
func (p *Parser) fill(r *request, f *sections) {
	limit := r.server.facts.limit
	r.cut = r.cut || f.cut
	if f.hasPrompt {
		r.hasPrompt = true
		r.prompt = p.take(r, f.prompt, f.promptCut, parsers.Entered)
	}
	if f.hasParams {
		r.hasParams = true
		r.settings.LearnAll(f.params)
	}
	if n, ok := pyrepr.CountElements(f.tokens); ok && (limit < 0 || n < limit) {
		r.inputTokens = n
	}
	for b := pyrepr.Arguments(f.lora); ; {
		key, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			break
		}
		if string(key) == "lora_name" {
			r.adapter = pyrepr.Text(value)
		}
		b = rest
	}
}

// take decodes a logged text and applies the capture policy to it. What it
// returns holds nothing that the policy does not keep.
func (p *Parser) take(r *request, literal []byte, cut bool, direction parsers.Direction) content {
	if !pyrepr.IsString(literal) {
		return content{}
	}
	c := &p.content
	c.Reset()
	var replaced bool
	body := literal[1:]
	if !cut {
		body = body[:len(body)-1]
	}
	c.Text, replaced = pyrepr.AppendUnescaped(c.Text, body)
	r.invalid = r.invalid || replaced || !utf8.Valid(c.Text)
	limit := r.server.facts.limit
	several := direction == parsers.Returned && r.settings.Get(sampling.N) > 1
	c.Parts, c.Model = 1, r.server.facts.model.Called()
	c.Truncated = cut || several || limit >= 0 && int64(utf8.RuneCount(c.Text)) >= limit
	kept := content{parts: c.Parts, truncated: c.Truncated}
	if p.config.Capture != nil {
		kept.applied = p.config.Capture(nil, c, direction)
	}
	return kept
}

// added holds "Added request ID." with the request it belongs to. Of a request
// for several answers the engine names each ("0_ID").
func (p *Parser) added(line *parsers.Line, s *server, b []byte) parsers.Outcome {
	id, ok := cutLastID(b)
	if !ok {
		return unparsed("no request id")
	}
	if s == nil {
		return ignored(ruleAdded)
	}
	r := s.lookup(id)
	if n := pyrepr.DigitRun(id); r == nil && n > 0 && n < len(id) && id[n] == '_' {
		r = s.lookup(id[n+1:])
	}
	if r == nil || !p.hold(r, line) {
		return ignored(ruleAdded)
	}
	return held()
}

// generated reads "Generated response ID: output: '…', …" of --enable-log-outputs.
func (p *Parser) generated(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	id, rest, ok := cutID(b)
	if !ok {
		return dst, unparsed("no request id")
	}
	rest, delta := bytes.CutPrefix(rest, []byte(" (streaming delta)"))
	rest, complete := bytes.CutPrefix(rest, []byte(" (streaming complete)"))
	f, reason := readAnswer(rest, line.Cut)
	if reason != "" {
		return dst, unparsed(reason)
	}
	dst, s := p.serverOf(dst, line.Path)
	s.clock, s.endsLogged = max(s.clock, when.Unix()), true
	if delta {
		return dst, ignored(ruleStreamDelta)
	}
	r := s.open[string(id)]
	if r == nil {
		r = p.newRequest(s, string(id), line, when)
	}
	p.addAnswer(r, &f)
	r.streamed = complete
	if r.answers < r.settings.Get(sampling.N) && r.next != nil && p.hold(r, line) {
		p.weigh(r)
		return dst, held()
	}
	outcome, why := outcomeSuccess, ""
	switch string(f.finish) {
	case "abort":
		outcome, why = outcomeCancelled, reasonAborted
	case "error":
		outcome, why = outcomeFailed, reasonEngineError
	}
	return p.end(dst, line, r, when, outcome, why)
}

// addAnswer adds an answer to a request. Of several answers the text of the first
// is kept, and marked as a part.
func (p *Parser) addAnswer(r *request, f *answer) {
	r.cut = r.cut || f.cut
	if r.answer.parts == 0 {
		r.answer = p.take(r, f.output, f.outputCut, parsers.Returned)
	}
	limit := r.server.facts.limit
	n, ok := pyrepr.CountElements(f.tokens)
	switch {
	case !ok || limit >= 0 && n >= limit || r.answers > 0 && r.outputTokens < 0:
		r.outputTokens = -1
	default:
		r.outputTokens = max(r.outputTokens, 0) + n
	}
	if !pyrepr.IsNone(f.finish) {
		r.finish = append(r.finish, string(f.finish))
	}
	r.answers++
}

// finished reads "Finished request ID." of the first engine generation.
func (p *Parser) finished(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	id, ok := cutLastID(b)
	if !ok {
		return dst, unparsed("no request id")
	}
	dst, s := p.serverOf(dst, line.Path)
	s.clock, s.endsLogged = max(s.clock, when.Unix()), true
	r := s.open[string(id)]
	if r == nil {
		r = p.newRequest(s, string(id), line, when)
	}
	if r.outcome != "" {
		return dst, p.repeated(r, line)
	}
	return p.end(dst, line, r, when, outcomeSuccess, "")
}

// aborted reads "Aborted request ID." and "Aborted request(s) ID,ID.". A list
// counts only when all it names are open: a caller may put a comma into its id.
func (p *Parser) aborted(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	list, ok := bytes.CutSuffix(b, []byte("."))
	if !ok {
		return dst, unparsed("no request id")
	}
	s := p.find(line.Path)
	known := 0
	for id := range bytes.SplitSeq(list, []byte(",")) {
		if _, rest, valid := cutID(id); !valid || len(rest) > 0 {
			return dst, unparsed("no request id")
		}
		if s.lookup(id) != nil {
			known++
		}
	}
	switch {
	case known == 0 && bytes.IndexByte(list, ',') < 0:
		dst, s = p.serverOf(dst, line.Path)
		s.clock = max(s.clock, when.Unix())
		return p.end(dst, line, p.newRequest(s, string(list), line, when), when, outcomeCancelled, reasonAborted)
	case known != bytes.Count(list, []byte(","))+1:
		return dst, unparsed("not all of the requests are known")
	}
	for id := range bytes.SplitSeq(list, []byte(",")) {
		if r := s.lookup(id); r != nil { // else it stands twice
			r.end(outcomeCancelled, reasonAborted, line.Seen, when.Unix())
			dst = p.record(dst, r)
		}
	}
	return dst, recorded()
}

// lookup returns the open request that an engine line names, or nil. Newer
// engines add eight random digits to the id.
func (s *server) lookup(id []byte) *request {
	if s == nil {
		return nil
	}
	r := s.open[string(id)]
	if at := bytes.LastIndexByte(id, '-'); r == nil && at > 0 && len(id)-at == 9 {
		r = s.open[string(id[:at])]
	}
	return r
}

// outcome reads "Request ID aborted.", "Request ID failed….", and the line with
// the prompt that newer servers write when they debug.
func (p *Parser) outcome(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	id, rest, ok := cutID(b)
	if !ok {
		return dst, unparsed("no request id")
	}
	if _, ok := cut(rest, " details: "); ok {
		return p.details(dst, line, when, b, id)
	}
	outcome, reason := outcomeFailed, reasonEngineError
	switch {
	case string(rest) == " aborted.":
		outcome, reason = outcomeCancelled, reasonAborted
	case bytes.HasPrefix(rest, []byte(" failed (engine dead)")):
		reason = "engine_dead"
	case bytes.HasPrefix(rest, []byte(" failed (bad request)")):
		reason = "bad_request"
	case bytes.HasPrefix(rest, []byte(" failed (input error)")):
		reason = "input_error"
	case string(rest) == " failed." || bytes.HasPrefix(rest, []byte(" failed due to ")):
	default:
		return dst, unparsed("not known what became of the request")
	}
	dst, s := p.serverOf(dst, line.Path)
	s.clock = max(s.clock, when.Unix())
	r := s.open[string(id)]
	switch {
	case r != nil && r.outcome == "":
		return p.end(dst, line, r, when, outcome, reason)
	case r != nil:
		return dst, p.repeated(r, line)
	case reason == reasonAborted || reason == reasonEngineError:
		return dst, ignored(ruleRepeatedEnd) // behind an "Aborted request" line
	}
	return p.end(dst, line, p.newRequest(s, string(id), line, when), when, outcome, reason)
}

// details opens a request by "Request ID details: prompt: '…', …."; its
// "Received request" line follows.
func (p *Parser) details(dst []parsers.Draft, line *parsers.Line, when time.Time, b, id []byte) ([]parsers.Draft, parsers.Outcome) {
	rest := b[len(id)+len(" details"):]
	p.joined = append(append(p.joined[:0], id...), rest...)
	return p.received(dst, line, when, p.joined)
}

// repeated holds a line that says again how a held request ended.
func (p *Parser) repeated(r *request, line *parsers.Line) parsers.Outcome {
	if !p.hold(r, line) {
		return ignored(ruleRepeatedEnd)
	}
	return held()
}

// end notes how a request ended. It is recorded with this line, unless the
// access line of its call can still follow.
func (p *Parser) end(dst []parsers.Draft, line *parsers.Line, r *request, when time.Time, outcome, reason string) ([]parsers.Draft, parsers.Outcome) {
	r.end(outcome, reason, line.Seen, when.Unix())
	if r.next == nil { // its first line is not known
		return p.draft(dst, r), recorded()
	}
	if outcome == outcomeCancelled || r.call.answered || r.call.crowded || !p.hold(r, line) {
		return p.record(dst, r), recorded()
	}
	p.weigh(r)
	return dst, held()
}

func (r *request) end(outcome, reason string, seen time.Time, logged int64) {
	r.outcome, r.reason, r.ended, r.endedAt = outcome, reason, seen, logged
}

// loaded records that weights were loaded: "4.20 seconds", before 0.7 "14.9888 GB".
func (p *Parser) loaded(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	figure, unit, ok := bytes.Cut(b, []byte(" "))
	if !ok || !pyrepr.IsNumber(figure) {
		return dst, unparsed("no figure behind the loading of weights")
	}
	dst, d := parsers.Next(dst)
	p.setTime(d, when.Unix(), int64(when.Nanosecond()), p.basis)
	d.Record.SetString(audit.Event, "model.load")
	d.Record.SetString(audit.Outcome, outcomeSuccess)
	d.SetActor(nil)
	if string(unit) == "seconds" {
		if n, ok := milliseconds(figure); ok {
			d.Record.SetInt(audit.UsageDurationMs, n)
		}
	}
	p.describe(d, p.find(line.Path))
	return dst, recorded()
}

// milliseconds reads "9.61" as 9610.
func milliseconds(figure []byte) (int64, bool) {
	whole, fraction, _ := bytes.Cut(figure, []byte("."))
	n, ok := pyrepr.Integer(whole)
	if !ok || n < 0 || n > 1e9 || pyrepr.DigitRun(fraction) != len(fraction) {
		return 0, false
	}
	n *= 1000
	for i, scale := 0, int64(100); i < len(fraction) && i < 3; i, scale = i+1, scale/10 {
		n += int64(fraction[i]-'0') * scale
	}
	return n, true
}
