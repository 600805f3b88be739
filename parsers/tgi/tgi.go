// Package tgi reads the log of Hugging Face's Text Generation Inference, and of
// Text Embeddings Inference, which is written alike: the router's lines about
// requests and the launcher's about the server, in the text format, coloured by
// default even into files, and in JSON.
//
// A request is one line, written when it ends; what is known of it are the spans
// that were open then. There is neither an id nor a status, an address only behind
// a proxy, and no prompt.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed; of the launcher's arguments, which hold the API key, nothing
// is kept but the model's name and revision; and a count of tokens, which the line
// does not have, is taken from its times only where they leave one number open.
package tgi

import (
	"bytes"
	"cmp"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/traceback"
)

// Rules under which lines are ignored.
const (
	ruleBanner  = "start_banner" // what it says is remembered for the records to come
	ruleStartup = "startup"      // what a server says of itself while it starts
	ruleServer  = "server_state" // the server is up, or goes
	ruleEmpty   = "empty"        // nothing on the line
)

// Outcomes and reasons of requests.
const (
	outcomeSuccess = "success"
	outcomeFailed  = "failed"
)

// Parser reads the lines of one input, which may be the logs of several servers:
// what is remembered belongs to the path of a line. No lines are held.
type Parser struct {
	provider string
	zone     *time.Location

	fields    *fieldmap.Map // of the JSON format
	traceback traceback.Tracker
	servers   []*server // oldest first

	plain   []byte // the line in hand without colours
	scratch []parsers.Draft
}

// New returns a parser.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "tgi"
	}
	var err error
	p.fields, err = newFields(config)
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	if len(line.Data) > 0 && line.Data[0] == '{' {
		dst, outcome := p.object(dst, &line)
		return dst, outcome, nil
	}
	e, ok := p.split(line.Data)
	if !ok {
		return dst, p.bare(&line), nil
	}
	dst, outcome := p.event(dst, &line, &e)
	return dst, outcome, nil
}

// event is what a line says happened, and in which spans.
type event struct {
	when    stamp.Time
	level   []byte
	message []byte
	call    call
	request bool // it happened in the span of a request
	router  bool // by the target

	compatible bool // the request came by compat_generate, within which is another
	first      bool // of no other shard than the first
}

// event judges a line with a time and a level.
func (p *Parser) event(dst []parsers.Draft, line *parsers.Line, e *event) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s != nil {
		s.block = none
	}
	switch {
	case e.request && e.router && string(e.level) == "INFO" && string(e.message) == "Success":
		return p.record(dst, line, e, outcomeSuccess, ""), recorded()
	case e.request && e.router && string(e.level) == "ERROR":
		return p.record(dst, line, e, outcomeFailed, reasonOf(e.message)), recorded()
	case string(e.level) != "INFO" || e.request:
	case bytes.HasPrefix(e.message, []byte("Shard ready in ")):
		if !e.first {
			return dst, ignored(ruleStartup) // another part of the same model
		}
		return p.loaded(dst, line, e), recorded()
	default:
		if rule, ok := p.banner(line.Path, e.message); ok {
			return dst, ignored(rule)
		}
		if rule, ok := noiseOf(e.message); ok {
			return dst, ignored(rule)
		}
	}
	p.traceback.Frame(line.Path, nil)
	return dst, unparsed("a message that no rule knows")
}

// record makes the record of a request.
func (p *Parser) record(dst []parsers.Draft, line *parsers.Line, e *event, outcome, reason string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	e.when.Set(d)
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.Outcome, outcome)
	r.SetString(audit.Reason, reason)
	d.SetActor(nil)
	e.call.fill(d)
	p.describe(d, line.Path)
	r.SetString(audit.APIServer, cmp.Or(e.call.server, "tgi"))
	r.Flag(audit.FieldsDropped) // times without a home
	if line.Cut {
		r.Flag(audit.Truncated)
	}
	return dst
}

// loaded records that a model is ready: "Shard ready in 16.112440201s".
func (p *Parser) loaded(dst []parsers.Draft, line *parsers.Line, e *event) []parsers.Draft {
	dst, d := parsers.Next(dst)
	e.when.Set(d)
	d.Record.SetString(audit.Event, "model.load")
	d.Record.SetString(audit.Outcome, outcomeSuccess)
	d.SetActor(nil)
	figure, _, _ := bytes.Cut(e.message[len("Shard ready in "):], []byte(" "))
	if took, ok := stamp.Duration(figure); ok {
		d.Record.SetInt(audit.UsageDurationMs, milliseconds(took))
	}
	p.describe(d, line.Path)
	return dst
}

// describe fills api.server, and model.* of a model.* record.
func (p *Parser) describe(d *parsers.Draft, path string) {
	d.Record.SetString(audit.APIServer, "tgi")
	d.SetProvider(p.provider)
	if s := p.find(path); s != nil {
		s.model.Fill(d)
	}
}

// reasons of failures, by how their messages begin. Messages hold what the caller
// sent, so no more of them is kept.
var reasons = [...]struct{ prefix, reason string }{
	{"Input validation error", "input_error"},
	{"`", "input_error"}, // "`inputs` must have less than 4096 tokens. Given: 9001"
	{"one of `", "input_error"},
	{"you must use sampling", "input_error"},
	{"tokenizer error", "input_error"},
	{"grammar is not", "input_error"},
	{"cannot compile regex", "input_error"},
	{"Model is overloaded", "overloaded"},
	{"no permits available", "overloaded"},
	{"Request failed during generation", "engine_error"},
	{"Server error", "engine_error"},
	{"Incomplete generation", "incomplete_generation"},
	{"Template error", "template_error"},
	{"Missing template v", "template_error"},
	{"Tool error", "tool_error"},
}

func reasonOf(message []byte) string {
	for _, r := range reasons {
		if bytes.HasPrefix(message, []byte(r.prefix)) {
			return r.reason
		}
	}
	return "request_error"
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const span, http, launcher = "span of the request", "span HTTP request", "launcher: Args"
	return map[audit.Field]string{
		audit.Time:              "timestamp",
		audit.Event:             "message in the span of a request; Shard ready",
		audit.Outcome:           "Success, or level ERROR in the span of a request",
		audit.Reason:            "how the message of an error begins",
		audit.APIOperation:      "name of the " + span,
		audit.APIMethod:         http + ": http.method",
		audit.APIPath:           http + ": http.target",
		audit.APIVersion:        http + ": http.target",
		audit.APIStatus:         http + ": http.status_code",
		audit.ClientIP:          http + ": http.client_ip",
		audit.ClientUserAgent:   http + ": http.user_agent",
		audit.SessionTraceID:    http + ": trace_id",
		audit.ModelName:         launcher + ".model_id; Serving revision",
		audit.ModelID:           launcher + ".model_id; Serving revision",
		audit.ModelRevision:     launcher + ".revision; Serving revision",
		audit.ModelBasis:        launcher + "; Serving revision",
		audit.ModelAdapter:      span + ": parameters.adapter_id",
		audit.ParamsTemperature: span + ": parameters.temperature",
		audit.ParamsTopP:        span + ": parameters.top_p",
		audit.ParamsTopK:        span + ": parameters.top_k",
		audit.ParamsMaxTokens:   span + ": parameters.max_new_tokens",
		audit.ParamsSeed:        span + ": parameters.seed, seed",
		audit.ParamsStop:        span + ": parameters.stop, number of strings",
		audit.ParamsStream:      "name of the " + span,
		audit.UsageOutputTokens: span + ": inference_time divided by time_per_token",
		audit.UsageDurationMs:   span + ": total_time; Shard ready",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }
