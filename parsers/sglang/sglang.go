// Package sglang reads the log of an SGLang server: its request logger in both
// formats, uvicorn's access lines, the start banner, and what it says of the
// weights it loads.
//
// The request logger prints a request when it comes and again, with the answer
// and the usage, when it is done; both lines have the request's id and are joined
// by it. An access line has an address and a status, but neither id nor model. It
// may stand before or behind the others, so it is joined to nothing: it is a
// record of its own, and no prompt gets an address on a guess.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed; prompts are read as the Python literals or JSON strings they
// are printed as, so they cannot pass for log lines; and they stand in a snapshot
// only as what the capture policy made of them. Of the start banner, which holds
// the API key, nothing is kept but the model's name and revision.
package sglang

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Parser reads the lines of one input, which may be the logs of several servers:
// what is remembered belongs to the path of a line.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location

	fields    *fieldmap.Map // of the JSON format
	traceback traceback.Tracker
	store     store

	plain   []byte // the line in hand without colours
	report  report // of the line in hand
	scratch []parsers.Draft
}

// New returns a parser. Without Config.Capture the prompts of requests that do not
// end in the log are not kept.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "sglang"
	}
	var err error
	p.fields, err = p.newFields(config)
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	h, message := cutHeader(line.Data, p.zone)
	if h.web {
		if a, ok := uvicorn.SplitAccess(message); ok {
			dst, outcome := p.access(dst, &line, &h, &a)
			return dst, outcome, nil
		}
	}
	dst, outcome := p.message(dst, &line, &h, message)
	return dst, outcome, nil
}

func (p *Parser) access(dst []parsers.Draft, line *parsers.Line, h *header, a *uvicorn.Access) ([]parsers.Draft, parsers.Outcome) {
	route := a.Route()
	if rule, noise := a.Noise(&route); noise {
		return dst, ignored(rule)
	}
	if route.Event == "model.load" && a.Status/100 == 2 && bytes.Contains(route.Path, []byte("update_weights")) {
		p.replaced(line.Path)
	}
	dst, d := parsers.Next(dst)
	h.when.Set(d)
	a.Fill(d, &route)
	p.describe(d, p.store.find(line.Path))
	return dst, recorded()
}

// message reads a line that is no access line.
func (p *Parser) message(dst []parsers.Draft, line *parsers.Line, h *header, message []byte) ([]parsers.Draft, parsers.Outcome) {
	f := &p.report
	if rest, ok := cut(message, "Receive: obj="); ok {
		f.reset()
		if reason := f.read(rest, line.Cut); reason != "" {
			return dst, unparsed(reason)
		}
		return p.received(dst, line, h, f)
	}
	if rest, ok := cut(message, "Finish: obj="); ok {
		f.reset()
		if reason := f.read(rest, line.Cut); reason != "" {
			return dst, unparsed(reason)
		}
		return p.finished(dst, line, h, f)
	}
	if rest, ok := cut(message, "Receive OpenAI: obj="); ok {
		f.reset()
		if reason := f.readPayload(rest, line.Cut); reason != "" {
			return dst, unparsed(reason)
		}
		return p.asked(dst, line, h, f)
	}
	if len(message) > 0 && message[0] == '{' {
		return p.object(dst, line, h, message)
	}
	if id, reason := abortedID(message); id != "" {
		if q := p.store.byID[key{line.Path, id}]; q != nil {
			p.traceback.Frame(line.Path, message) // the last line of one, as a rule
			return p.give(dst, q, reason), recorded()
		}
	}
	if dst, outcome, ok := p.banner(dst, line, h, message); ok {
		return dst, outcome
	}
	return dst, p.other(line, h, message)
}

// asked records the call that an OpenAI-compatible route got, as its caller sent
// it. The request that the server makes of it follows, but nothing says which it is.
func (p *Parser) asked(dst []parsers.Draft, line *parsers.Line, h *header, f *report) ([]parsers.Draft, parsers.Outcome) {
	dst, d := parsers.Next(dst)
	h.when.Set(d)
	f.fill(d)
	p.finish(d, line.Path, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
	return dst, recorded()
}

// abortedID recognises the lines that say that a request was given up:
//
//	… Request is disconnected from the client side (type 1). Abort request obj.rid='ID'
//	Abort queued request. req.rid='ID'
func abortedID(message []byte) (id, reason string) {
	reason = reasonAborted
	rest, ok := cut(message, "Abort queued request. ")
	if !ok {
		rest, ok = cut(message, "Abort running request. ")
	}
	if !ok {
		at := bytes.Index(message, []byte("is disconnected from the client side"))
		if at < 0 {
			return "", ""
		}
		reason = parsers.ReasonClientClosed
		if _, rest, ok = bytes.Cut(message[at:], []byte(". Abort request ")); !ok {
			return "", ""
		}
	}
	if at := bytes.IndexByte(rest, '='); at >= 0 && at < len("recv_req.rid") {
		rest = rest[at+1:]
	}
	rest = bytes.Trim(rest, `'".`)
	if len(rest) > maxID {
		return "", ""
	}
	return string(rest), reason
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const access, request, answer, banner = "access line", "Receive, Finish: obj", "Finish: out", "server_args"
	return map[audit.Field]string{
		audit.Time:              "asctime, timestamp",
		audit.Event:             "kind of line, request line of an access line",
		audit.Outcome:           answer + ": finish_reason; status",
		audit.Reason:            answer + ": finish_reason; status",
		audit.ActorID:           "Receive OpenAI: user",
		audit.ClientIP:          access + ": client",
		audit.APIMethod:         access + ": method",
		audit.APIPath:           access + ": path",
		audit.APIVersion:        access + ": path",
		audit.APIStatus:         access + ": status",
		audit.APIOperation:      "kind of request, " + access + ": path",
		audit.SessionRequestID:  request + ".rid",
		audit.SessionResponseID: answer + ".meta_info.id",
		audit.ModelName:         "Receive OpenAI: model; " + banner + ": served_model_name, model_path",
		audit.ModelID:           banner + ": model_path",
		audit.ModelRevision:     banner + ": revision; Found local HF snapshot",
		audit.ModelVersion:      answer + ".meta_info.weight_version",
		audit.ModelBasis:        banner,
		audit.ModelAdapter:      request + ".lora_path",
		audit.ParamsTemperature: request + ".sampling_params.temperature",
		audit.ParamsTopP:        request + ".sampling_params.top_p",
		audit.ParamsTopK:        request + ".sampling_params.top_k",
		audit.ParamsMaxTokens:   request + ".sampling_params.max_new_tokens",
		audit.ParamsSeed:        request + ".sampling_params.sampling_seed",
		audit.ParamsN:           request + ".sampling_params.n",
		audit.ParamsStop:        request + ".sampling_params.stop, number of strings",
		audit.ParamsStream:      request + ".stream",
		audit.UsageInputTokens:  answer + ".meta_info.prompt_tokens; number of input_ids",
		audit.UsageOutputTokens: answer + ".meta_info.completion_tokens",
		audit.UsageCachedTokens: answer + ".meta_info.cached_tokens",
		audit.UsageDurationMs:   answer + ".meta_info.e2e_latency; Load weight end",
		audit.InputText:         request + ".text; Receive OpenAI: messages, prompt, input",
		audit.OutputText:        answer + ".text",
		audit.OutputFinish:      answer + ".meta_info.finish_reason",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
