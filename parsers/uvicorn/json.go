package uvicorn

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Slots of the JSON form.
const (
	slotMessage = iota // the whole access line as text
	slotStatus         // perhaps with its phrase, "200 OK"
	slotClient         // with the port, as uvicorn has it
	slots              // how many
)

// names are what logging configurations call the fields of an access line, best
// first. A name that is used for different things, such as a duration without a
// unit, is not here.
var names = [slots][]string{
	slotMessage: {"message", "msg", "event", "log"},
	slotStatus:  {"status", "status_code", "http_status", "response_code", "response_status", "http.status_code", "http.response.status_code"},
	slotClient:  {"client", "client_addr", "client_address"},
}

// newJSON returns the map of access lines that a logging configuration writes as
// JSON. A formatter of uvicorn's own knows client_addr, request_line and
// status_code; gunicorn's atoms have no names, so those that operators give them
// are taken.
func (p *Parser) newJSON() (*fieldmap.Map, error) {
	c := fieldmap.Config{
		Config: p.config,
		Fields: []fieldmap.Mapping{
			mapping("time", "asctime", "timestamp", "@timestamp", "time", "ts", "datetime", "date", "time_local"),
			mapping("client.ip", "remote_addr", "remote_ip", "remote_address", "client_ip", "ip", "network.client.ip", "client.ip"),
			mapping("api.path", "request", "request_line", "path", "request_path", "url", "uri", "request_uri", "full_path", "http.url", "http.path", "url.path"),
			mapping("api.method", "method", "request_method", "http_method", "http.method", "http.request.method"),
			mapping("usage.response_bytes", "response_length", "response_bytes", "response_size", "body_bytes_sent", "bytes_sent"),
			mapping("usage.duration_ms", "duration_ms", "request_time_ms", "response_time_ms", "process_time_ms", "latency_ms", "request_duration_ms"),
			mapping("client.user_agent", "user_agent", "http_user_agent", "useragent", "user_agent.original"),
			mapping("actor.id", "remote_user", "user", "user_id"),
			mapping("session.request_id", "request_id", "requestId", "correlation_id", "x_request_id", "http.request_id", "http.request.id"),
			mapping("session.trace_id", "trace_id", "traceId", "trace.id"),
			mapping("session.span_id", "span_id", "spanId", "span.id"),
		},
		Set:    []fieldmap.Constant{{Field: "api.server", Value: p.server}},
		Decide: p.decide,
	}
	times := &c.Fields[0]
	for _, name := range []string{"time", "timestamp", "t", "time_local", "ts", "date"} {
		times.Or = append(times.Or, fieldmap.Source{Path: []string{name}, Layout: "[02/Jan/2006:15:04:05 -0700]"})
	}
	for _, name := range []string{"ts", "timestamp", "time", "created"} {
		times.Or = append(times.Or, fieldmap.Source{Path: []string{name}, Layout: "unix"})
	}
	for _, list := range names {
		for _, name := range list {
			c.Slots = append(c.Slots, path(name))
		}
	}
	return fieldmap.New(c)
}

func mapping(field string, names ...string) fieldmap.Mapping {
	m := fieldmap.Mapping{Field: field, Path: path(names[0])}
	for _, name := range names[1:] {
		m.Or = append(m.Or, fieldmap.Source{Path: path(name)})
	}
	return m
}

// path takes a name with dots for the path of a nested member.
func path(name string) []string {
	if name[0] == '@' {
		return []string{name}
	}
	var keys []string
	for key := range bytes.SplitSeq([]byte(name), []byte(".")) {
		keys = append(keys, string(key))
	}
	return keys
}

// slot returns the first value of the names of a slot.
func slot(m *fieldmap.Map, wanted int) []byte {
	at := 0
	for i, list := range names {
		for range list {
			if i == wanted {
				if value := m.Slot(at); value != nil {
					return value
				}
			}
			at++
		}
	}
	return nil
}

// decide takes request, status and client from the slots. An object without a
// status is what an application logs about a request, not the server's line.
func (p *Parser) decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	message := slot(m, slotMessage)
	if a, ok := uvicorn.SplitAccess(message); ok {
		route := a.Route()
		if rule, noise := a.Noise(&route); noise {
			return ignored(rule)
		}
		a.Fill(d, &route)
		m.SetRequest(a.Method, a.Target)
		m.SetStatus(a.Status)
		return parsers.Outcome{Verdict: parsers.Recorded}
	}
	if f, ok := p.split(message); ok {
		method, target, status := p.fromCombined(d, &f)
		m.SetRequest(method, target)
		m.SetStatus(status)
		return parsers.Outcome{Verdict: parsers.Recorded}
	}
	status := slot(m, slotStatus)
	if status == nil || m.Target() == nil {
		if rule, ok := noise(message); ok && rule != traceback.Rule { // the object has the exception too
			return ignored(rule)
		}
		return unparsed("no request and status in the JSON object")
	}
	digits, _, _ := bytes.Cut(status, []byte(" "))
	code, ok := parsers.Status(digits)
	if !ok {
		return unparsed("not a status in the JSON object")
	}
	m.SetStatus(code)
	if client := slot(m, slotClient); client != nil && !d.Record.Has(audit.ClientIP) && !uvicorn.SetClient(d, client) {
		d.Record.Flag(audit.FieldsDropped)
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}
