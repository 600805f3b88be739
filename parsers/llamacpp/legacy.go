package llamacpp

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/rawjson"
)

// legacy are the members of a structured line, as servers wrote them from 2023 to the
// summer of 2024, and forks of that time still do.
type legacy struct {
	level, message             []byte
	method, path, client       rawjson.Value
	task, slot, status, when   int64
	evaluated, output, build   int64
	hasTask, hasWhen, hasBuild bool
	total                      rawjson.Value
	failure                    rawjson.Value
}

// member takes one member.
func (m *legacy) member(key []byte, v rawjson.Value) {
	switch string(key) {
	case "level":
		m.level = v.Raw
	case "msg", "message":
		m.message = v.Raw
	case "method":
		m.method = v
	case "path":
		m.path = v
	case "remote_addr":
		m.client = v
	case "id_task", "task_id":
		m.task, m.hasTask = v.Int()
	case "id_slot", "slot_id":
		if n, ok := v.Int(); ok {
			m.slot = n
		}
	case "status":
		if n, ok := v.Int(); ok {
			m.status = n
		}
	case "timestamp":
		m.when, m.hasWhen = v.Int()
	case "n_prompt_tokens_processed", "num_prompt_tokens_processed":
		if n, ok := v.Int(); ok {
			m.evaluated = n
		}
	case "n_decoded":
		if n, ok := v.Int(); ok {
			m.output = n
		}
	case "t_total":
		m.total = v
	case "build":
		m.build, m.hasBuild = v.Int()
	case "error":
		m.failure = v
	}
}

// object reads a line that is a JSON object: of --log-jsonl, or of the legacy logger.
func (p *Parser) object(dst []parsers.Draft, c *current, b []byte) ([]parsers.Draft, parsers.Outcome) {
	p.legacy = legacy{task: noTask, slot: noSlot, status: parsers.NoStatus, evaluated: -1, output: -1}
	w, ok := rawjson.Into(b)
	isLine := false
	for ok && w.Next() {
		if string(w.Key) == "type" {
			if !w.Value.Is("log") {
				if c.line.Cut {
					return dst, unparsed("longer than max_line")
				}
				return dst, ignored(ruleLoad) // figures of the loader
			}
			isLine = true
			continue
		}
		p.legacy.member(w.Key, w.Value)
	}
	if !ok || !w.Done() || len(bytes.TrimSpace(w.Rest())) > 0 {
		return dst, unparsed("not a whole JSON object")
	}
	if isLine {
		return p.jsonLine(dst, c)
	}
	if len(p.legacy.message) == 0 || len(p.legacy.level) == 0 {
		return dst, unparsed("a JSON object without level and message")
	}
	return p.structured(dst, c)
}

// jsonLine reads {"type":"log","time":117219,"level":"info","msg":"…\n"}. Its time
// counts from the start of the server.
func (p *Parser) jsonLine(dst []parsers.Draft, c *current) ([]parsers.Draft, parsers.Outcome) {
	switch string(p.legacy.level) {
	case "debug", "trace":
		c.level = 'D'
	case "warn":
		c.level = 'W'
	case "error":
		c.level = 'E'
	default:
		c.level = 'I'
	}
	p.text = rawjson.AppendUnescaped(p.text[:0], p.legacy.message)
	return p.read(dst, c, bytes.TrimRight(p.text, "\n"))
}

// isLegacyText recognises "INFO [      log_server_request] request | tid="…" …".
func isLegacyText(b []byte) bool {
	b = bytes.TrimLeft(b, " ")
	for _, level := range [...]string{"INFO [", "WARN [", "ERR [", "ERROR [", "VERB [", "DEBUG ["} {
		if bytes.HasPrefix(b, []byte(level)) {
			return true
		}
	}
	return false
}

