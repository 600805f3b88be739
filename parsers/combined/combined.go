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
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
)

// Config is what the parser is told. Location is not used: the format carries
// the zone.
type Config struct {
	parsers.Config
}

// Parser reads access lines. It holds nothing between lines.
type Parser struct {
	recorder *access.Recorder
	call     access.Call
	plain    access.Unescaper
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	return &Parser{recorder: access.NewRecorder(config.Config)}, nil
}

// Dropped returns how many source fields had no home in a record.
func (p *Parser) Dropped() uint64 { return p.recorder.Dropped() }

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

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	f, reason := access.SplitCombined(line.Data)
	if reason != "" {
		if line.Cut {
			reason = "longer than max_line"
		}
		return dst, parsers.Outcome{Rule: reason}, nil
	}
	p.plain.Reset()
	c := &p.call
	c.Reset()
	c.Truncated = line.Cut
	if !c.SetTime(f.Time, nil) {
		return dst, parsers.Outcome{Rule: "no valid time in brackets"}, nil
	}
	c.Set(access.Client, f.Host)
	c.Drop(f.VirtualHost)
	c.Drop(f.Ident)
	c.Set(access.User, p.plain.Text(f.User))
	c.Set(access.Request, p.plain.Text(f.Request))
	c.Set(access.Status, f.Status)
	c.Set(access.BodyBytes, f.Bytes)
	referer, rest := access.CutQuoted(f.Rest)
	agent, rest := access.CutQuoted(rest)
	c.Drop(referer)
	c.Set(access.Agent, p.plain.Text(agent))
	c.Drop(rest)
	dst, outcome := p.recorder.Record(dst, c)
	return dst, outcome, nil
}
