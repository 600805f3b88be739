package bentoml

import (
	"bytes"
	"math"
	"strconv"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// header is what stands around the message of a line.
type header struct {
	when      stamp.Time
	level     []byte
	component []byte // "cli", "api_server", "runner", "service", …
	service   []byte // of a worker: the service or runner
	worker    []byte
	message   []byte
	trace     []byte // as written
	span      []byte
}

// split takes a line apart:
//
//	2022-09-18T23:18:01+0000 [INFO] [api_server:NAME:1] message (trace=…,span=…,sampled=0,service.name=NAME)
//
// The text in brackets at the end is missing outside of a request; service.name
// is missing before 1.0.18.
func (p *Parser) split(line []byte) (h header, ok bool) {
	when, n, ok := stamp.Read(line, p.zone)
	if !ok {
		return h, false
	}
	h.when = when
	rest, ok := bytes.CutPrefix(line[n:], []byte(" ["))
	if !ok {
		return h, false
	}
	h.level, rest, ok = bytes.Cut(rest, []byte("] ["))
	if !ok || !isLevel(h.level) {
		return h, false
	}
	component, message, ok := bytes.Cut(rest, []byte("] "))
	if !ok || !isComponent(component) {
		return h, false
	}
	h.component, h.service, _ = bytes.Cut(component, []byte(":"))
	if at := bytes.LastIndexByte(h.service, ':'); at >= 0 {
		h.service, h.worker = h.service[:at], h.service[at+1:]
	} else if isDigits(h.service, 10) {
		h.service, h.worker = nil, h.service
	}
	h.message = message
	h.cutTrace()
	return h, true
}

// cutTrace takes the trace off the end of the message.
func (h *header) cutTrace() {
	at := bytes.LastIndex(h.message, []byte(" (trace="))
	if at < 0 || h.message[len(h.message)-1] != ')' {
		return
	}
	trace, rest, ok1 := bytes.Cut(h.message[at+len(" (trace="):len(h.message)-1], []byte(",span="))
	span, rest, ok2 := bytes.Cut(rest, []byte(",sampled="))
	if !ok1 || !ok2 || !isDigits(trace, 16) || !isDigits(span, 16) || bytes.IndexByte(rest, ' ') >= 0 {
		return
	}
	h.trace, h.span, h.message = trace, span, h.message[:at]
}

func isLevel(b []byte) bool {
	switch string(b) {
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
		return true
	default:
		return false
	}
}

// isComponent accepts "api_server:iris_classifier:1". Nothing else may stand in
// the brackets, so that lines of other programs are left to others.
func isComponent(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && c != ':' && c != '-' && c != '.' {
			return false
		}
	}
	return len(b) <= 256
}

// call is what a line about a call says.
type call struct {
	client        []byte // empty for calls between a server and its runners
	method        []byte // of HTTP
	path          []byte
	state         []byte // of a WebSocket
	status        int    // of HTTP
	grpcStatus    []byte
	duration      int64 // milliseconds
	requestBytes  int64 // -1: not known
	responseBytes int64
	socket        bool
	unclear       bool // where the path ends
}

// splitCall reads the message of an access line, to its last byte:
//
//	10.0.4.9:40100 (scheme=http,method=POST,path=/generate,type=application/json,length=312) (status=200,type=text/event-stream,length=) 5120.901ms
//	ipv4:10.0.4.9:40100 (scheme=http,path=/bentoml.grpc.v1.BentoService/Call,type=application/grpc,size=17) (http_status=200,grpc_status=0,type=application/grpc,size=60) 1.213ms
//	10.0.4.9:40100 (scheme=ws,path=/ws) - Connection established
//
// Types and lengths are there if the configuration wants them. The caller writes
// path and first type, so everything else is read from the ends.
func splitCall(message []byte) (c call, ok bool) {
	c.status, c.requestBytes, c.responseBytes = parsers.NoStatus, -1, -1
	client, rest, ok := bytes.Cut(message, []byte(" (scheme="))
	if !ok || !c.setClient(client) {
		return c, false
	}
	scheme, rest, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return c, false
	}
	switch string(scheme) {
	case "http", "https", "ws", "wss":
	default:
		return c, false
	}
	if at := bytes.LastIndex(rest, []byte(") - ")); at >= 0 && isState(rest[at+len(") - "):]) {
		c.socket = true
		c.state = rest[at+len(") - "):]
		c.path, ok = bytes.CutPrefix(rest[:at], []byte("path="))
		return c, ok
	}
	at := bytes.LastIndexByte(rest, ' ')
	if at < 0 || !c.setDuration(rest[at+1:]) {
		return c, false
	}
	request, response, ok := cutLast(rest[:at], ") (")
	if !ok || len(response) == 0 || response[len(response)-1] != ')' {
		return c, false
	}
	return c, c.setResponse(response[:len(response)-1]) && c.setRequest(request)
}

func cutLast(b []byte, separator string) (before, after []byte, ok bool) {
	at := bytes.LastIndex(b, []byte(separator))
	if at < 0 {
		return nil, nil, false
	}
	return b[:at], b[at+len(separator):], true
}

func isState(b []byte) bool {
	switch string(b) {
	case "Client connected", "Client disconnected", "Connection established", "Connection closed":
		return true
	default:
		return false
	}
}

// setClient reads "10.0.4.9:40100", "_", and a peer of gRPC.
func (c *call) setClient(b []byte) bool {
	if len(b) == 0 || bytes.IndexByte(b, ' ') >= 0 {
		return false
	}
	if string(b) == "_" || bytes.HasPrefix(b, []byte("unix:")) {
		return true
	}
	if peer, ok := bytes.CutPrefix(b, []byte("ipv4:")); ok {
		b = peer
	} else if peer, ok := bytes.CutPrefix(b, []byte("ipv6:")); ok {
		b = unescapePeer(peer)
	}
	c.client = b
	return true
}

