package litellm

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Rules under which lines of the console are ignored, besides those of routes,
// uvicorn and tracebacks.
const (
	ruleStartup = "startup"        // what the proxy says of itself when it starts
	ruleBanner  = "banner"         // the logo, the models it serves, requests for feedback
	ruleDebug   = "debug"          // the debug level, which prints whole requests
	ruleCall    = "call_progress"  // steps of a call that other lines tell the end of
	ruleDetail  = "auth_detail"    // what follows a refused call
	ruleUI      = "user_interface" // files of the administration pages
	ruleEmpty   = "empty"
)

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

// newConsole reads the console under JSON_LOGS. From the line it takes only what
// LiteLLM's formatter itself puts there: it also makes keys of dictionaries that
// it finds in a message, and those a caller may have chosen.
func (p *Parser) newConsole(c parsers.Config) (*fieldmap.Map, error) {
	const message, level, component = 0, 1, 2
	return fieldmap.New(fieldmap.Config{
		Config: c,
		Fields: []fieldmap.Mapping{fieldmap.From("time", "timestamp")},
		Slots:  fieldmap.Paths("message", "level", "component"),
		Decide: func(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
			p.plain = ansi.AppendPlain(p.plain[:0], m.Slot(message))
			h := header{level: m.Slot(level), component: m.Slot(component), message: p.plain}
			return h.judge(d)
		},
	})
}

// text reads a line of the console as text. It has no date, so no time.
func (p *Parser) text(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	var plain []byte
	plain, p.plain = ansi.Plain(p.plain, line.Data)
	h, ok := splitHeader(plain)
	if !ok {
		return dst, p.bare(line.Path, plain)
	}
	if p.traceback.Frame(line.Path, h.message) {
		return dst, ignored(traceback.Rule)
	}
	dst, d := parsers.Next(dst)
	outcome := h.judge(d)
	if outcome.Verdict != parsers.Recorded {
		return dst[:len(dst)-1], outcome
	}
	d.SetActor(nil)
	d.SetProvider(p.provider)
	if line.Cut {
		d.Record.Flag(audit.Truncated)
	}
	return dst, outcome
}

// header is a line of a logger: its level, for LiteLLM's own loggers their name,
// and what it says.
type header struct{ level, component, message []byte }

// splitHeader reads what the loggers put before a message:
//
//	INFO:     message                                            uvicorn
//	07:18:42 - LiteLLM Proxy:ERROR: file.py:159 - message        since 1.31
//	LiteLLM Proxy - DEBUG: message                               before
func splitHeader(line []byte) (h header, ok bool) {
	if at := bytes.IndexByte(line, ':'); at > 0 && at+1 < len(line) && line[at+1] == ' ' && isLevel(line[:at]) {
		return header{level: line[:at], message: bytes.TrimLeft(line[at+1:], " ")}, true
	}
	if clock, rest, found := bytes.Cut(line, []byte(" - ")); found && isClock(clock) {
		line = rest
	}
	if !bytes.HasPrefix(line, []byte("LiteLLM")) {
		return h, false
	}
	name, message, found := bytes.Cut(line, []byte(": "))
	if !found {
		return h, false
	}
	component, level, found := bytes.Cut(name, []byte(":"))
	if !found {
		component, level, found = bytes.Cut(name, []byte(" - "))
	}
	if !found || !isLevel(level) {
		return h, false
	}
	if file, rest, found := bytes.Cut(message, []byte(" - ")); found && bytes.Contains(file, []byte(".py:")) && bytes.IndexByte(file, ' ') < 0 {
		message = rest
	}
	return header{level, component, message}, true
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func cutPrefix(b []byte, prefix string) (rest []byte, ok bool) {
	if !hasPrefix(b, prefix) {
		return b, false
	}
	return b[len(prefix):], true
}

func isLevel(b []byte) bool {
	switch string(b) {
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
		return true
	default:
		return false
	}
}

// isClock accepts "07:18:42", and a whole date with it.
func isClock(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && c != ':' && c != '-' && c != ' ' && c != ',' && c != '.' {
			return false
		}
	}
	return len(b) >= len("07:18:42")
}

