package rayserve

import (
	"bytes"
	"math"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// header is what stands before the message of a line.
type header struct {
	when        stamp.Time
	nanoseconds []byte // since 1970; better than when, because it needs no zone
	component   []byte // "proxy", "controller", or the name of a deployment
	componentID []byte // an address, a process id, or the id of a replica
	requestID   []byte
	route       []byte // in versions that have it here
	application []byte
	message     []byte
	dropped     bool // there are further attributes
	replica     bool // JSON says so
}

// setTime fills time and time_basis.
func (h *header) setTime(d *parsers.Draft) {
	if when, ok := stamp.ParseEpoch(h.nanoseconds, 1e9); ok {
		d.SetTime(when, true)
		return
	}
	h.when.Set(d)
}

// isReplica tells the replicas of a deployment from Ray Serve's own parts.
func (h *header) isReplica() bool {
	if h.replica {
		return true
	}
	switch string(h.component) {
	case "", "proxy", "http_proxy", "grpc_proxy", "controller", "serve", "haproxy":
		return false
	default:
		return true
	}
}

// maxParts bounds the parts between the component and the message.
const maxParts = 12

// split takes a line of the text format apart:
//
//	INFO 2024-11-20 13:54:10,001 DEPLOYMENT REPLICA REQUEST_ID -- message            since 2.40
//	INFO 2024-03-04 15:22:01,210 DEPLOYMENT REPLICA REQUEST_ID /route APP replica.py:341 - message
//	INFO 2023-01-17 21:34:35,111 http_proxy 10.0.0.7 http_proxy.py:437 - message
//	2024-11-20 13:50:00,000 INFO api.py:259 -- message                               Ray itself
func (p *Parser) split(line []byte) (h header, ok bool) {
	level, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return h, false
	}
	if !isLevel(level) {
		return p.splitCore(line)
	}
	when, n, ok := stamp.Read(rest, p.zone)
	if !ok || n == len(rest) || rest[n] != ' ' {
		return h, false
	}
	h.when = when
	if h.component, rest, ok = bytes.Cut(rest[n+1:], []byte(" ")); !ok || len(h.component) == 0 || h.component[0] == '[' {
		return h, false // "[logger.py:43]": a line of an engine
	}
	if h.componentID, rest, ok = bytes.Cut(rest, []byte(" ")); !ok {
		return h, false
	}
	for range maxParts {
		part, after, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			return h, false
		}
		if string(part) == "--" {
			h.message = after
			return h, true
		}
		if isPlace(part) {
			h.message, ok = bytes.CutPrefix(after, []byte("- "))
			return h, ok
		}
		h.take(part)
		rest = after
	}
	return h, false
}

// take notes a part of the header. The request id comes first, then route and
// application.
func (h *header) take(part []byte) {
	switch {
	case len(part) > 0 && part[0] == '/' && h.route == nil:
		h.route = part
	case h.route != nil && h.application == nil:
		h.application = part
	case h.requestID == nil && h.route == nil && isID(part):
		h.requestID = part
	default:
		h.dropped = true
	}
}

// splitCore reads a line of Ray itself.
func (p *Parser) splitCore(line []byte) (h header, ok bool) {
	when, n, ok := stamp.Read(line, p.zone)
	if !ok || n == len(line) || line[n] != ' ' && line[n] != '\t' {
		return h, false
	}
	h.when = when
	level, rest, ok := bytes.Cut(line[n+1:], []byte(" "))
	if !ok || !isLevel(level) {
		return h, false
	}
	h.component = []byte("serve")
	place, rest, ok := bytes.Cut(rest, []byte(" -- "))
	h.message = rest
	return h, ok && isPlace(bytes.TrimLeft(place, " "))
}

func isLevel(b []byte) bool {
	switch string(b) {
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
		return true
	default:
		return false
	}
}

// isPlace accepts "replica.py:341".
func isPlace(b []byte) bool {
	file, number, ok := bytes.Cut(b, []byte(".py:"))
	return ok && len(file) > 0 && len(number) > 0 && pyrepr.DigitRun(number) == len(number)
}