// unescapePeer takes the address out of "%5B::1%5D:52114" and "[::1]:52114".
func unescapePeer(b []byte) []byte {
	for _, marks := range [...][2]string{{"%5B", "%5D:"}, {"[", "]:"}} {
		if inner, ok := bytes.CutPrefix(b, []byte(marks[0])); ok {
			if address, _, ok := bytes.Cut(inner, []byte(marks[1])); ok {
				return address
			}
		}
	}
	return b
}

// setDuration reads "0.465ms".
func (c *call) setDuration(b []byte) bool {
	figure, ok := bytes.CutSuffix(b, []byte("ms"))
	if !ok || !pyrepr.IsNumber(figure) {
		return false
	}
	ms, err := strconv.ParseFloat(string(figure), 64)
	if err != nil || ms < 0 || ms > 1<<53 {
		return false
	}
	c.duration = int64(math.Round(ms))
	return true
}

// setResponse reads "status=200,type=application/json,length=1".
func (c *call) setResponse(b []byte) bool {
	if bytes.IndexByte(b, ')') >= 0 {
		return false
	}
	b, c.responseBytes = cutLength(b)
	head, _, _ := bytes.Cut(b, []byte(",type="))
	status, ok := bytes.CutPrefix(head, []byte("status="))
	if !ok {
		if status, ok = bytes.CutPrefix(head, []byte("http_status=")); !ok {
			return false
		}
		if status, c.grpcStatus, ok = bytes.Cut(status, []byte(",grpc_status=")); !ok || !isDigits(c.grpcStatus, 10) {
			return false
		}
	}
	code, ok := pyrepr.Integer(status)
	c.status = int(code)
	return ok && code >= 0 && code <= 999
}

// setRequest reads "method=POST,path=/classify,type=application/json,length=9".
func (c *call) setRequest(b []byte) bool {
	b, c.requestBytes = cutLength(b)
	if c.grpcStatus == nil {
		method, ok := bytes.CutPrefix(b, []byte("method="))
		if !ok {
			return false
		}
		if c.method, b, ok = bytes.Cut(method, []byte(",")); !ok || !parsers.IsMethod(c.method) {
			return false
		}
	}
	path, ok := bytes.CutPrefix(b, []byte("path="))
	if !ok {
		return false
	}
	contentType := []byte(nil)
	c.path, contentType, _ = bytes.Cut(path, []byte(",type="))
	c.unclear = bytes.Contains(contentType, []byte(",type="))
	return len(c.path) > 0
}

// cutLength takes ",length=312" or ",size=312" off the end. A length may be empty.
func cutLength(b []byte) (rest []byte, length int64) {
	at := bytes.LastIndexByte(b, ',')
	if at < 0 {
		return b, -1
	}
	figure, ok := bytes.CutPrefix(b[at:], []byte(",length="))
	if !ok {
		figure, ok = bytes.CutPrefix(b[at:], []byte(",size="))
	}
	switch {
	case !ok || !isDigits(figure, 10) && len(figure) > 0:
		return b, -1
	case len(figure) == 0:
		return b[:at], -1
	}
	n, ok := pyrepr.Integer(figure)
	if !ok {
		n = -1
	}
	return b[:at], n
}

// classify tells what was asked for. What a service or runner takes by POST at a
// path of its own is one of its functions: the framework's own paths are known.
func (c *call) classify(h *header) parsers.Route {
	if c.grpcStatus != nil {
		return c.classifyRPC()
	}
	if c.socket {
		return parsers.Classify([]byte("GET"), c.path) // RFC 6455, 4.1
	}
	route := parsers.Classify(c.method, c.path)
	switch {
	case route.Known() || string(c.method) != "POST" || string(h.component) == "cli":
	case c.status == 404 || c.status == 405: // no function of the service
	default:
		route.Event, route.Operation = "model.inference", "predict"
	}
	return route
}

// classifyRPC classifies a call of gRPC by its method.
func (c *call) classifyRPC() parsers.Route {
	if bytes.HasPrefix(c.path, []byte("/grpc.health.v1.Health/")) {
		route := parsers.Classify([]byte("GET"), []byte("/health"))
		route.Path = c.path
		return route
	}
	route := parsers.Classify([]byte("GET"), c.path)
	if !route.Known() && bytes.HasPrefix(c.path, []byte("/bentoml.grpc.")) {
		switch {
		case bytes.HasSuffix(c.path, []byte(".BentoService/Call")):
			route.Event, route.Operation = "model.inference", "predict"
		case bytes.HasSuffix(c.path, []byte(".BentoService/ServiceMetadata")):
			route.Event = "model.list"
		}
	}
	return route
}

// failedTask reads "Task(NAME) ID failed".
func failedTask(message []byte) (id, name []byte, ok bool) {
	id, name, ended := splitTask(message)
	return id, name, string(ended) == "failed"
}

// splitTask reads "Task(NAME) ID is submitted".
func splitTask(message []byte) (id, name, ended []byte) {
	rest, ok := bytes.CutPrefix(message, []byte("Task("))
	if !ok {
		return nil, nil, nil
	}
	if name, rest, ok = bytes.Cut(rest, []byte(") ")); !ok || !isComponent(name) {
		return nil, nil, nil
	}
	id, ended, _ = bytes.Cut(rest, []byte(" "))
	if !isComponent(id) || len(id) == 0 {
		return nil, nil, nil
	}
	return id, name, ended
}