// beginnings are those of messages that LiteLLM writes about itself.
var beginnings = []struct{ text, rule string }{
	{"Using default (v1) migration resolver", ruleStartup},
	{"Using v2 migration resolver", ruleStartup},
	{"Running prisma migrate deploy", ruleStartup},
	{"prisma migrate deploy ", ruleStartup},
	{"All migrations have been applied", ruleStartup},
	{"Routing strategy: ", ruleStartup},
	{"Initialized ", ruleStartup},
	{"LiteLLM completion() model= ", ruleCall},
	{"selected model name for cost calculation: ", ruleCall},
	{"Wrapper: Completed Call, calling ", ruleCall},
	{"get_available_deployment for model: ", ruleCall},
	{"Async success callbacks: ", ruleCall},
}

func begins(message []byte) (rule string, ok bool) {
	for i := range beginnings {
		if hasPrefix(message, beginnings[i].text) {
			return beginnings[i].rule, true
		}
	}
	return ruleEmpty, len(message) == 0
}

// judge decides over a message, and fills the record that it becomes.
func (h *header) judge(d *parsers.Draft) parsers.Outcome {
	if string(h.level) == "DEBUG" {
		return ignored(ruleDebug)
	}
	if a, ok := uvicorn.SplitAccess(h.message); ok && len(h.component) == 0 {
		return access(d, &a)
	}
	if what, ok := cutPrefix(h.message, "litellm.proxy.proxy_server.user_api_key_auth(): Exception occured - "); ok { //nolint:misspell // LiteLLM's word
		authFailure(d, what)
		return recorded()
	}
	if string(h.component) == "LiteLLM Router" && routed(d, h.message) {
		return recorded()
	}
	if rule, ok := uvicorn.Noise(h.message); ok {
		return ignored(rule)
	}
	if string(h.level) == "INFO" {
		if rule, ok := begins(h.message); ok {
			return ignored(rule)
		}
	}
	return parsers.Outcome{Rule: "not a message that tells of a call"}
}

// access fills the record of an access line.
func access(d *parsers.Draft, a *uvicorn.Access) parsers.Outcome {
	route := a.Route()
	event, what := adminCall(a.Method, route.Path, a.Status)
	if event != "" {
		d.Record.SetString(audit.Event, event)
		d.Record.SetText(audit.ChangeWhat, what)
	} else if rule, ok := noise(a, &route); ok {
		return ignored(rule)
	}
	a.Fill(d, &route)
	return recorded()
}

// routed reads how the router ended a call to one deployment:
//
//	litellm.acompletion(model=hosted_vllm/qwen3-27b) 200 OK
//	litellm.acompletion(model=gpt-4o) Exception litellm.RateLimitError: …
//
// It is a call of its own: whoever asked for it is on the access line, and one
// access line can stand for several of these (retries, fallbacks).
func routed(d *parsers.Draft, message []byte) bool {
	rest, ok := bytes.CutPrefix(message, []byte("litellm."))
	name, rest, ok1 := bytes.Cut(rest, []byte("(model="))
	model, end, ok2 := bytes.Cut(rest, []byte(") "))
	c := callOf(name)
	if !ok || !ok1 || !ok2 || c.event != "model.inference" {
		return false
	}
	exception, failed := bytes.CutPrefix(end, []byte("Exception "))
	if !failed && string(end) != "200 OK" {
		return false
	}
	r := &d.Record
	r.SetString(audit.Event, c.event)
	r.SetString(audit.APIOperation, c.operation)
	if string(model) != "None" {
		r.SetText(audit.ModelName, model)
	}
	if !failed {
		d.SetStatus(200)
		return true
	}
	r.SetString(audit.Outcome, "failed")
	r.SetText(audit.Reason, exceptionClass(exception))
	d.SetStatus(parsers.NoStatus)
	return true
}

// exceptionClass returns the class of "litellm.RateLimitError: …", nil when it
// does not look like one.
func exceptionClass(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte("litellm."))
	end := 0
	for end < len(text) && (text[end] >= 'a' && text[end] <= 'z' || text[end] >= 'A' && text[end] <= 'Z') {
		end++
	}
	class := text[:end]
	if end > 64 || !bytes.HasSuffix(class, []byte("Error")) && !bytes.HasSuffix(class, []byte("Exception")) {
		return nil
	}
	return class
}

