package envoyaigateway

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
)

// RuleComponent is the rule for what the controller, the external processor and
// Envoy itself log of their work.
const RuleComponent = "component_log"

// The columns of Envoy's default text format, as the keys of the JSON form:
//
//	[START_TIME] "METHOD PATH PROTOCOL" CODE FLAGS RECEIVED SENT DURATION UPSTREAM_TIME "XFF" "USER-AGENT" "REQUEST-ID" "AUTHORITY" "UPSTREAM"
const (
	columnTime = iota
	columnMethod
	columnPath
	columnCode
	columnFlags
	columnReceived
	columnSent
	columnDuration
	columnForwarded
	columnAgent
	columnRequestID
	columnAuthority
	columnUpstream
	columns
)

func columnNames() [columns]string {
	return [columns]string{
		"start_time", "method", "x-envoy-origin-path", "response_code", "response_flags", "bytes_received", "bytes_sent", "duration",
		"x-forwarded-for", "user-agent", "x-request-id", ":authority", "upstream_host",
	}
}

// text reads a line that is no JSON.
func (p *Parser) text(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	values, ok := splitText(line.Data)
	if !ok {
		return dst, components(line.Data)
	}
	dst = p.Begin(dst, line)
	for i, value := range values {
		if len(value) > 0 && string(value) != "-" {
			p.Take(p.keys[i], value)
		}
	}
	return p.End(dst)
}

// splitText splits a line of the text format. Envoy does not escape quotes in what
// callers send: when that makes more columns than there are, address and user
// agent are left out, because nobody can say which is which.
func splitText(line []byte) (v [columns][]byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("["))
	if !ok {
		return v, false
	}
	if v[columnTime], rest, ok = bytes.Cut(rest, []byte(`] "`)); !ok || len(v[columnTime]) > 40 {
		return v, false
	}
	v[columnMethod], rest, _ = bytes.Cut(rest, []byte(" "))
	v[columnPath], rest, _ = bytes.Cut(rest, []byte(" "))
	protocol, rest, ok := bytes.Cut(rest, []byte(`" `))
	if !ok || bytes.IndexByte(protocol, ' ') >= 0 || !bytes.HasPrefix(protocol, []byte("HTTP/")) && string(protocol) != "-" {
		return v, false
	}
	for _, column := range [...]int{columnCode, columnFlags, columnReceived, columnSent, columnDuration} {
		if v[column], rest, ok = bytes.Cut(rest, []byte(" ")); !ok {
			return v, false
		}
	}
	_, rest, ok1 := bytes.Cut(rest, []byte(` "`)) // the time of the upstream, or -
	rest, ok2 := bytes.CutSuffix(rest, []byte(`"`))
	if !ok1 || !ok2 || len(v[columnCode]) > 3 || !isNumber(v[columnCode]) || !isNumber(v[columnDuration]) {
		return v, false
	}
	for _, column := range [...]int{columnUpstream, columnAuthority, columnRequestID} {
		at := bytes.LastIndex(rest, []byte(`" "`))
		if at < 0 {
			return v, false
		}
		v[column], rest = rest[at+3:], rest[:at]
	}
	forwarded, agent, ok := bytes.Cut(rest, []byte(`" "`))
	if ok && bytes.IndexByte(forwarded, '"') < 0 && bytes.IndexByte(agent, '"') < 0 {
		v[columnForwarded], v[columnAgent] = forwarded, agent
	}
	return v, true
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// components judges a text line of a component:
//
//	2025-08-30T16:51:36Z	INFO	starting external processor server	{…}    zap
//	time=2025-08-30T16:51:36.000Z level=INFO msg="…"                         slog
//	[2025-08-30 16:51:36.123][1][info][main] [source/server/server.cc:430] … Envoy
func components(line []byte) parsers.Outcome {
	if _, rest, ok := bytes.Cut(line, []byte("\t")); ok && isStamp(line) {
		level, _, _ := bytes.Cut(rest, []byte("\t"))
		return component(level)
	}
	if rest, ok := bytes.CutPrefix(line, []byte("time=")); ok {
		if _, rest, ok = bytes.Cut(rest, []byte(" level=")); ok {
			level, _, _ := bytes.Cut(rest, []byte(" "))
			return component(level)
		}
	}
	if len(line) > 0 && line[0] == '[' && isStamp(line[1:]) {
		_, rest, _ := bytes.Cut(line, []byte("]["))
		_, rest, _ = bytes.Cut(rest, []byte("]["))
		if level, _, ok := bytes.Cut(rest, []byte("][")); ok {
			return component(level)
		}
	}
	return parsers.Outcome{Rule: "neither an access line nor one of a component"}
}

// isStamp tells whether a line begins with a date.
func isStamp(b []byte) bool {
	return len(b) > 10 && isNumber(b[:4]) && b[4] == '-' && isNumber(b[5:7]) && b[7] == '-' && isNumber(b[8:10])
}
