package sglang

import (
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/sampling"
)

// Operations of requests to the engine. Whether a request that generates came as
// a chat or a completion is not in its line.
const (
	operationInference  = "inference"
	operationEmbeddings = "embeddings"
	operationRerank     = "rerank"
)

// Outcomes and reasons of requests.
const (
	outcomeSuccess   = "success"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
	outcomeUnknown   = "unknown"

	reasonAborted   = "aborted"         // by the server or its caller; the line does not say
	reasonRestarted = "server_restart"  // the server started again while the request was open
	reasonReused    = "request_id_used" // another request came with the same id
)

// received holds a request until its end is logged.
func (p *Parser) received(dst []parsers.Draft, line *parsers.Line, h *header, f *report) ([]parsers.Draft, parsers.Outcome) {
	if len(f.ids) == 0 {
		if !line.Cut {
			return dst, unparsed("a request without an id")
		}
		dst, d := parsers.Next(dst) // its end can not be found
		h.when.Set(d)
		f.fill(d)
		p.finish(d, line.Path, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
		return dst, recorded()
	}
	if f.isHealthCheck() {
		return dst, ignored(parsers.RuleHealthCheck)
	}
	for _, id := range f.ids {
		if q := p.store.byID[key{line.Path, id}]; q != nil {
			dst = p.give(dst, q, reasonReused)
		}
	}
	q := &request{
		path: line.Path, ids: f.ids, line: line.Ref(), seen: line.Seen, operation: f.operation,
		parts: f.prompt.Parts, truncated: f.prompt.Truncated, settings: f.settings, adapter: f.adapter,
		stream: f.stream, tokens: f.tokens, cut: f.cut, invalid: f.invalid,
	}
	if !h.when.IsZero() {
		q.logged, q.zoned = h.when.Instant(), h.when.Zoned()
	}
	if f.prompt.Parts > 0 && p.config.Capture != nil {
		if f.prompt.Model = f.model; f.model == "" {
			if s := p.store.find(line.Path); s != nil {
				f.prompt.Model = s.model.Called()
			}
		}
		q.prompt = p.config.Capture(nil, &f.prompt, parsers.Entered)
	}
	p.store.add(q)
	for p.store.full() {
		dst = p.give(dst, p.store.open[0], parsers.ReasonOutcomeNotLogged)
	}
	return dst, held()
}

// isHealthCheck recognises the request that the server makes of itself when its
// health is asked for. A caller may choose an id, so the rest has to fit too.
func (f *report) isHealthCheck() bool {
	const prefix = "HEALTH_CHECK"
	return len(f.ids) == 1 && len(f.ids[0]) > len(prefix) && f.ids[0][:len(prefix)] == prefix &&
		f.tokens == 1 && f.prompt.Parts == 0 && f.settings.Get(sampling.MaxTokens) == 1
}

// finished records a request. The line repeats all of it, so the one that opened
// it only adds when it came.
func (p *Parser) finished(dst []parsers.Draft, line *parsers.Line, h *header, f *report) ([]parsers.Draft, parsers.Outcome) {
	if f.isHealthCheck() {
		return dst, ignored(parsers.RuleHealthCheck)
	}
	dst, d := parsers.Next(dst)
	h.when.Set(d)
	for _, id := range f.ids {
		q := p.store.byID[key{line.Path, id}]
		if q == nil {
			continue
		}
		p.store.remove(q)
		d.Held = append(d.Held, q.line)
		q.setTime(d)
		if f.prompt.Parts == 0 {
			q.fillPrompt(d)
		}
		break
	}
	f.fill(d)
	outcome, reason := f.outcome()
	p.finish(d, line.Path, outcome, reason)
	return dst, recorded()
}

// outcome tells how a request ended.
func (f *report) outcome() (outcome, reason string) {
	switch {
	case f.finish != "abort":
		if f.cut && f.finish == "" {
			return outcomeUnknown, parsers.ReasonOutcomeNotLogged
		}
		return outcomeSuccess, ""
	case f.status == 0:
		return outcomeCancelled, reasonAborted
	}
	outcome, reason = parsers.OutcomeOf(f.status)
	if outcome == outcomeSuccess {
		return outcomeFailed, reasonAborted
	}
	if reason == "" {
		reason = "http_" + strconv.Itoa(f.status)
	}
	return outcome, reason
}

// fill fills what the line says.
func (f *report) fill(d *parsers.Draft) {
	r := &d.Record
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, f.operation)
	if len(f.ids) > 0 {
		r.SetString(audit.SessionRequestID, f.ids[0])
	}
	r.SetString(audit.SessionResponseID, f.response)
	d.SetActor([]byte(f.user))
	r.SetString(audit.ModelName, f.model)
	r.SetString(audit.ModelAdapter, f.adapter)
	r.SetString(audit.ModelVersion, f.weights)
	f.settings.Fill(r)
	if f.stream != unsaid {
		r.SetBool(audit.ParamsStream, f.stream == yes)
	}
	if f.input < 0 {
		f.input = f.tokens
	}
	for _, count := range [...]struct {
		field audit.Field
		n     int64
	}{
		{audit.UsageInputTokens, f.input},
		{audit.UsageOutputTokens, f.output},
		{audit.UsageCachedTokens, f.cached},
		{audit.UsageDurationMs, f.duration},
	} {
		if count.n >= 0 {
			r.SetInt(count.field, count.n)
		}
	}
	r.SetStrings(audit.OutputFinish, f.finish)
	fillContent(&d.Input, &f.prompt)
	fillContent(&d.Output, &f.answer)
	r.Flag(audit.FieldsDropped) // most arguments have no home in a record
	if f.cut {
		r.Flag(audit.Truncated)
	}
	if f.invalid {
		r.Flag(audit.InvalidUTF8)
	}
}

