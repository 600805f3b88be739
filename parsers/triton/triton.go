// Package triton reads the log of NVIDIA's Triton Inference Server, its default and
// its ISO 8601 format, with messages quoted (since 24.05) and on several lines
// (before), and its trace files.
//
// Triton writes about calls when it is verbose (--log-verbose=1): the request line of
// HTTP, without an id, and for calls of HTTP and gRPC alike what was prepared, with
// request id, model and version. The two are one call when they name the same model
// and version; which of several equal request lines it was makes no difference. How a
// call ended is logged only when it failed.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed; tensors, prompts among them, are never kept.
package triton

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers.
const (
	ruleServer   = "server_log"     // what server, core and backends say of themselves
	ruleLoad     = "model_load"     // a step of loading or unloading a model
	ruleDetail   = "request_detail" // tensors of a request, and other texts on several lines
	ruleTable    = "table"          // tables that are printed at the start
	ruleBanner   = "start_banner"   // what the container says
	ruleRepeated = "failure_repeated"
	ruleTrace    = "trace_bracket" // begin and end of a trace file, and its tensors
	ruleEmpty    = "empty"
)

// Parser reads the lines of one input, which may be the logs of several
// servers: what is remembered belongs to the path of a line.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location

	servers []*server // oldest first
	last    *server   // of the line before; may be nil
	calls   []*call   // held, oldest first
	lines   int       // held by calls

	plain []byte // the line in hand without colours
	text  []byte // its message without quotes
}

// New returns a parser. Triton writes times of UTC, so that is the zone unless the
// input has another.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Location}
	if p.provider == "" {
		p.provider = "triton"
	}
	if p.zone == nil {
		p.zone = time.UTC
	}
	return p, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	b := line.Data
	if e, ok := p.split(b, line.Seen); ok {
		dst, outcome := p.read(dst, &line, &e)
		return dst, outcome, nil
	}
	if isTrace(b) {
		dst, outcome := p.trace(dst, &line)
		return dst, outcome, nil
	}
	s := p.find(line.Path)
	if s != nil && s.detail > 0 {
		if s.detail--; len(b) == 0 {
			s.detail = 0
		}
		return dst, ignored(ruleDetail), nil
	}
	dst, outcome := p.other(dst, &line)
	return dst, outcome, nil
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const request, prepared, trace = "HTTP request", "prepared", "trace file"
	return map[audit.Field]string{
		audit.Time:             "time of the first line",
		audit.Event:            request + ": path, prepared, loaded, unloaded",
		audit.Outcome:          "Infer failed, HTTP error, failed to load",
		audit.Reason:           "Infer failed, HTTP error, failed to load",
		audit.APIMethod:        request + ": number of the method",
		audit.APIPath:          request + ": path",
		audit.APIVersion:       request + ": path",
		audit.APIOperation:     request + ": path",
		audit.APIStatus:        "HTTP error: status",
		audit.APIServerVersion: "server_version of the table of options, Triton Server Version",
		audit.ModelName:        prepared + ": model, " + request + ": path, loaded, " + trace + ": model_name",
		audit.ModelVersion:     prepared + ": actual version, loading, " + trace + ": model_version",
		audit.SessionRequestID: prepared + ": request id, " + trace + ": request_id",
		audit.UsageDurationMs:  trace + ": REQUEST_END less REQUEST_START",
		audit.Extra:            prepared + ": correlation id, " + trace + ": id, parent_id",
	}
}

// other judges lines without the header of Triton's logger.
func (p *Parser) other(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	b := line.Data
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return dst, ignored(ruleEmpty)
	case isTable(b):
		return p.option(dst, line), ignored(ruleTable)
	case bytes.HasPrefix(b, []byte("Signal (")) && bytes.HasSuffix(b, []byte(") received.")):
		return dst, ignored(ruleServer)
	}
	if version, ok := bytes.CutPrefix(b, []byte("Triton Server Version ")); ok && isVersion(version) {
		dst, s := p.serverOf(dst, line.Path)
		s.version = string(version)
		return dst, ignored(ruleBanner)
	}
	for _, text := range [...]string{
		"=============================", "== Triton Inference Server ==", "NVIDIA Release ", "Copyright (c) ", "Various files include modifications (c) NVIDIA ",
		"This container image and its contents are governed by ", "By pulling and using the container, ", "https://developer.nvidia.com/ngc/nvidia-deep-learning-container-license",
		"NVIDIA modifications are covered by ", "project or file.", "NOTE: ", "WARNING: The NVIDIA Driver was not detected.", "   Use the NVIDIA Container Toolkit to start this container",
		"   https://docs.nvidia.com/datacenter/cloud-native/", "   insufficient for the inference server.", "   nvidia-docker run ",
	} {
		if bytes.HasPrefix(b, []byte(text)) {
			return dst, ignored(ruleBanner)
		}
	}
	return dst, unparsed("not a line of Triton")
}

// isTable accepts the lines of a table: "+-----+----+", "| Model | Status |".
func isTable(b []byte) bool {
	if len(b) < 2 || b[0] != b[len(b)-1] {
		return false
	}
	switch b[0] {
	case '|':
		return b[1] == ' '
	case '+':
		return len(bytes.Trim(b, "+-")) == 0
	default:
		return false
	}
}

// option learns from a line of the table of options.
func (p *Parser) option(dst []parsers.Draft, line *parsers.Line) []parsers.Draft {
	rest, ok := bytes.CutPrefix(line.Data, []byte("| server_version "))
	if !ok {
		return dst
	}
	value := bytes.Trim(rest, " |")
	if !isVersion(value) {
		return dst
	}
	dst, s := p.serverOf(dst, line.Path)
	s.version = string(value)
	return dst
}

// isVersion accepts "2.34.0", "2.50.0dev".
func isVersion(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' && c != '-' && c != '+' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64 && b[0] >= '0' && b[0] <= '9'
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
