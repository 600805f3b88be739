package ollama

import (
	"bytes"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// access reads what follows "[GIN] ", the default format of the gin framework:
//
//	2026/11/21 - 09:30:57 | 200 |   23.308848ms |       127.0.0.1 | POST     "/api/show"
//
// The path is quoted as Go quotes, so what a caller sends cannot end it.
func (p *Parser) access(dst []parsers.Draft, line *parsers.Line, b []byte) ([]parsers.Draft, parsers.Outcome) {
	when, n, ok := stamp.ReadLocal(b, p.zone)
	if !ok {
		return dst, unparsed("no valid time behind [GIN]")
	}
	field, rest := cutField(b[n:])
	if len(field) != 0 {
		return dst, unparsed("no bar behind the time")
	}
	field, rest = cutField(rest)
	status, ok := parsers.Status(field)
	if !ok {
		return dst, unparsed("no status behind the time")
	}
	field, rest = cutField(rest)
	latency, ok := stamp.Milliseconds(field)
	if !ok {
		return dst, unparsed("no latency behind the status")
	}
	client, rest := cutField(rest)
	method, rest, ok := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if !ok || !parsers.IsMethod(method) {
		return dst, unparsed("no method behind the client")
	}
	target, rest, ok := p.unquote(bytes.TrimLeft(rest, " "))
	if !ok || len(rest) > 0 {
		return dst, unparsed("no quoted path at the end")
	}
	route := parsers.Classify(method, target)
	if rule, noise := route.Noise(status); noise {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetTime(when, false)
	setOwnEvent(r, method, route.Path)
	d.SetRequest(method, &route)
	d.SetStatus(status)
	d.SetActor(nil)
	if len(client) > 0 && !d.SetClient(client) {
		r.Flag(audit.FieldsDropped)
	}
	r.SetInt(audit.UsageDurationMs, latency)
	p.describe(d, p.find(line.Path))
	if status == 404 && route.Operation != "" {
		// The model that was asked for is not there: it is none that the catalog could name.
		r.SetString(audit.ModelBasis, "unresolved")
		r.Flag(audit.ModelUnresolved)
	}
	if !utf8.Valid(target) {
		r.Flag(audit.InvalidUTF8)
	}
	if line.Cut {
		r.Flag(audit.Truncated)
	}
	return dst, recorded()
}

// setOwnEvent fills the event of calls that only Ollama has, where the method says
// less than the path.
func setOwnEvent(r *audit.Record, method, path []byte) {
	rest, ok := bytes.CutPrefix(path, []byte("/api/"))
	if !ok {
		return
	}
	if string(method) == "POST" {
		switch string(rest) {
		case "pull", "create":
			r.SetString(audit.Event, "data.upload")
		case "me":
			r.SetString(audit.Event, "data.access")
		case "signout":
			r.SetString(audit.Event, "auth.logout")
		case "web_search", "web_fetch", "experimental/web_search", "experimental/web_fetch":
			r.SetString(audit.Event, "tool.call")
			r.SetText(audit.ToolName, bytes.TrimPrefix(rest, []byte("experimental/")))
		default:
			if bytes.HasPrefix(rest, []byte("blobs/")) {
				r.SetString(audit.Event, "data.upload")
			}
		}
	} else if string(method) == "DELETE" && bytes.HasPrefix(rest, []byte("user/keys/")) {
		r.SetString(audit.Event, "auth.logout")
	}
}

// cutField cuts the text before the next bar, without the spaces around it.
func cutField(b []byte) (field, rest []byte) {
	field, rest, _ = bytes.Cut(b, []byte("|"))
	return bytes.Trim(field, " "), rest
}
