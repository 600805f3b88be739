// Package uvicorn reads the lines of uvicorn, the HTTP server in front of most
// model servers written in Python: its access line and what it says of itself.
//
// The access line is read from its end, because everything behind the client is
// of fixed form: a request target holds no space (RFC 9112, 3.2), so nothing that
// a caller sends can move the fields. The client can be forged where uvicorn
// trusts X-Forwarded-For; what is no address is not kept.
package uvicorn

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Access is what an access line says. Its slices are parts of the line.
type Access struct {
	Client    []byte // without port; empty when the caller came over a unix socket
	Method    []byte // empty for the handshake of a WebSocket
	Target    []byte
	Status    int // parsers.NoStatus for a handshake that was accepted
	WebSocket bool
}

// SplitAccess reads the message of an access line, without what a logging
// configuration puts before it:
//
//	10.20.0.14:41022 - "GET /v1/models HTTP/1.1" 200 OK
//	('10.20.0.14', 41022) - "GET /v1/models HTTP/1.1" 200     before 0.10
//	10.20.0.14:41022 - "GET /v1/models HTTP/1.1" 200          under gunicorn
//	10.20.0.14:41022 - "WebSocket /v1/realtime" [accepted]
//	10.20.0.14:41022 - "WebSocket /v1/realtime" 403
//	10.20.0.14:41022 7 - "GET /v2/models/m HTTP/1.1" 200 OK   of KServe, with its process
//	 - "GET /v1/models HTTP/1.1" 200 OK                       over a unix socket
func SplitAccess(message []byte) (a Access, ok bool) {
	quote := bytes.LastIndexByte(message, '"')
	if quote < 1 || !a.splitStatus(message[quote+1:]) {
		return a, false
	}
	head := message[:quote]
	if version := head[bytes.LastIndexByte(head, ' ')+1:]; isProtocol(version) && len(version) < len(head) {
		head = head[:len(head)-len(version)-1]
	} else {
		a.WebSocket = true
	}
	at := bytes.LastIndexByte(head, ' ')
	if at < 1 || at == len(head)-1 {
		return a, false
	}
	a.Target, head = head[at+1:], head[:at]
	at = bytes.LastIndexByte(head, '"')
	if at < 0 {
		return a, false
	}
	a.Method, head = head[at+1:], head[:at]
	if a.WebSocket {
		if string(a.Method) != "WebSocket" {
			return a, false
		}
		a.Method = nil
	} else if a.Status == parsers.NoStatus || !parsers.IsMethod(a.Method) {
		return a, false
	}
	head, ok = bytes.CutSuffix(head, []byte("- "))
	return a, ok && a.splitClient(head)
}

// splitStatus reads ` 200 OK`, ` 200` and ` [accepted]`. The phrase is one of
// Python's http.HTTPStatus, or empty.
func (a *Access) splitStatus(b []byte) bool {
	if len(b) < len(" 200") || b[0] != ' ' {
		return false
	}
	b = b[1:]
	if string(b) == "[accepted]" {
		a.Status = parsers.NoStatus
		return true
	}
	tens, ok := parsers.TwoDigits(b)
	units := b[2] - '0'
	if !ok || units > 9 || len(b) > 3 && b[3] != ' ' || len(b) > 40 {
		return false
	}
	for _, c := range b[3:] {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != ' ' && c != '-' && c != '\'' {
			return false
		}
	}
	a.Status = tens*10 + int(units)
	return true
}

// isProtocol accepts "HTTP/1.1" and "HTTP/2".
func isProtocol(b []byte) bool {
	version, ok := bytes.CutPrefix(b, []byte("HTTP/"))
	if !ok || len(version) != 1 && (len(version) != 3 || version[1] != '.') {
		return false
	}
	return version[0]-'0' <= 9 && version[len(version)-1]-'0' <= 9
}

// splitClient reads what stands before the hyphen: "10.20.0.14:41022 ", a tuple
// of Python, or nothing.
func (a *Access) splitClient(b []byte) bool {
	if len(b) == 0 || len(b) == 1 && b[0] == ' ' {
		return true
	}
	if b[len(b)-1] != ' ' {
		return false
	}
	b = b[:len(b)-1]
	if string(b) == "None" {
		return true
	}
	if tuple, ok := bytes.CutPrefix(b, []byte("('")); ok {
		host, port, ok := bytes.Cut(tuple, []byte("', "))
		if !ok || len(port) < 2 || port[len(port)-1] != ')' || !IsNumber(port[:len(port)-1]) || bytes.IndexByte(host, ' ') >= 0 {
			return false
		}
		a.Client = host
		return true
	}
	if at := bytes.IndexByte(b, ' '); at >= 0 {
		if !IsNumber(b[at+1:]) {
			return false
		}
		b = b[:at]
	}
	a.Client = b
	if at := bytes.LastIndexByte(b, ':'); at >= 0 { // "::1:36536": the port stands behind the last colon
		a.Client = b[:at]
	}
	return true
}

// Route classifies the request.
func (a *Access) Route() parsers.Route {
	if a.WebSocket {
		return parsers.Classify([]byte("GET"), a.Target) // RFC 6455, 4.1
	}
	return parsers.Classify(a.Method, a.Target)
}

// Noise returns the rule under which the line is ignored; see [parsers.Route].
func (a *Access) Noise(route *parsers.Route) (rule string, ignored bool) {
	if a.WebSocket {
		return "", false
	}
	return route.Noise(a.Status)
}

// Fill fills event, api.*, outcome, reason, client.* and actor.* of a record. It
// says success of a stream that has begun, because that is when the line is
// written.
func (a *Access) Fill(d *parsers.Draft, route *parsers.Route) {
	d.SetRequest(a.Method, route)
	if a.WebSocket && a.Status == parsers.NoStatus {
		d.Record.SetString(audit.Outcome, "success")
	} else {
		d.SetStatus(a.Status)
	}
	d.SetActor(nil)
	if len(a.Client) > 0 && !d.SetClient(a.Client) {
		d.Record.Flag(audit.FieldsDropped)
	}
}

// SetClient fills client.ip from "host:port" as uvicorn writes it, IPv6 addresses
// without brackets. It reports false, and sets nothing, for what is no address.
func SetClient(d *parsers.Draft, client []byte) bool {
	if at := bytes.LastIndexByte(client, ':'); at >= 0 && parsers.IsAddress(client[:at]) {
		client = client[:at]
	}
	return d.SetClient(client)
}