// isID accepts a request id. A caller may choose it (header X-Request-ID).
func isID(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && bytes.IndexByte([]byte("-._/+=@~:"), c) < 0 {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 256
}

// call is what a line about a call says.
type call struct {
	isHTTP   bool
	client   []byte
	method   []byte // of HTTP
	target   []byte // path, or the method of the deployment
	status   int    // of HTTP, else parsers.NoStatus
	word     []byte // "OK", "ERROR", "CANCELLED", when there is no status
	duration int64  // milliseconds
	repeated bool   // Ray left out lines that were alike
}

// splitCall reads the message of an access line, to its last byte:
//
//	POST /v1/chat/completions 200 812.4ms
//	10.0.0.9:52114 POST /v1/chat/completions 200 812.4ms
//	CALL predict OK 1.3ms           another deployment called
//	POST 200 812.4ms                the route stands in the header
//	__CALL__ OK 1.2ms               likewise, of a deployment
func splitCall(h *header) (c call, ok bool) {
	message := h.message
	if at := bytes.Index(message, []byte(" [repeated ")); at >= 0 {
		message, c.repeated = message[:at], true
	}
	var parts [5][]byte
	n := 0
	for part := range bytes.SplitSeq(message, []byte(" ")) {
		if n == len(parts) || len(part) == 0 {
			return c, false
		}
		parts[n] = part
		n++
	}
	if n < 3 || !c.setDuration(parts[n-1]) || !c.setStatus(parts[n-2]) {
		return c, false
	}
	switch n {
	case 5:
		c.client = parts[0]
		c.method, c.target = parts[1], parts[2]
		ok = isHTTPMethod(c.method)
	case 4:
		c.method, c.target = parts[0], parts[1]
		ok = isHTTPMethod(c.method) || string(c.method) == "CALL" || string(c.method) == "HANDLE"
	case 3:
		c.method, c.target = parts[0], h.route
		if ok = isHTTPMethod(c.method); !ok {
			c.target = c.method
			ok = isUpper(c.method)
		}
	}
	c.isHTTP = isHTTPMethod(c.method)
	return c, ok
}

// setDuration reads "1.3ms".
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

// setStatus reads a status of HTTP, the code a WebSocket was closed with, a word,
// or a status of gRPC.
func (c *call) setStatus(b []byte) bool {
	c.status = parsers.NoStatus
	if n := pyrepr.DigitRun(b); n == len(b) && (n == 3 || n == 4) {
		code, _ := pyrepr.Integer(b)
		switch {
		case n == 3:
			c.status = int(code)
		case code == 1000 || code == 1001: // RFC 6455, 7.4.1
			c.word = []byte("OK")
		default:
			c.word = []byte("ERROR")
		}
		return true
	}
	c.word, _ = bytes.CutPrefix(b, []byte("StatusCode."))
	return isUpper(c.word)
}

// isUpper accepts "OK", "__CALL__", "DEADLINE_EXCEEDED".
func isUpper(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64
}

func isHTTPMethod(b []byte) bool {
	switch string(b) {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WS", "WEBSOCKET":
		return true
	default:
		return false
	}
}

// classify tells what was asked for.
func (c *call) classify() parsers.Route {
	if !c.isHTTP {
		return callRoute(c.target)
	}
	if string(c.method) == "WS" || string(c.method) == "WEBSOCKET" {
		c.method = []byte("GET") // RFC 6455, 4.1
	}
	return parsers.Classify(c.method, c.target)
}

// callRoute classifies a call of a deployment by the name of its method. Names
// that say nothing count as what no route knows.
func callRoute(method []byte) parsers.Route {
	var name [32]byte
	trimmed := bytes.Trim(method, "_")
	if len(trimmed) > len(name) {
		return parsers.Route{Event: "data.access"}
	}
	for i, b := range trimmed {
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		name[i] = b
	}
	operation := ""
	switch string(name[:len(trimmed)]) {
	case "call", "predict", "infer", "inference", "forward":
		operation = "predict"
	case "chat", "chat_completions", "responses":
		operation = "chat"
	case "completions", "completion", "generate", "generate_stream":
		operation = "text_completion"
	case "embeddings", "embedding", "embed", "encode":
		operation = "embeddings"
	case "rerank", "score", "classify":
		operation = string(name[:len(trimmed)])
	case "transcriptions", "transcribe":
		operation = "transcription"
	default:
		return parsers.Route{Event: "data.access"}
	}
	return parsers.Route{Event: "model.inference", Operation: operation}
}

// setOutcome fills outcome, reason and api.status.
func (c *call) setOutcome(d *parsers.Draft) {
	if c.status != parsers.NoStatus {
		d.SetStatus(c.status)
		return
	}
	outcome, reason := "failed", "call_error"
	switch string(c.word) {
	case "OK":
		outcome, reason = "success", ""
	case "CANCELLED":
		outcome, reason = "cancelled", parsers.ReasonClientClosed
	case "UNAUTHENTICATED", "PERMISSION_DENIED":
		outcome, reason = "denied", "grpc_"+string(bytes.ToLower(c.word))
	}
	d.Record.SetString(audit.Outcome, outcome)
	d.Record.SetString(audit.Reason, reason)
}