func fillContent(to, from *parsers.Content) {
	if from.Parts > 0 {
		to.Text = append(to.Text[:0], from.Text...)
		to.Parts, to.Truncated = from.Parts, from.Truncated
	}
}

// finish completes a record with its outcome and what is known of the server.
func (p *Parser) finish(d *parsers.Draft, path, outcome, reason string) {
	d.Record.SetString(audit.Outcome, outcome)
	d.Record.SetString(audit.Reason, reason)
	p.describe(d, p.store.find(path))
	if d.Record.Has(audit.ModelVersion) { // the line knows better than the banner
		d.Record.Clear(audit.ModelID)
		d.Record.Clear(audit.ModelRevision)
		d.Record.SetString(audit.ModelBasis, "log")
	}
}

// describe fills api.server, and model.* of a model.* record.
func (p *Parser) describe(d *parsers.Draft, s *server) {
	d.Record.SetString(audit.APIServer, "sglang")
	d.SetProvider(p.provider)
	if s != nil {
		s.model.Fill(d)
	}
}

func (q *request) setTime(d *parsers.Draft) {
	if !q.logged.IsZero() {
		d.SetTime(q.logged, q.zoned)
	}
}

func (q *request) fillPrompt(d *parsers.Draft) {
	d.Input.Applied = append(d.Input.Applied, q.prompt...)
	d.Input.Parts, d.Input.Truncated = q.parts, q.truncated
}

// give records a request whose end was not logged, and forgets it.
func (p *Parser) give(dst []parsers.Draft, q *request, reason string) []parsers.Draft {
	p.store.remove(q)
	dst, d := parsers.Next(dst)
	d.Held = append(d.Held, q.line)
	q.setTime(d)
	f := report{
		ids: q.ids, operation: q.operation, settings: q.settings, adapter: q.adapter, stream: q.stream,
		tokens: q.tokens, input: -1, output: -1, cached: -1, duration: -1, cut: q.cut, invalid: q.invalid,
	}
	f.fill(d)
	q.fillPrompt(d)
	outcome := outcomeUnknown
	if reason == reasonAborted || reason == parsers.ReasonClientClosed {
		outcome = outcomeCancelled
	}
	p.finish(d, q.path, outcome, reason)
	return dst
}

// restart ends what a server had open: it starts again.
func (p *Parser) restart(dst []parsers.Draft, path string) []parsers.Draft {
	for i := 0; i < len(p.store.open); {
		if q := p.store.open[i]; q.path == path {
			dst = p.give(dst, q, reasonRestarted)
		} else {
			i++
		}
	}
	return dst
}

// loaded records that weights or an adapter were loaded.
func (p *Parser) loaded(dst []parsers.Draft, line *parsers.Line, h *header, duration int64, adapter string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	h.when.Set(d)
	d.Record.SetString(audit.Event, "model.load")
	d.SetActor(nil)
	d.Record.SetString(audit.ModelAdapter, adapter)
	if duration >= 0 {
		d.Record.SetInt(audit.UsageDurationMs, duration)
	}
	p.finish(d, line.Path, outcomeSuccess, "")
	return dst
}
