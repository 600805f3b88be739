// Package caddy reads the log of the Caddy web server: access lines and what the
// server says of itself, as JSON (Caddy's default) or in the console format.
package caddy

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// ruleServer is the rule for what the server says of itself.
const ruleServer = "server_log"

// The slots, in the order of slots.
const (
	slotLevel = iota
	slotLogger
	slotMessage
	slotMethod
	slotStatus
	slotDuration
)

func slots() [][]string {
	return fieldmap.Paths("level", "logger", "msg", "request/method", "status", "duration")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		// A count of milliseconds read as seconds is beyond the year 9999. Go's layouts
		// take a fraction behind the seconds.
		from("time", "ts unix", "ts unix_ms", "ts unix_ns", "ts", "ts 2006/01/02 15:04:05", "ts 02/Jan/2006:15:04:05 -0700"),
		from("actor.id", "user_id", "request/headers/X-Forwarded-User/0", "request/headers/X-Auth-Request-User/0", "request/headers/X-User-Id/0"),
		from("client.ip", "request/client_ip", "request/remote_ip", "request/remote_addr"),
		from("client.user_agent", "request/headers/User-Agent/0"),
		from("session.request_id", "request_id", "uuid", "request/headers/X-Request-Id/0", "resp_headers/X-Request-Id/0"),
		from("session.trace_id", "traceID"),
		from("session.span_id", "spanID"),
		from("api.method", "request/method"),
		from("api.path", "request/uri"),
		from("api.status", "status"),
		from("usage.request_bytes", "bytes_read"),
		from("usage.response_bytes", "size"),
		from("usage.duration_ms", "duration s"),
		from("extra.host", "request/host"),
		from("extra.server", "resp_headers/Server/0"),
	}
}

// Parser reads the log. It keeps nothing between lines.
type Parser struct {
	*fieldmap.JSON
	zone *time.Location
	head console // of the line in hand, when it is of the console format

	plain []byte // the line in hand without colours
}

// console is what the console format puts before the fields.
type console struct{ stamp, level, logger, message []byte }

// New returns a parser.
func New(c parsers.Config) (*Parser, error) {
	p := &Parser{zone: c.Zone()}
	var err error
	p.JSON, err = fieldmap.NewJSON(fieldmap.Config{Config: c, Fields: fields(), Slots: slots(), Decide: p.decide})
	return p, err
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	p.head = console{}
	if len(line.Data) > 0 && line.Data[0] != '{' {
		line.Data, p.plain = ansi.Plain(p.plain, line.Data)
		head, fields, ok := splitConsole(line.Data)
		switch {
		case !ok:
			return dst, parsers.Outcome{Rule: "neither JSON nor a line of Caddy's console format"}, nil
		case fields == nil:
			return dst, judge(head.level), nil
		}
		p.head, line.Data = head, fields
	}
	dst, outcome, err := p.JSON.Parse(dst, line)
	p.head = console{}
	return dst, outcome, err
}

func (p *Parser) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	h := p.head
	if h.level == nil {
		h = console{level: m.Slot(slotLevel), logger: m.Slot(slotLogger), message: m.Slot(slotMessage)}
	}
	if m.Target() == nil || m.Slot(slotStatus) == nil || m.Slot(slotMethod) == nil {
		return judge(h.level)
	}
	if len(h.logger) > 0 && !bytes.HasPrefix(h.logger, []byte("http.log.access")) {
		// http.log.error tells why a request failed that has an access line too.
		return parsers.Outcome{Rule: "about a request that has an access line of its own"}
	}
	if h.stamp != nil {
		if t, err := time.ParseInLocation("2006/01/02 15:04:05.000", string(h.stamp), p.zone); err == nil {
			d.SetTime(t, false)
		}
	}
	if string(h.message) == "NOP" && m.Status() == 0 { // no site for it: not a caller that went away
		m.SetStatus(parsers.NoStatus)
	}
	duration(d, m.Slot(slotDuration))
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// duration corrects a duration in another format than Caddy's default, seconds with
// a fraction: nanoseconds, or Go's text. A small whole number may be milliseconds or
// seconds, so it is none.
func duration(d *parsers.Draft, text []byte) {
	r := &d.Record
	n, whole := access.ParseCount(text)
	switch {
	case len(text) == 0 || whole && n == 0:
	case whole && n >= int64(time.Millisecond):
		r.SetInt(audit.UsageDurationMs, time.Duration(n).Round(time.Millisecond).Milliseconds())
	case whole:
		r.Clear(audit.UsageDurationMs)
		r.Flag(audit.FieldsDropped)
	case text[len(text)-1] == 's':
		if took, ok := stamp.Milliseconds(text); ok {
			r.SetInt(audit.UsageDurationMs, took)
		}
	}
}

// judge decides over a line that is about no request.
func judge(level []byte) parsers.Outcome {
	switch string(level) {
	case "info", "debug", "INFO", "DEBUG":
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleServer}
	case "":
		return parsers.Outcome{Rule: "not a line of Caddy's log"}
	default:
		return parsers.Outcome{Rule: "a warning or error of the server"}
	}
}

// splitConsole splits a line of the console format; fields is nil when it has none:
//
//	2026/11/21 09:06:34.303	INFO	http.log.access.log0	handled request	{"request": …}
func splitConsole(line []byte) (h console, fields []byte, ok bool) {
	if h.stamp, line, ok = bytes.Cut(line, []byte("\t")); !ok || len(h.stamp) < 10 || h.stamp[0] < '0' || h.stamp[0] > '9' {
		return h, nil, false
	}
	if h.level, line, ok = bytes.Cut(line, []byte("\t")); !ok || !isLevel(h.level) {
		return h, nil, false
	}
	// A line of the root logger has no name; then the message stands here.
	rest := line
	h.logger, rest, ok = bytes.Cut(rest, []byte("\t"))
	if ok {
		h.message, fields, _ = bytes.Cut(rest, []byte("\t"))
	}
	if len(fields) == 0 || fields[0] != '{' {
		return h, nil, true
	}
	return h, fields, true
}

func isLevel(b []byte) bool {
	switch string(b) {
	case "DEBUG", "INFO", "WARN", "ERROR", "PANIC", "FATAL":
		return true
	default:
		return false
	}
}
