package lmstudio

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
)

// read judges an entry by what it says.
func (p *Parser) read(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	dst = p.settle(dst, line.Path, e)
	m := e.message
	switch {
	case e.level == "ERROR":
		return p.fault(dst, line, e)
	case bytes.HasPrefix(m, []byte("Received ")):
		return p.received(dst, line, e)
	case bytes.HasPrefix(m, []byte("Generated ")):
		return p.generated(dst, line, e)
	case bytes.HasPrefix(m, []byte("Finished streaming response")):
		return p.finished(dst, line, e)
	case bytes.HasPrefix(m, []byte("Client disconnected.")):
		return dst, p.disconnected(line, e)
	case bytes.HasPrefix(m, []byte("Returning ")):
		return p.returned(dst, line, e)
	}
	if operation := runs(m); operation != "" {
		return p.running(dst, line, e, operation)
	}
	if name, ok := bytes.CutPrefix(m, []byte("Model loaded: ")); ok && string(e.sender) == "LM STUDIO SERVER" {
		return p.loaded(dst, line, e, name)
	}
	if bytes.HasPrefix(m, []byte("Success! HTTP server listening on port")) {
		return p.restarted(dst, line.Path), ignored(ruleServer)
	}
	return dst, p.noise(line.Path, e)
}

// runs returns the operation of a call that begins to run, or nothing.
func runs(message []byte) string {
	switch {
	case bytes.HasPrefix(message, []byte("Running chat completion")):
		return "chat"
	case bytes.HasPrefix(message, []byte("Running completion")), bytes.HasPrefix(message, []byte("Running text completion")):
		return "text_completion"
	case bytes.HasPrefix(message, []byte("Generating ")) && bytes.Contains(message, []byte("v1/responses")):
		return "chat"
	default:
		return ""
	}
}

// noise knows what tells of no call. Warnings, and what the engine says of trouble, are
// not noise.
func (p *Parser) noise(path string, e *entry) parsers.Outcome {
	m := e.message
	for _, text := range [...]string{
		"Streaming response...", "First token generated.", "Prompt processing progress:", "Model generated tool calls:", "Accumulating tokens",
		"Accumulated ", "Processing queued request", "Last message: ", "Context Overflow Policy is", "Processing...", "Generating response",
	} {
		if bytes.HasPrefix(m, []byte(text)) {
			return ignored(ruleStep)
		}
	}
	for _, text := range [...]string{
		"Server started.", "Server stopped.", "Stopping server", "Supported endpoints:", "->", "Logs are saved into", "Verbose server logs are",
		"Just-in-time model loading", "Server accepting connections from the local network", "LM Studio API", "OpenAI-compatible API",
		"Anthropic-compatible API", "CORS is ", "Heads up: ", "Starting server", "No models are loaded", "Authentication is ", "API Server started",
	} {
		if bytes.HasPrefix(m, []byte(text)) {
			return ignored(ruleServer)
		}
	}
	first, _, _ := bytes.Cut(m, []byte("\n"))
	switch {
	case e.level == "WARN":
		return unparsed("a warning")
	case len(m) == 0:
		return ignored(ruleEmpty)
	case isClientTag(e.sender):
		return ignored(ruleClient)
	case e.level == "DEBUG" && !llamalog.Troubled(first):
		p.count(path, e)
		return ignored(ruleEngine)
	default:
		return unparsed("not a message that is known")
	}
}

// count learns from the summary that LM Studio 1.1 writes, when one call is running:
//
//	00:54:42 Done · input 26 · cached 0 · output 1,092 · TTFT 0.5s · 92.9 tok/s
func (p *Parser) count(path string, e *entry) {
	n := clock(e.message)
	if n == 0 {
		return
	}
	rest, ok := bytes.CutPrefix(e.message[n:], []byte(" Done · "))
	if !ok {
		return
	}
	c := p.only(path, func(c *call) bool { return c.runs() })
	if c == nil {
		return
	}
	for part := range bytes.SplitSeq(rest, []byte(" · ")) {
		name, number, _ := bytes.Cut(part, []byte(" "))
		tokens, err := strconv.ParseInt(string(bytes.ReplaceAll(number, []byte(","), nil)), 10, 48)
		if err != nil || tokens < 0 {
			continue
		}
		switch string(name) {
		case "input":
			c.facts.SetInt(audit.UsageInputTokens, tokens)
		case "cached":
			c.facts.SetInt(audit.UsageCachedTokens, tokens)
		case "output":
			c.facts.SetInt(audit.UsageOutputTokens, tokens)
		}
		c.inferred = true
	}
}

// loaded reads "Model loaded: NAME", which older versions say when the server starts.
func (p *Parser) loaded(dst []parsers.Draft, line *parsers.Line, e *entry, name []byte) ([]parsers.Draft, parsers.Outcome) {
	name = bytes.TrimSpace(name)
	if len(name) == 0 || len(name) > maxTag {
		return dst, unparsed("no name of a model")
	}
	dst, d := p.bare(dst, e)
	d.Record.SetString(audit.Event, "model.load")
	d.Record.SetString(audit.Outcome, outcomeSuccess)
	d.Record.SetText(audit.ModelName, name)
	p.finish(d)
	return dst, recorded()
}

