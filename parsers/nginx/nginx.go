// Package nginx reads what nginx logs, whatever the format: the combined format
// and the many that add fields to it, JSON, labelled values, and the error log.
//
// Formats are told apart line by line, because one stream often carries several
// (a container's standard output and error). An access line is one record. A
// line of the error log is none: nginx writes an access line for each request,
// also for one that failed, and a call must not be counted twice.
package nginx

import (
	"bytes"
	"fmt"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
	Format string // of nginx's log_format, for lines in none of the forms that are known; may be empty
}

// Parser reads lines of nginx. It holds nothing between lines.
type Parser struct {
	config   Config
	recorder *access.Recorder
	call     access.Call
	plain    access.Unescaper
	table    *access.Table
	json     *access.JSON
	format   *format // nil: none is configured
	labels   labels
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	p := &Parser{config: config, recorder: access.NewRecorder(config.Config), table: access.NewTable()}
	var err error
	if config.Format != "" {
		if p.format, err = compile(config.Format, p.table); err != nil {
			return nil, fmt.Errorf("format: %w", err)
		}
	}
	p.json, err = access.NewJSON(config.Config)
	return p, err
}

// Dropped returns how many source fields had no home in a record.
func (p *Parser) Dropped() uint64 { return p.recorder.Dropped() }

// Trace names the source of each record field, as nginx calls its variables.
func (p *Parser) Trace() map[audit.Field]string {
	return access.Trace()
}

// Rules under which lines are ignored, besides those of the routes.
const (
	// RuleInAccessLog: the error log tells of a request that has an access line.
	RuleInAccessLog = "in_access_log"
	// RuleServerNotice: the server tells of itself or of an idle connection.
	RuleServerNotice = "server_notice"
)

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	p.plain.Reset()
	p.call.Reset()
	p.call.Truncated = line.Cut
	if outcome := p.read(&line); outcome.Rule != "" {
		return dst, outcome, nil
	}
	dst, outcome := p.recorder.Record(dst, &p.call)
	return dst, outcome, nil
}

// read collects the facts of an access line. An outcome with a rule says that
// the line is none.
func (p *Parser) read(line *parsers.Line) parsers.Outcome {
	data := bytes.TrimSpace(line.Data)
	switch {
	case len(data) == 0:
		return parsers.Outcome{Rule: "the line is empty"}
	case data[0] == '{':
		return p.readJSON(line)
	case isErrorLine(data):
		return readError(data)
	}
	if p.format != nil {
		if p.format.read(p, data) {
			return p.check()
		}
		p.call.Reset() // a line in another format
		p.call.Truncated = line.Cut
	}
	f, reason := access.SplitCombined(data)
	switch {
	case reason == "":
		return p.readCombined(&f)
	case bytes.IndexByte(data, '\t') > 0 && isLabelled(data, ':'):
		return p.readLabelled(data, ':', '\t', line.Cut)
	case isLabelled(data, '='):
		return p.readLabelled(data, '=', ' ', line.Cut)
	case isEntrypoint(data):
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleServerNotice}
	case line.Cut:
		reason = "longer than max_line"
	}
	return parsers.Outcome{Rule: reason}
}

// isEntrypoint recognises what the start script of nginx's image prints.
func isEntrypoint(line []byte) bool {
	return bytes.HasPrefix(line, []byte("/docker-entrypoint.sh: ")) ||
		len(line) > 3 && line[0] >= '0' && line[0] <= '9' && line[2] == '-' && bytes.Contains(line, []byte(".sh: info: "))
}

// readJSON collects the facts of a JSON object.
func (p *Parser) readJSON(line *parsers.Line) parsers.Outcome {
	if reason := p.json.Read(line, &p.call); reason != "" {
		return parsers.Outcome{Rule: reason}
	}
	return p.check()
}

// check refuses a line that says nothing about a request.
func (p *Parser) check() parsers.Outcome {
	if !p.call.IsRequest() {
		return parsers.Outcome{Rule: "the line has no request, path or method under a known name"}
	}
	return parsers.Outcome{}
}
