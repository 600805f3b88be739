package uvicorn

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// combined records an access line in gunicorn's own format, which is the combined
// log format. It reports false for what is none.
func (p *Parser) combined(dst []parsers.Draft, line *parsers.Line, message []byte) ([]parsers.Draft, parsers.Outcome, bool) {
	f, ok := p.split(message)
	if !ok {
		return dst, parsers.Outcome{}, false
	}
	c := &p.call
	c.Reset()
	c.Truncated = line.Cut
	if !c.SetTime(f.Time, p.zone) {
		return dst, unparsed("no valid time in brackets"), true
	}
	c.Set(access.Client, f.Host)
	c.Set(access.User, p.unescape(f.User))
	c.Set(access.Request, p.unescape(f.Request))
	c.Set(access.Status, f.Status)
	c.Set(access.BodyBytes, f.Bytes)
	referer, rest := access.CutQuoted(f.Rest)
	agent, rest := access.CutQuoted(rest)
	c.Drop(referer)
	c.Set(access.Agent, p.unescape(agent))
	if rest = bytes.TrimPrefix(rest, []byte(" ")); isSeconds(rest) {
		c.Set(access.Seconds, rest[:len(rest)-len("000")]) // whole milliseconds
	} else {
		c.Drop(rest)
	}
	dst, outcome := p.recorder.Record(dst, c)
	if outcome.Verdict == parsers.Recorded {
		dst[len(dst)-1].Record.SetString(audit.APIServer, p.server)
	}
	return dst, outcome, true
}

// split finds the fields. What gunicorn does otherwise than the servers that
// access.SplitCombined knows: over a unix socket the host is empty, and a format
// with X-Forwarded-For has a list in its place; the identity is always a hyphen.
func (p *Parser) split(message []byte) (f access.Combined, ok bool) {
	p.plain = p.plain[:0]
	if bytes.HasPrefix(message, []byte(" - ")) {
		p.line = append(append(p.line[:0], '-'), message...)
		message = p.line
	}
	f, reason := access.SplitCombined(message)
	if reason != "" {
		return f, false
	}
	head := message[:len(message)-len(f.Rest)]
	head = head[:bytes.LastIndex(head, f.Time)-len(" [")]
	f.Host, f.User, ok = bytes.Cut(head, []byte(" - "))
	return f, ok && len(f.Host) > 0 && len(f.User) > 0
}

// unescape undoes what gunicorn does to quotation marks; backslashes it leaves
// as they are.
func (p *Parser) unescape(field []byte) []byte {
	if !bytes.Contains(field, []byte(`\"`)) {
		return field
	}
	at := len(p.plain)
	for i, c := range field {
		if c != '\\' || i+1 == len(field) || field[i+1] != '"' {
			p.plain = append(p.plain, c)
		}
	}
	return p.plain[at:len(p.plain):len(p.plain)]
}

// isSeconds accepts %(L)s, seconds with exactly six decimals. The other durations
// of gunicorn are numbers that do not say their unit.
func isSeconds(b []byte) bool {
	whole, fraction, ok := bytes.Cut(b, []byte("."))
	return ok && uvicorn.IsNumber(whole) && uvicorn.IsNumber(fraction) && len(fraction) == 6
}

// fromCombined takes what an access line in the combined format says that stands
// in the message of a JSON object.
func (p *Parser) fromCombined(d *parsers.Draft, f *access.Combined) (method, target []byte, status int) {
	r := &d.Record
	var buffer [stamp.MaxRFC3339]byte
	if when, ok := stamp.AppendCLF(buffer[:0], f.Time); ok && !r.Has(audit.Time) {
		r.SetText(audit.Time, when)
		d.SetTimeBasis(true)
	}
	if !r.Has(audit.ClientIP) {
		d.SetClient(f.Host)
	}
	if user := p.unescape(f.User); string(user) != "-" && !r.Has(audit.ActorID) {
		r.SetText(audit.ActorID, user)
	}
	method, target, _ = parsers.SplitRequest(p.unescape(f.Request))
	if len(f.Rest) > 0 {
		r.Flag(audit.FieldsDropped)
	}
	status, ok := parsers.Status(f.Status)
	if !ok {
		status = parsers.NoStatus
	}
	return method, target, status
}
