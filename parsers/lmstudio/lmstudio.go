// Package lmstudio reads the server log of LM Studio (server-logs/…/YYYY-MM-DD.N.log),
// its developer console as people save it, and the JSON lines of `lms log stream`.
//
// Requests and answers stand in the log as pretty JSON, over many lines. The input
// joins them (Start says where an entry begins), so that the parser gets an entry
// whole and nothing of a prompt has to wait for its rest on the agent's disk.
//
// The promise: a request and its answer become one record only when no other call
// can have got that answer; otherwise each is a record of its own. Prompts and answers
// are never kept but as content, which the capture policy decides about.
package lmstudio

import (
	"bytes"
	"fmt"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
)

// Start matches the lines that begin an entry: with a time in brackets, as a log file
// has it, with a bare time, as the console has it, or with a brace, as the stream has
// it. No line within an entry's pretty JSON does: those are indented, or a lone brace.
const Start = `^(\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d|\[\d\d:\d\d:\d\d\]\[|\{")`

// MaxLines is how many lines an entry has at most: a long conversation has four for
// each message.
const MaxLines = 10_000

// Rules under which entries are ignored.
const (
	ruleServer  = "server_log"       // the server starts, stops, lists its routes
	ruleClient  = "client_api"       // LM Studio's own clients ask for what is loaded
	ruleEngine  = "engine_debug"     // level DEBUG of what runs the model
	ruleStep    = "call_step"        // a step of a call, which its record tells of
	rulePacket  = "stream_delta"     // a piece of an answer
	ruleEnd     = "end_repeated"     // the end of a call that has its record already
	ruleGreet   = "health_check"     // the command line looks whether a server is there
	ruleRestate = "request_restated" // the input of a request that was logged whole
	ruleEmpty   = "empty"
)

// Parser reads the entries of one input, which may be the logs of several servers:
// calls belong to the path of their entries.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location
	requests *body
	answers  *body

	calls []*call // held, oldest first
	lines int     // held by calls
	bytes int     // of content held by calls

	plain []byte // the entry in hand without colours
	text  []byte // the entry in hand out of the stream's JSON
	found []*call
}

// New returns a parser.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "lm-studio"
	}
	var err error
	if p.requests, err = newBody(config, requestFields()); err != nil {
		return nil, fmt.Errorf("compile fields of requests: %w", err)
	}
	if p.answers, err = newBody(config, answerFields()); err != nil {
		return nil, fmt.Errorf("compile fields of answers: %w", err)
	}
	return p, nil
}

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.requests.fields.Dropped() + p.answers.fields.Dropped() }

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	var outcome parsers.Outcome
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	switch b := line.Data; {
	case len(bytes.TrimSpace(b)) == 0:
		return dst, ignored(ruleEmpty), nil
	case b[0] == '{':
		dst, outcome = p.stream(dst, &line)
	default:
		e, ok := p.split(b)
		if !ok {
			return dst, unparsed("not an entry of LM Studio's log"), nil
		}
		dst, outcome = p.read(dst, &line, &e)
	}
	return dst, outcome, nil
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	trace := map[audit.Field]string{
		audit.Time:         "time of the first entry",
		audit.Event:        "Received request: path",
		audit.Outcome:      "Generated prediction, Finished streaming response, Client disconnected, level ERROR",
		audit.Reason:       "Client disconnected, level ERROR",
		audit.APIMethod:    "Received request: method",
		audit.APIPath:      "Received request: path",
		audit.APIVersion:   "Received request: path",
		audit.APIOperation: "Received request: path, Running chat completion",
		audit.APIStatus:    "Unexpected endpoint or method: status",
	}
	for from, fields := range map[string]map[audit.Field]string{"request": p.requests.fields.Trace(), "answer": p.answers.fields.Trace()} {
		for field, source := range fields {
			if trace[field] == "" {
				trace[field] = from + ": " + source
			}
		}
	}
	return trace
}

// Explain implements [parsers.Explainer].
func (p *Parser) Explain(line []byte) string {
	if e, ok := p.split(line); ok {
		return fmt.Sprintf("level %s, message %.80q", e.level, e.message)
	}
	return "an entry begins with its time; when the lines of one are not joined, give the input multiline.start"
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
