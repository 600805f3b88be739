// Package combined reads the access logs of nginx, Apache httpd and everything
// else that writes the combined or common log format.
//
// One line is one record. A line in which the format can be recognised is never
// refused for what the client put into it: broken requests, TLS handshakes sent
// to a plain port and escaped quotes are recorded as what they are. And what the
// client wrote cannot move the borders of the fields, because both servers
// escape quotes: the first quote of the line opens the request.
package combined

import (
	"bytes"
	"sync/atomic"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Config is what the parser is told. Location is not used: the format carries
// the zone.
type Config struct {
	parsers.Config
}

// Parser reads access lines. It holds nothing between lines.
type Parser struct {
	config  Config
	dropped atomic.Uint64
	scratch []byte // unescaped fields of the line in hand
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	return &Parser{config: config}, nil
}

// Dropped returns how many source fields had no home in a record.
func (p *Parser) Dropped() uint64 { return p.dropped.Load() }

// Trace names the source of each record field, as nginx calls its variables.
func (p *Parser) Trace() map[audit.Field]string {
	const request = "$request"
	return map[audit.Field]string{
		audit.ActorID:            "$remote_user",
		audit.ClientIP:           "$remote_addr",
		audit.Time:               "$time_local",
		audit.Event:              request,
		audit.APIMethod:          request,
		audit.APIPath:            request,
		audit.APIOperation:       request,
		audit.APIVersion:         request,
		audit.ModelName:          request,
		audit.ModelVersion:       request,
		audit.APIStatus:          "$status",
		audit.Outcome:            "$status",
		audit.Reason:             "$status",
		audit.UsageResponseBytes: "$body_bytes_sent",
		audit.ClientUserAgent:    "$http_user_agent",
		audit.ClientApp:          "$http_user_agent",
	}
}

// fields are the parts of a line. They point into it.
type fields struct {
	host, ident, user, time, request, referer, agent []byte

	status int
	bytes  int64 // negative: not logged
	more   bool  // something follows that the format does not define
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	f, reason := split(line.Data)
	if reason != "" {
		if line.Cut {
			reason = "longer than max_line"
		}
		return dst, parsers.Outcome{Rule: reason}, nil
	}
	p.scratch = p.scratch[:0]
	method, target, isRequest := parsers.SplitRequest(p.unescape(f.request))
	route := parsers.Classify(method, target)
	if rule, ignored := route.Noise(f.status); ignored {
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}, nil
	}

	dst, d := parsers.Next(dst)
	r := &d.Record
	var when [25]byte
	text, ok := stamp.AppendCLF(when[:0], f.time)
	if !ok {
		return dst[:len(dst)-1], parsers.Outcome{Rule: "no valid time in brackets"}, nil
	}
	r.SetText(audit.Time, text)
	d.SetTimeBasis(true)
	d.SetRequest(method, &route)
	d.SetStatus(f.status)
	user := p.unescape(f.user)
	d.SetActor(user)
	agent := p.unescape(f.agent)
	d.SetUserAgent(agent)
	d.SetProvider(p.config.Provider)
	if f.bytes >= 0 {
		r.SetInt(audit.UsageResponseBytes, f.bytes)
	}
	if !utf8.Valid(user) || !utf8.Valid(agent) || !utf8.Valid(route.Path) {
		r.Flag(audit.InvalidUTF8)
	}

	dropped := 0
	for _, field := range [...][]byte{f.ident, f.referer} {
		if len(field) > 0 && string(field) != "-" {
			dropped++
		}
	}
	if !d.SetClient(f.host) {
		dropped++
	}
	if f.more {
		dropped++
	}
	if !isRequest && len(f.request) > 0 && string(f.request) != "-" {
		dropped++
	}
	if dropped > 0 {
		p.dropped.Add(uint64(dropped))
		r.Flag(audit.FieldsDropped)
	}
	if line.Cut {
		r.Flag(audit.Truncated)
	}
	return dst, parsers.Outcome{Verdict: parsers.Recorded}, nil
}

// split finds the fields of
//
//	host ident user [time] "request" status bytes "referer" "agent" …
//
// of which the last two and anything behind are optional. The user may contain
// spaces and brackets, so time is found from the first quote backwards.
func split(line []byte) (f fields, reason string) {
	quote := openingQuote(line)
	if quote < 0 {
		return f, `no "[time] " before a quoted request`
	}
	open := quote - stamp.CLFLength - len("[] ")
	f.time = line[open+1 : quote-2]
	if !f.splitHead(line[:open-1]) {
		return f, "no host, identity and user before the time"
	}
	end := indexQuote(line, quote+1)
	if end < 0 {
		return f, "the quoted request does not end"
	}
	f.request = line[quote+1 : end]
	rest := line[end+1:]
	if len(rest) < 4 || rest[0] != ' ' {
		return f, "no status behind the request"
	}
	rest = rest[1:]
	var ok bool
	if f.status, ok = readStatus(rest[:3]); !ok {
		return f, "no status behind the request"
	}
	rest = rest[3:]
	if len(rest) < 2 || rest[0] != ' ' {
		return f, "no size behind the status"
	}
	if f.bytes, rest, ok = readSize(rest[1:]); !ok {
		return f, "no size behind the status"
	}
	if len(rest) > 1 && rest[0] == ' ' && rest[1] == '"' {
		f.referer, rest = cutQuoted(rest)
		f.agent, rest = cutQuoted(rest)
	}
	f.more = len(rest) > 0
	return f, ""
}