// bare begins a record of the entry alone.
func (p *Parser) bare(dst []parsers.Draft, e *entry) ([]parsers.Draft, *parsers.Draft) {
	dst, d := parsers.Next(dst)
	if !e.when.IsZero() {
		d.SetTime(e.when, e.zoned)
	}
	return dst, d
}

// finish fills what every record has.
func (p *Parser) finish(d *parsers.Draft) {
	if !d.Record.Has(audit.ActorType) {
		d.SetActor(nil)
	}
	d.Record.SetString(audit.APIServer, "lm-studio")
	d.SetProvider(p.provider)
}

// fault reads an error. One that tells of a call that was not answered ends it, when
// there is just one that it can be; others are unparsed. The text is dropped, because
// it can quote the request.
func (p *Parser) fault(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	m := e.message
	if rest, ok := bytes.CutPrefix(m, []byte("Unexpected endpoint or method. (")); ok {
		return p.unexpected(dst, line, e, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("Received request for ")); ok {
		if path, _, ok := bytes.Cut(rest, []byte(" with invalid JSON")); ok {
			return p.refused(dst, line, e, nil, path, reasonInvalid, parsers.NoStatus)
		}
	}
	if rest, ok := bytes.CutPrefix(m, []byte(`Failed to load model "`)); ok {
		return p.notLoaded(dst, line, e, rest)
	}
	if !endsCall(m) {
		return dst, unparsed("an error")
	}
	c := p.only(line.Path, func(c *call) bool {
		return c.runs() && (len(e.model) == 0 || c.tag == "" || c.tag == string(e.model))
	})
	if c == nil {
		return dst, unparsed("an error, and not known of which call")
	}
	c.inferred = true
	return p.end(dst, c, outcomeFailed, reasonServer), recorded()
}

// endsCall tells whether an error is the answer to a call.
func endsCall(message []byte) bool {
	for _, text := range [...]string{
		"Error: ", "Error in ", "[Server Error]", "Generation failed", "The number of tokens to keep ", "Trying to keep the first ",
		"Cannot truncate prompt", "No models loaded", "Channel Error", "Prediction failed", "Failed to process ", "Model unloaded",
		"Model has unloaded", "The model has crashed",
	} {
		if bytes.HasPrefix(message, []byte(text)) {
			return true
		}
	}
	return len(message) == 0
}

// notLoaded reads what follows `Failed to load model "`. A call that asked for the
// model, and waited for it, has failed too.
func (p *Parser) notLoaded(dst []parsers.Draft, line *parsers.Line, e *entry, rest []byte) ([]parsers.Draft, parsers.Outcome) {
	name, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || len(name) == 0 || len(name) > maxTag {
		return dst, unparsed("no name of a model")
	}
	c := p.only(line.Path, func(c *call) bool { return c.runs() && string(c.facts.Text(audit.ModelName)) == string(name) })
	if c != nil {
		c.inferred = true
		dst = p.end(dst, c, outcomeFailed, reasonLoad)
	}
	dst, d := p.bare(dst, e)
	d.Record.SetString(audit.Event, "model.load")
	d.Record.SetString(audit.Outcome, outcomeFailed)
	d.Record.SetString(audit.Reason, reasonLoad)
	d.Record.SetText(audit.ModelName, name)
	p.finish(d)
	return dst, recorded()
}

// unexpected reads what follows "Unexpected endpoint or method. (":
//
//	GET /api/ps). Returning 200 anyway
func (p *Parser) unexpected(dst []parsers.Draft, line *parsers.Line, e *entry, rest []byte) ([]parsers.Draft, parsers.Outcome) {
	at := bytes.LastIndex(rest, []byte("). Returning "))
	if at < 0 {
		return dst, unparsed("no request that was unexpected")
	}
	method, target, ok := parsers.SplitRequest(rest[:at])
	word, _, _ := bytes.Cut(rest[at+len("). Returning "):], []byte(" "))
	status, err := strconv.Atoi(string(bytes.TrimRight(word, ".")))
	if !ok || err != nil || status < 100 || status > 599 {
		return dst, unparsed("no request that was unexpected")
	}
	return p.refused(dst, line, e, method, target, reasonUnexpected, status)
}

// refused records a request that the server does not serve. It may have logged the
// request before.
func (p *Parser) refused(dst []parsers.Draft, line *parsers.Line, e *entry, method, target []byte, reason string, status int) ([]parsers.Draft, parsers.Outcome) {
	c := p.only(line.Path, func(c *call) bool {
		return c.received && c.path == string(target) && (len(method) == 0 || c.method == string(method))
	})
	if c == nil {
		c = &call{log: line.Path, when: e.when, zoned: e.zoned, method: string(method), path: string(target)}
	} else {
		c.inferred = true
	}
	dst = p.end(dst, c, outcomeFailed, reason)
	if status != parsers.NoStatus {
		dst[len(dst)-1].Record.SetInt(audit.APIStatus, int64(status))
	}
	return dst, recorded()
}
