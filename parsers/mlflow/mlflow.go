// Package mlflow reads what an MLflow server leaves behind: the events of its
// registries as webhooks deliver them (MLflow's own and those of a Databricks
// workspace), one JSON object a line, and the log of the tracking server with its
// access lines.
//
// The access lines are those of the HTTP server that MLflow runs in. Its parser
// reads them; this package says what the routes of MLflow mean.
package mlflow

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/nested"
)

// provider is model.provider of records whose input names none, and api.server.
const provider = "mlflow"

// Rules under which lines are ignored, besides those of the HTTP server.
const (
	ruleServer = "server_log"     // the server and its database migrations tell of themselves
	ruleUI     = "user_interface" // pages and files of the web interface
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
	Server nested.Engine // of the HTTP server's lines; needed
}

// Parser reads the lines of one input. It holds no lines.
type Parser struct {
	nested.Host
	events *fieldmap.Map
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	if config.Provider == "" {
		config.Provider = provider
	}
	p := &Parser{Host: nested.Host{Engine: config.Server}}
	var err error
	p.events, err = newEvents(config.Config)
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	if len(line.Data) > 0 && line.Data[0] == '{' {
		if drafts, outcome := p.events.ParseJSON(dst, &line); outcome.Verdict == parsers.Recorded {
			return drafts, outcome, nil
		}
	}
	if is, quiet := isLogger(line.Data); quiet {
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleServer}, nil
	} else if is {
		return dst, parsers.Outcome{Rule: "a warning or error of the server"}, nil
	}
	dst, outcome, err := p.Engine.Parse(dst, line)
	switch outcome.Verdict {
	case parsers.Recorded:
		d := &dst[len(dst)-1]
		d.Record.SetString(audit.APIServer, provider)
		if rule := reroute(d); rule != "" {
			return dst[:len(dst)-1], parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}, err
		}
	case parsers.Unparsed:
		outcome.Rule = "neither an event of a registry nor a line of the server"
	default: // the server's own rules hold
	}
	return dst, outcome, err
}

// isLogger recognises the lines of MLflow's own loggers, and what its command line
// prints before they are set up. quiet says that the line is no warning or error.
//
//	2025/11/21 09:06:34 INFO mlflow.store.db.utils: Creating initial MLflow database tables...
//	INFO  [alembic.runtime.migration] Running upgrade  -> 451aebb31d03, add metric step
//	[MLflow] Security middleware enabled with default settings (localhost-only).
func isLogger(line []byte) (is, quiet bool) {
	const stamp = len("2006/01/02 15:04:05 ")
	if len(line) > stamp && line[4] == '/' && line[7] == '/' && line[10] == ' ' && line[13] == ':' && line[16] == ':' {
		level, rest, _ := bytes.Cut(line[stamp:], []byte(" "))
		name, _, _ := bytes.Cut(rest, []byte(": "))
		is = string(name) == "mlflow" || bytes.HasPrefix(name, []byte("mlflow.")) || bytes.HasPrefix(name, []byte("alembic."))
		return is, is && isQuiet(level)
	}
	if level, rest, found := bytes.Cut(line, []byte(" ")); found && bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte("[alembic.")) {
		return true, isQuiet(level)
	}
	for _, beginning := range [...]string{"[MLflow] ", "Backend store URI not provided. Using ", "Registry store URI not provided. Using "} {
		if bytes.HasPrefix(line, []byte(beginning)) {
			return true, true
		}
	}
	return false, false
}

func isQuiet(level []byte) bool { return string(level) == "INFO" || string(level) == "DEBUG" }

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 {
	n := p.events.Dropped()
	if server, ok := p.Engine.(parsers.Dropper); ok {
		n += server.Dropped()
	}
	return n
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.Host.Trace(p.events.Trace()) }