// legacyText reads the text twin of a legacy JSON line. Values are JSON, so what a
// caller sends cannot end one.
func (p *Parser) legacyText(dst []parsers.Draft, c *current, b []byte) ([]parsers.Draft, parsers.Outcome) {
	b = bytes.TrimLeft(b, " ")
	level, rest, _ := bytes.Cut(b, []byte(" ["))
	_, rest, ok := bytes.Cut(rest, []byte("] "))
	if !ok {
		return dst, unparsed("not a line of llama-server")
	}
	// What follows the message begins with tid in the JSON of every line.
	at := bytes.Index(rest, []byte(` | tid="`))
	if at < 0 {
		return dst, unparsed("not a line of llama-server")
	}
	p.legacy = legacy{level: level, message: rest[:at], task: noTask, slot: noSlot, status: parsers.NoStatus, evaluated: -1, output: -1}
	for rest = rest[at+len(" | "):]; len(rest) > 0; rest = bytes.TrimLeft(rest, " ") {
		key, tail, found := bytes.Cut(rest, []byte("="))
		value, tail, whole := rawjson.Cut(tail)
		if !found || !whole {
			return dst, unparsed("a value that does not end")
		}
		p.legacy.member(key, value)
		rest = tail
	}
	return p.structured(dst, c)
}

// structured judges a legacy line.
func (p *Parser) structured(dst []parsers.Draft, c *current) ([]parsers.Draft, parsers.Outcome) {
	m := &p.legacy
	if m.hasWhen && m.when > 0 && m.when < 1e11 {
		c.when = m.when
	}
	message := bytes.TrimLeft(m.message, " ")
	level := string(m.level)
	if level == "VERB" || level == "VERBOSE" || level == "DEBUG" {
		return dst, ignored(ruleDebug)
	}
	switch {
	case string(message) == "request" && m.method.Kind == rawjson.String && m.path.Kind == rawjson.String:
		p.text = m.path.AppendText(p.text[:0])
		if !parsers.IsMethod(m.method.Raw) {
			return dst, unparsed("no method")
		}
		return p.call(dst, c, m.method.Raw, p.text, m.client.Raw, int(m.status))
	case string(message) == "Unauthorized: Invalid API Key":
		return p.unauthorized(dst, c)
	case string(message) == "build info" && m.hasBuild:
		dst, s := p.serverOf(dst, c.server)
		dst = p.restart(dst, s)
		if m.build > 0 {
			s.version = "b" + strconv.FormatInt(m.build, 10)
		}
		return dst, ignored(ruleBanner)
	case string(message) == "model loaded":
		dst, s := p.serverOf(dst, c.server)
		return p.loadedNow(dst, c, s, outcomeSuccess, ""), recorded()
	case string(message) == "unable to load model":
		dst, s := p.serverOf(dst, c.server)
		return p.loadedNow(dst, c, s, outcomeFailed, reasonLoad), recorded()
	case m.hasTask && m.task >= 0:
		return p.legacyTask(dst, c, message)
	case level != "INFO":
		return dst, unparsed("a message that no rule knows")
	}
	return dst, ignored(ruleServer)
}

// legacyTask judges a legacy line about a task.
func (p *Parser) legacyTask(dst []parsers.Draft, c *current, message []byte) ([]parsers.Draft, parsers.Outcome) {
	m := &p.legacy
	switch {
	case string(message) == "slot is processing task":
		return p.launch(dst, c, m.task, m.slot)
	case string(message) == "slot released":
		return p.release(dst, c, m.task, m.slot)
	case string(message) == "task error":
		dst, s := p.serverOf(dst, c.server)
		dst, t := p.taskOf(dst, s, m.task, m.slot)
		p.text = m.failure.AppendText(p.text[:0])
		p.fail(t, p.text)
		return p.end(dst, c, t)
	case m.evaluated >= 0 && bytes.HasPrefix(message, []byte("prompt eval time")),
		m.output >= 0 && bytes.HasPrefix(message, []byte("generation eval time")),
		m.total.Kind == rawjson.Number && bytes.HasPrefix(message, []byte("total time")):
		return p.timing(dst, c, m.task, m.slot, message)
	case string(m.level) != "INFO":
		return dst, unparsed("a message that no rule knows")
	}
	return dst, ignored(ruleSlot)
}
