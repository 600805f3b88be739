// Package vllm reads the log of a vLLM OpenAI-compatible server, versions 0.2
// to 0.11 and their neighbours: the engine's request and response lines,
// uvicorn's access lines and the start banner, with or without process
// prefixes and colours, in the server's own format or in one that a logging
// configuration makes of it, JSON too.
//
// The engine prints a request id, the prompt and the sampling parameters; its
// later lines name the id again, so they are joined by it. An access line has
// an address and a status, but neither id nor time. It is joined to a call only
// when no other call of that log can have caused it, and the record is flagged
// inferred_join; otherwise both stand alone. A wrong address is never lent to a
// prompt.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed; a prompt cannot pass for a log line, because it is read as
// the Python literal it is printed as; and prompts are held, and stand in a
// snapshot, only as what the capture policy made of them.
package vllm

import (
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Bounds of what is held. Beyond them the oldest request is recorded as it is.
const (
	window      = 10 * time.Minute // after which a request whose end was not logged is recorded
	settle      = 3 * time.Second  // in which an access line follows the end of its call
	maxRequests = 1024
	maxServers  = 256
	maxBytes    = 8 << 20 // of held texts, as the capture policy left them
	maxLines    = 64      // of one request
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers and those of what uvicorn says of itself. The table in noise.go names
// more.
const (
	ruleBanner      = parsers.RuleStartBanner // what it says is remembered for the records to come
	ruleStreamDelta = "stream_delta"          // a part of an answer that is logged again when complete
	ruleAdded       = "request_added"         // of a request whose first line is not known
	ruleRepeatedEnd = "end_repeated"          // says again that a request ended
	ruleProgress    = "progress"              // progress bars
	ruleEmpty       = "empty"                 // nothing on the line
	ruleStartup     = "startup"               // what a server says of itself while it starts
	ruleStatistics  = "engine_stats"          // periodic figures
	ruleRoutes      = "route_list"            // the routes a server offers
)

// Parser reads the lines of one input, which may be the logs of several
// servers: what is remembered belongs to the path of a line.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location

	servers []*server // oldest first
	last    *server   // of the line before; may be nil
	queue   request   // ends of the list of held requests, oldest first
	count   int       // of held requests
	lines   int       // held
	bytes   int       // held

	traceback traceback.Tracker

	basis   basis           // of the time of the line in hand
	plain   []byte          // the line in hand without colours
	decoded []byte          // message of the JSON object in hand
	joined  []byte          // id and sections of the line in hand
	content parsers.Content // the text in hand
}

// New returns a parser. Without Config.Capture no content is kept.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "vllm"
	}
	p.reset()
	return p, nil
}

func (p *Parser) reset() {
	p.servers, p.last = nil, nil
	p.traceback = traceback.Tracker{}
	p.queue.next, p.queue.previous = &p.queue, &p.queue
	p.count, p.lines, p.bytes = 0, 0, 0
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	h := split(line.Data)
	if h.kind == web {
		if call, ok := uvicorn.SplitAccess(h.message); ok {
			dst, outcome := p.access(dst, &line, stamp.Time{}, &call)
			return dst, outcome, nil
		}
	}
	p.basis = zoneAssumed
	if h.kind == engine {
		when, ok := readStamp(h.stamp, line.Seen, p.zone)
		if !ok {
			return dst, unparsed("no valid time"), nil
		}
		dst, outcome := p.engine(dst, &line, when, h.message)
		return dst, outcome, nil
	}
	if h.kind == bare {
		if dst, outcome, ok := p.configured(dst, &line, h.message); ok {
			return dst, outcome, nil
		}
	}
	return dst, p.other(&line, &h), nil
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const access, received = "access line", "Received request"
	return map[audit.Field]string{
		audit.Time:              "MM-DD HH:MM:SS, or the time that a logging configuration prints",
		audit.Event:             "kind of line, request line of an access line",
		audit.Outcome:           "Generated response, Finished request, Aborted request, Request … failed, status",
		audit.Reason:            "Aborted request, Request … failed, status",
		audit.ClientIP:          access + ": client",
		audit.APIMethod:         access + ": method",
		audit.APIPath:           access + ": path",
		audit.APIVersion:        access + ": path",
		audit.APIStatus:         access + ": status",
		audit.APIOperation:      "prefix of the request id, " + access + ": path",
		audit.APIServerVersion:  "vLLM API server version",
		audit.SessionRequestID:  received + ": id",
		audit.SessionResponseID: received + ": id without -N",
		audit.ModelName:         "start banner: served_model_name, model",
		audit.ModelID:           "start banner: model",
		audit.ModelRevision:     "start banner: revision",
		audit.ModelBasis:        "start banner",
		audit.ModelAdapter:      received + ": lora_name",
		audit.ParamsTemperature: received + ": temperature",
		audit.ParamsTopP:        received + ": top_p",
		audit.ParamsTopK:        received + ": top_k",
		audit.ParamsMaxTokens:   received + ": max_tokens",
		audit.ParamsSeed:        received + ": seed",
		audit.ParamsN:           received + ": n",
		audit.ParamsStop:        received + ": stop, number of strings",
		audit.ParamsStream:      "Generated response (streaming complete)",
		audit.UsageInputTokens:  received + ": prompt_token_ids, number",
		audit.UsageOutputTokens: "Generated response: output_token_ids, number",
		audit.UsageDurationMs:   "Loading weights took",
		audit.InputText:         received + ": prompt",
		audit.OutputText:        "Generated response: output",
		audit.OutputFinish:      "Generated response: finish_reason",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
