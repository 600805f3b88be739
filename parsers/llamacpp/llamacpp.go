// Package llamacpp reads the log of llama.cpp's server (llama-server) in the forms
// it had from 2023 to 2026: with and without prefix and colours, as JSON lines, with
// its own access lines and without, behind the prefix of a router.
//
// The engine numbers its tasks, and every line about one has the number: they are
// joined by it into one model.inference record. An access line, where the server
// writes one, has the caller's address and the status but no number; it is a record
// of its own, and nothing of one is lent to the other.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed; a token count stands in a record only where a line counts just
// that; and what the engine was given and what it wrote is never kept.
package llamacpp

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/llamalog"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers.
const (
	ruleBanner  = "start_banner" // what it says is remembered for the records to come
	ruleStartup = "startup"      // what the server says of itself while it starts and stops
	ruleLoad    = "model_loader" // the library loads a model, makes a context, frees it
	ruleSlot    = "slot_state"   // what a slot does with a task besides what is recorded
	ruleServer  = "server_state" // what the server does besides
	ruleDebug   = "debug"        // lines of level D; those with contents are not kept
	ruleRouter  = "router"       // a router starts and asks its instances
	ruleCancel  = "task_cancelled"
	ruleEmpty   = "empty"
)

// Parser reads the lines of one input, which may be the logs of several servers:
// what is remembered belongs to the path of a line, and to the instance behind a
// router.
type Parser struct {
	config   parsers.Config
	provider string

	servers []*server // oldest first
	last    *server   // of the line before; may be nil
	queue   task      // ends of the list of tasks, oldest first
	count   int       // of tasks
	lines   int       // held

	hand   current
	plain  []byte // the line in hand without colours
	text   []byte // the message of the line in hand, when it was quoted
	name   []byte // path and instance of the line in hand
	legacy legacy // members of the line in hand
}

// New returns a parser.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider}
	if p.provider == "" {
		p.provider = "llamacpp"
	}
	p.reset()
	return p, nil
}

func (p *Parser) reset() {
	p.servers, p.last = nil, nil
	p.queue.next, p.queue.previous = &p.queue, &p.queue
	p.count, p.lines = 0, 0
}

// current is the line in hand.
type current struct {
	line   parsers.Line
	server string // path, and instance behind a router
	when   int64  // Unix seconds, of legacy lines; 0: the line has no time
	level  byte   // of JSON lines, as llamalog.Line has it
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	c := &p.hand
	*c = current{line: line, server: line.Path}
	b := line.Data
	if rest, instance, ok := cutInstance(b); ok {
		p.name = append(append(p.name[:0], line.Path...), instance...)
		c.server, b = p.serverName(p.name), rest
	}
	var outcome parsers.Outcome
	switch {
	case bytes.HasPrefix(b, []byte(`{"`)):
		dst, outcome = p.object(dst, c, b)
	case isLegacyText(b):
		dst, outcome = p.legacyText(dst, c, b)
	default:
		dst, outcome = p.read(dst, c, b)
	}
	c.line.Data = nil
	return dst, outcome, nil
}

// serverName returns the name as a string, without memory for a server that is known.
func (p *Parser) serverName(name []byte) string {
	for _, s := range p.servers {
		if s.name == string(name) {
			return s.name
		}
	}
	return string(name)
}

// cutInstance cuts "[41000] ", which a router puts before the lines of the
// instances that it started, by their port.
func cutInstance(b []byte) (rest, instance []byte, ok bool) {
	if len(b) < 3 || b[0] != '[' {
		return b, nil, false
	}
	n := 1
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] == ' ' && n < 6) {
		n++
	}
	if n < 3 || n > 6 || n >= len(b) || b[n] != ']' {
		return b, nil, false
	}
	return bytes.TrimPrefix(b[n+1:], []byte(" ")), b[:n+1], true
}