// openingQuote returns the index of the first quote that a time in brackets
// stands before, or -1. Only an empty user, which Apache writes as "", has
// quotes before that.
func openingQuote(line []byte) int {
	for from := 0; ; {
		quote := indexQuote(line, from)
		if quote < 0 {
			return -1
		}
		open := quote - stamp.CLFLength - len("[] ")
		if open >= len("h i u ") && line[open-1] == ' ' && line[open] == '[' && line[quote-2] == ']' && line[quote-1] == ' ' {
			return quote
		}
		from = quote + 1
	}
}

// splitHead takes host, identity and user apart. Apache's "vhost_combined"
// puts "name:port" before the host.
func (f *fields) splitHead(head []byte) bool {
	host, rest, ok := bytes.Cut(head, []byte(" "))
	if ok && !parsers.IsAddress(host) {
		if next, tail, more := bytes.Cut(rest, []byte(" ")); more && isVirtualHost(host) && parsers.IsAddress(next) {
			host, rest = next, tail
			f.more = true
		}
	}
	f.host = host
	f.ident, f.user, ok = bytes.Cut(rest, []byte(" "))
	if string(f.user) == `""` {
		f.user = []byte("-")
	}
	return ok && len(f.host) > 0 && len(f.ident) > 0 && len(f.user) > 0
}

func isVirtualHost(b []byte) bool {
	at := bytes.LastIndexByte(b, ':')
	if at < 0 || at == len(b)-1 {
		return false
	}
	for _, c := range b[at+1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// indexQuote returns the index of the first quote at or behind from that no
// backslash escapes, or -1.
func indexQuote(line []byte, from int) int {
	for from < len(line) {
		at := bytes.IndexByte(line[from:], '"')
		if at < 0 {
			return -1
		}
		at += from
		slashes := 0
		for i := at - 1; i >= from && line[i] == '\\'; i-- {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
		from = at + 1
	}
	return -1
}

// cutQuoted takes a field ` "…"` from the front of rest. Without one it takes nothing.
func cutQuoted(rest []byte) (field, tail []byte) {
	if len(rest) < 2 || rest[0] != ' ' || rest[1] != '"' {
		return nil, rest
	}
	end := indexQuote(rest, 2)
	if end < 0 {
		return rest[2:], nil // cut short by a crash of the writer or by max_line
	}
	return rest[2:end], rest[end+1:]
}

// readStatus reads three digits. nginx writes 000 when there was no status to
// send, and 009 for HTTP/0.9.
func readStatus(b []byte) (int, bool) {
	status := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	return status, true
}

// readSize reads a decimal number or "-", which must end at a space or the end.
func readSize(b []byte) (size int64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '-' && (len(b) == 1 || b[1] == ' ') {
		return -1, b[1:], true
	}
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i == 18 {
			return 0, nil, false
		}
		size = size*10 + int64(b[i]-'0')
	}
	return size, b[i:], i > 0 && (i == len(b) || b[i] == ' ')
}

// unescape undoes what nginx (\xHH) and Apache (\xHH, \", \\, \n, \r, \t, \b, \v)
// do to bytes that are not plain. Without a backslash the field is returned as it is.
func (p *Parser) unescape(field []byte) []byte {
	if bytes.IndexByte(field, '\\') < 0 {
		return field
	}
	at := len(p.scratch)
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c != '\\' || i+1 == len(field) {
			p.scratch = append(p.scratch, c)
			continue
		}
		i++
		switch e := field[i]; e {
		case 'x':
			if value, ok := hexByte(field[i+1:]); ok {
				p.scratch = append(p.scratch, value)
				i += 2
			} else {
				p.scratch = append(p.scratch, '\\', 'x')
			}
		case 'n':
			p.scratch = append(p.scratch, '\n')
		case 'r':
			p.scratch = append(p.scratch, '\r')
		case 't':
			p.scratch = append(p.scratch, '\t')
		case 'b':
			p.scratch = append(p.scratch, '\b')
		case 'v':
			p.scratch = append(p.scratch, '\v')
		case '"', '\\':
			p.scratch = append(p.scratch, e)
		default:
			p.scratch = append(p.scratch, '\\', e)
		}
	}
	return p.scratch[at:len(p.scratch):len(p.scratch)]
}

func hexByte(b []byte) (byte, bool) {
	if len(b) < 2 {
		return 0, false
	}
	value := byte(0)
	for _, c := range b[:2] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		value = value<<4 | c
	}
	return value, true
}
