// Package ollama reads the log of an Ollama server, releases 0.1 to 0.33: the
// access lines of its web framework ([GIN]), its own lines (slog, and the plain
// ones of the first releases), and those of the runner that it starts for a model.
//
// A call is one access line: it has the caller's address, the path, the status and
// how long it took, and neither the model nor tokens. The runner's lines count
// tokens, but nothing in them names a call, so none of it is lent to one. Models are
// named where they are loaded: the lines that start a runner and report it ready
// become one model.load record with the digest that is the file's name.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed, and an access record says nothing that its line does not carry.
package ollama

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers and those in noise.txt.
const (
	ruleBanner     = "start_banner" // what it says is remembered for the records to come
	ruleRoutes     = "route_list"   // what the web framework says while it starts
	ruleKey        = "server_key"   // the server's own key pair was made
	ruleLoad       = "model_load"   // a part of loading a model that makes no record
	ruleRunner     = "runner_task"  // the runner at work on a call
	ruleRunnerLoad = "runner_load"  // llama.cpp's library loads a model
	ruleEmpty      = "empty"        // nothing on the line
)

// Parser reads the lines of one input, which may be the logs of several
// servers: what is remembered belongs to the path of a line.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location
	quiet    *quiet

	servers []*server // oldest first
	last    *server   // of the line before; may be nil

	plain   []byte // the line in hand without colours
	cut     bool   // the line in hand is only the head of a longer one
	stamp   [stamp.MaxRFC3339]byte
	scratch []byte // unquoted values of the line in hand
}

// New returns a parser. Without Config.Capture no content is kept.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone(), quiet: known()}
	if p.provider == "" {
		p.provider = "ollama"
	}
	return p, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	p.scratch, p.cut = p.scratch[:0], line.Cut
	var outcome parsers.Outcome
	switch b := line.Data; {
	case bytes.HasPrefix(b, []byte("[GIN] ")):
		dst, outcome = p.access(dst, &line, b[len("[GIN] "):])
	case bytes.HasPrefix(b, []byte("time=")):
		dst, outcome = p.entry(dst, &line)
	default:
		dst, outcome = p.other(dst, &line)
	}
	return dst, outcome, nil
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const gin, load = "[GIN] line", "starting llama-server"
	return map[audit.Field]string{
		audit.Time:             gin + ": time, time= of other lines",
		audit.Event:            gin + ": method and path, msg= of other lines",
		audit.Outcome:          gin + ": status, started in … seconds, Load failed",
		audit.Reason:           gin + ": status, Load failed",
		audit.ClientIP:         gin + ": client",
		audit.APIMethod:        gin + ": method",
		audit.APIPath:          gin + ": path",
		audit.APIStatus:        gin + ": status",
		audit.APIVersion:       gin + ": path",
		audit.APIOperation:     gin + ": path",
		audit.APIServerVersion: "Listening on … (version …)",
		audit.UsageDurationMs:  gin + ": latency, started in … seconds",
		audit.ModelName:        "template selection: model, runner.name",
		audit.ModelDigest:      load + ": --model, runner.model",
		audit.InputText:        "chat request, generate request, completion request: prompt",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