// refusals are the texts by which the proxy says why it refused a call.
var refusals = []struct{ text, reason string }{
	{"No api key passed in", "no_key"},
	{"Invalid proxy server token passed", "invalid_key"},
	{"Unable to find token in cache", "invalid_key"},
	{"Invalid API key", "invalid_key"},
	{"Malformed API Key", "malformed_key"},
	{"Expired Key", "expired_key"},
	{"Key is blocked", "blocked_key"},
	{"udget has been exceeded", "budget_exceeded"},
	{"ExceededBudget", "budget_exceeded"},
	{"ExceededTokenBudget", "budget_exceeded"},
	{"No connected db", "no_database"},
	{"nly proxy admin", "not_admin"},
	{"not allowed to access model", "model_not_allowed"},
	{"not allowed to call this route", "route_not_allowed"},
}

// authFailure fills the record of a call that was refused before it reached a
// model. Newer versions add three lines: address, route and model. Model and
// parts of the message are the caller's words, so that the address counts only
// when there is one such line.
func authFailure(d *parsers.Draft, what []byte) {
	r := &d.Record
	r.SetString(audit.Event, "auth.failure")
	r.SetString(audit.Outcome, "denied")
	message, detail, found := bytes.Cut(what, []byte("\nRequester IP Address:"))
	if found && !bytes.Contains(detail, []byte("\nRequester IP Address:")) {
		address, rest, _ := bytes.Cut(detail, []byte("\n"))
		d.SetClient(bytes.TrimSpace(address))
		if rest, ok := bytes.CutPrefix(rest, []byte("Route: ")); ok {
			path, model, _ := bytes.Cut(rest, []byte("\n"))
			route := parsers.Classify(nil, path)
			r.SetText(audit.APIPath, route.Path)
			if model, ok := bytes.CutPrefix(model, []byte("Model: ")); ok && string(model) != "unknown" && string(model) != "None" {
				r.SetText(audit.ModelName, model)
			}
		}
	}
	r.SetText(audit.ActorKeyID, keyHash(message))
	r.SetString(audit.Reason, "auth_error")
	for i := range refusals {
		if contains(message, refusals[i].text) {
			r.SetString(audit.Reason, refusals[i].reason)
			break
		}
	}
}

// contains is bytes.Contains without a copy of what is looked for.
func contains(b []byte, text string) bool {
	for len(b) >= len(text) {
		at := bytes.IndexByte(b[:len(b)-len(text)+1], text[0])
		if at < 0 {
			return false
		}
		if b = b[at:]; string(b[:len(text)]) == text {
			return true
		}
		b = b[1:]
	}
	return false
}

// keyHash finds the SHA-256 of the key that was refused: "key=HEX" or
// "Key Hash (Token) =HEX".
func keyHash(message []byte) []byte {
	const length = 64
	for _, mark := range [...]string{"Key Hash (Token) =", "key="} {
		if _, rest, ok := bytes.Cut(message, []byte(mark)); ok && len(rest) >= length && len(bytes.Trim(rest[:length], "0123456789abcdef")) == 0 {
			return rest[:length]
		}
	}
	return nil
}

// bare judges a line that no logger wrote.
func (p *Parser) bare(path string, line []byte) parsers.Outcome {
	switch {
	case p.traceback.Frame(path, line):
		return ignored(traceback.Rule)
	case len(bytes.TrimSpace(line)) == 0:
		return ignored(ruleEmpty)
	case bytes.HasPrefix(line, []byte("Requester IP Address:")):
		return ignored(ruleDetail)
	case isBanner(line):
		return ignored(ruleBanner)
	}
	if rule, ok := begins(line); ok { // some messages begin with a line feed
		return ignored(rule)
	}
	return parsers.Outcome{Rule: "not a line of a logger"}
}

func isBanner(line []byte) bool {
	text := bytes.TrimSpace(line)
	for _, beginning := range [...]string{
		"#---", "#    ", "#  '", "Thank you for using LiteLLM!", "Give Feedback / Get Help: https://github.com/BerriAI/litellm",
		"LiteLLM: Proxy initialized with Config", "LiteLLM: Current Version = ", "██", "╚══",
	} {
		if hasPrefix(text, beginning) {
			return true
		}
	}
	return false
}