// read judges a line, or the message of a JSON line.
func (p *Parser) read(dst []parsers.Draft, c *current, b []byte) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(c.server)
	if s != nil && s.example > 0 {
		if s.example--; bytes.HasSuffix(b, []byte("'")) {
			s.example = 0
		}
		return dst, ignored(ruleStartup)
	}
	if s != nil && s.block != noTask {
		if kind, _ := readTiming(b); kind != noTiming {
			return p.timing(dst, c, s.block, noSlot, b)
		}
	}
	l := llamalog.Split(b)
	if l.Level == 0 {
		l.Level = c.level
	}
	switch string(l.Group) {
	case "slot":
		return p.slot(dst, c, &l)
	case "srv", "cmn", "que", "res", "spec":
		return p.server(dst, c, &l)
	}
	switch string(l.Function) {
	case "main", "init", "start", "load_model", "server_models", "operator()", "llama_server":
		return p.server(dst, c, &l)
	case "request", "done request":
		return p.access(dst, c, l.Message)
	case "print_timings":
		return p.timing(dst, c, anonymous, noSlot, l.Message)
	case "build":
		return p.version(dst, c, l.Message), ignored(ruleBanner)
	}
	if l.Function != nil && l.IsLoad() {
		return p.loader(dst, c, &l), ignored(ruleLoad)
	}
	return dst, other(&l, b)
}

// other judges what no program of llama.cpp marks as its own.
func other(l *llamalog.Line, b []byte) parsers.Outcome {
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return ignored(ruleEmpty)
	case l.Level == 'D':
		return ignored(ruleDebug)
	case bytes.HasPrefix(b, []byte("  Device ")), bytes.HasPrefix(b, []byte("system_info: ")), bytes.HasPrefix(b, []byte("system info: ")), onlyDots(b):
		return ignored(ruleLoad)
	case isSampler(b), isOldSlot(b), bytes.HasPrefix(b, []byte("draft acceptance rate = ")):
		return ignored(ruleSlot)
	case bytes.HasPrefix(b, []byte("llama server listening at ")), bytes.HasPrefix(b, []byte("Available slots:")), bytes.HasPrefix(b, []byte(" -> Slot ")):
		return ignored(ruleStartup)
	}
	return unparsed("not a line of llama-server")
}

// onlyDots accepts the progress that was printed while a model is loaded.
func onlyDots(b []byte) bool { return len(b) > 0 && len(bytes.Trim(b, ".")) == 0 }

// isSampler accepts the lines behind "sampler params:".
func isSampler(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("\t"))
	if !ok {
		return false
	}
	for _, word := range [...]string{"repeat_last_n = ", "dry_multiplier = ", "top_k = ", "mirostat = "} {
		if bytes.HasPrefix(rest, []byte(word)) {
			return true
		}
	}
	return false
}

// isOldSlot accepts what servers of 2023 wrote of a slot: "slot 0 is processing
// [task id: 0]", "slot 0 : kv cache rm - [0, end)", "slot 0 released (38 tokens in cache)".
func isOldSlot(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("slot "))
	if !ok {
		return string(b) == "all slots are idle and system prompt is empty, clear the KV cache"
	}
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n == 0 {
		return false
	}
	for _, word := range [...]string{" is processing [task id: ", " : kv cache rm - [", " released (", " : in cache: ", " : we have to evaluate "} {
		if bytes.HasPrefix(rest[n:], []byte(word)) {
			return true
		}
	}
	return false
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const access, timing = "access line", "print_timing"
	return map[audit.Field]string{
		audit.Time:              "timestamp of the last line (2023–2024)",
		audit.Event:             "kind of line, path of an access line",
		audit.Outcome:           timing + ", cancel task, send_error, " + access + ": status",
		audit.Reason:            "cancel task, send_error, " + access + ": status",
		audit.ClientIP:          access + ": client",
		audit.APIMethod:         access + ": method",
		audit.APIPath:           access + ": path",
		audit.APIVersion:        access + ": path",
		audit.APIStatus:         access + ": status, code of an exception",
		audit.APIOperation:      access + ": path, whether the task generated anything",
		audit.APIServerVersion:  "build",
		audit.ModelName:         "loading model, proxying request to model",
		audit.ModelID:           "loading model: path in the Hugging Face cache",
		audit.ModelRevision:     "loading model: path in the Hugging Face cache",
		audit.ModelVersion:      "general.version of the model file",
		audit.ModelBasis:        "loading model",
		audit.UsageInputTokens:  "new prompt: n_prompt_tokens, task.n_tokens; send_error: tokens",
		audit.UsageCachedTokens: "memory_seq_rm, kv cache rm: start",
		audit.UsageOutputTokens: timing + ": eval time, tokens",
		audit.UsageDurationMs:   timing + ": total time",
		audit.Extra:             "slot and task number; tokens of prompt eval time",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
