// Package haproxy reads what HAProxy logs: httplog, httpslog and CLF lines, and
// JSON of a log-format of the operator's.
//
// The status alone does not say how a request ended: an answer of 200 may have
// broken off in the middle. The termination state does, and the record's outcome
// follows it.
//
// Captured headers have no names in the line. Credentials among them are
// recognised and never kept.
package haproxy

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
}

// Parser reads lines of HAProxy. It holds nothing between lines.
type Parser struct {
	config   Config
	recorder *access.Recorder
	call     access.Call
	json     *access.JSON
	clock    clock
	plain    []byte // decoded texts of the line in hand
	upstream []byte
}

// New returns a parser.
func New(config Config) (*Parser, error) {
	p := &Parser{config: config, recorder: access.NewRecorder(config.Config)}
	var err error
	p.json, err = access.NewJSON(config.Config)
	return p, err
}

// Dropped returns how many source fields had no home in a record.
func (p *Parser) Dropped() uint64 { return p.recorder.Dropped() }

// Trace names the source of each record field, as HAProxy's documentation does.
func (p *Parser) Trace() map[audit.Field]string {
	const request = "http_request"
	return map[audit.Field]string{
		audit.ActorID:            "user of a JSON line",
		audit.ActorKeyID:         "key id of a JSON line",
		audit.ClientIP:           "client_ip",
		audit.ClientUserAgent:    "captured_request_headers",
		audit.ClientApp:          "captured_request_headers",
		audit.Time:               "request_date",
		audit.Event:              request,
		audit.APIMethod:          request,
		audit.APIPath:            request,
		audit.APIOperation:       request,
		audit.APIVersion:         request,
		audit.ModelName:          request,
		audit.ModelVersion:       request,
		audit.APIStatus:          "status_code",
		audit.Outcome:            "status_code, termination_state",
		audit.Reason:             "status_code, termination_state",
		audit.UsageResponseBytes: "bytes_read",
		audit.UsageDurationMs:    "Ta",
		audit.SessionRequestID:   "unique-id",
		audit.Extra:              "backend_name/server_name",
	}
}

// Rules under which lines are ignored, besides those of the routes.
const (
	RuleTCPSession   = "tcp_session"   // a connection of which no request is known
	RuleServerNotice = "server_notice" // HAProxy's own start, reload and stop
)

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	p.plain = p.plain[:0]
	p.call.Reset()
	p.call.Truncated = line.Cut
	if outcome := p.read(&line); outcome.Rule != "" {
		return dst, outcome, nil
	}
	dst, outcome := p.recorder.Record(dst, &p.call)
	return dst, outcome, nil
}

// read collects the facts of a request. An outcome with a rule says that the
// line tells of none.
func (p *Parser) read(line *parsers.Line) parsers.Outcome {
	data := bytes.TrimRight(line.Data, " ")
	if len(data) > 0 && data[0] == '{' {
		return p.readJSON(line)
	}
	if open := findDate(data); open > 0 {
		return p.readLine(data, open, line.Cut)
	}
	if f, reason := access.SplitCombined(withoutHeader(data)); reason == "" {
		return p.readCLF(&f)
	}
	switch {
	case line.Cut:
		return parsers.Outcome{Rule: "longer than max_line"}
	case isConnect(data):
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleTCPSession}
	case isNotice(data):
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleServerNotice}
	}
	return parsers.Outcome{Rule: "no client and no [date]"}
}

// withoutHeader takes what a syslog server wrote off a CLF line:
// "Nov 21 09:23:23 lb1 haproxy[14389]: ".
func withoutHeader(line []byte) []byte {
	header, message, found := bytes.Cut(line, []byte("]: "))
	if !found || bytes.IndexByte(header, '"') >= 0 || !bytes.Contains(header, []byte("haproxy[")) {
		return line
	}
	return message
}

const dateLength = len("21/Nov/2026:09:23:23.742")

// findDate returns the index of the bracket before HAProxy's date, which stands
// behind the client; -1 when there is none.
func findDate(line []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(line[from:], '[')
		if at < 0 {
			return -1
		}
		at += from
		if end := at + 1 + dateLength; end < len(line) && line[end] == ']' && line[at+3] == '/' && line[at+21] == '.' && at > 1 && line[at-1] == ' ' {
			return at
		}
		from = at + 1
	}
}

// clock is the second of the last line, read: neighbours in a log share it.
type clock struct {
	text        [dateLength - len(".742")]byte
	begin, zone []byte // of RFC 3339, around the fraction
}

// readDate reads the date of a line.
func (p *Parser) readDate(date []byte) bool {
	t := &p.clock
	second := len(t.text)
	if len(t.begin) == 0 || string(date[:second]) != string(t.text[:]) {
		when, ok := stamp.ParseHAProxy(date, p.config.Zone())
		if !ok {
			return false
		}
		copy(t.text[:], date)
		t.begin = when.AppendFormat(t.begin[:0], "2006-01-02T15:04:05")
		t.zone = when.AppendFormat(t.zone[:0], "Z07:00")
	}
	fraction := date[second:]
	if _, ok := access.ParseCount(fraction[1:]); !ok || fraction[0] != '.' {
		return false
	}
	p.call.SetText(t.begin, fraction, t.zone)
	return true
}

// readLine collects the facts of
//
//	client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes
//	cookie cookie state conns queues {captured} {captured} "request" …
//
// Whatever a syslog server wrote in front of the client is left out.
func (p *Parser) readLine(line []byte, open int, cut bool) parsers.Outcome {
	c := &p.call
	head := bytes.TrimRight(line[:open], " ")
	client := head[bytes.LastIndexByte(head, ' ')+1:]
	if !p.readDate(line[open+1 : open+1+dateLength]) {
		return parsers.Outcome{Rule: "no valid date in brackets"}
	}
	c.Set(access.Client, withoutPort(client))

	f := fields{rest: line[open+dateLength+len("[]"):]}
	if frontend := f.next(); len(frontend) > 0 && frontend[len(frontend)-1] == ':' {
		return parsers.Outcome{Rule: "a connection that failed before a request"}
	}
	server, timers, third := f.next(), f.next(), f.next()
	switch bytes.Count(timers, []byte("/")) {
	case 4:
	case 2:
		if _, ok := access.ParseCount(bytes.TrimPrefix(third, []byte("+"))); ok {
			return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleTCPSession}
		}
		return parsers.Outcome{Rule: "no timers behind the server"}
	default:
		return parsers.Outcome{Rule: "no timers behind the server"}
	}
	status, size := third, f.next()
	c.Drop(f.next()) // cookies may be credentials
	c.Drop(f.next())
	state := f.next()
	f.next() // connections
	f.next() // queues
	if f.short || !isState(state) {
		return parsers.Outcome{Rule: "no termination state"}
	}
	total := timers[bytes.LastIndexByte(timers, '/')+1:]
	p.ended(status, size, total, state)
	p.setUpstream(server)
	if !p.readCaptures(&f) {
		return parsers.Outcome{Rule: "no request in quotes"}
	}
	return p.readRequest(f.rest, cut)
}

// ended says how the request ended and what it took. Numbers with a plus sign
// were logged before it ended ("option logasap") and mean nothing yet.
func (p *Parser) ended(status, size, total, state []byte) {
	c := &p.call
	code := parsers.NoStatus
	if n, ok := access.ParseCount(status); ok {
		c.Set(access.Status, status)
		code = int(n)
	}
	c.Outcome, c.Reason = outcomeOf(state, code)
	for _, f := range [...]struct {
		to   access.Variable
		text []byte
	}{{access.SentBytes, size}, {access.Millis, total}} {
		if len(f.text) > 0 && f.text[0] != '+' && f.text[0] != '-' {
			c.Set(f.to, f.text)
		}
	}
}

// setUpstream keeps the server that answered, unless HAProxy answered itself.
func (p *Parser) setUpstream(server []byte) {
	_, name, _ := bytes.Cut(server, []byte("/"))
	if len(name) > 0 && name[0] != '<' {
		p.call.Set(access.Upstream, server)
	}
}

// readRequest reads the quoted request at the start of rest, and the unique id
// that may follow it.
func (p *Parser) readRequest(rest []byte, cut bool) parsers.Outcome {
	c := &p.call
	if len(rest) < 2 || rest[0] != '"' {
		return parsers.Outcome{Rule: "no request in quotes"}
	}
	request, more, whole := bytes.Cut(rest[1:], []byte(`"`))
	if !whole {
		// HAProxy cuts lines at a length ("len" of its log directive), and has the
		// request last for that reason.
		c.Truncated = true
	}
	if string(request) != "<BADREQ>" {
		c.Set(access.Request, p.decode(request))
	}
	if more = bytes.TrimLeft(more, " "); len(more) > 0 && !cut {
		if id := bytes.TrimRight(more, " "); isUniqueID(id) {
			c.Set(access.RequestID, id)
		} else {
			c.Drop(more) // TLS version and ciphers of httpslog, or the operator's own
		}
	}
	return parsers.Outcome{}
}

// readCLF collects the facts of "option httplog clf":
//
//	… status bytes "" "" port ms "frontend" "backend" "server" TR Tw Tc Tr Ta state …
func (p *Parser) readCLF(f *access.Combined) parsers.Outcome {
	c := &p.call
	if !c.SetTime(f.Time, nil) {
		return parsers.Outcome{Rule: "no valid time in brackets"}
	}
	c.Set(access.Client, f.Host)
	c.Set(access.User, p.decode(f.User))
	rest := fields{rest: f.Rest}
	rest.next() // empty, where CLF has the referer
	rest.next() // and the user agent
	rest.next() // port
	rest.next() // milliseconds of the time
	rest.next() // frontend
	backend, server := unquote(rest.next()), unquote(rest.next())
	for range 4 {
		rest.next()
	}
	total, state := rest.next(), rest.next()
	if rest.short || !isState(state) {
		return parsers.Outcome{Rule: "no termination state"}
	}
	if string(f.Request) != "<BADREQ>" {
		c.Set(access.Request, p.decode(f.Request))
	}
	p.ended(f.Status, f.Bytes, total, state)
	p.upstream = append(append(append(p.upstream[:0], backend...), '/'), server...)
	p.setUpstream(p.upstream)
	return parsers.Outcome{}
}

func unquote(field []byte) []byte { return bytes.Trim(field, `"`) }

// readJSON collects the facts of a log-format that is JSON.
func (p *Parser) readJSON(line *parsers.Line) parsers.Outcome {
	c := &p.call
	if reason := p.json.Read(line, c); reason != "" {
		return parsers.Outcome{Rule: reason}
	}
	if !c.IsRequest() {
		return parsers.Outcome{Rule: "the line has no request, path or method under a known name"}
	}
	if state := c.Get(access.State); isState(state) {
		code := parsers.NoStatus
		if n, ok := access.ParseCount(c.Get(access.Status)); ok {
			code = int(n)
		}
		c.Outcome, c.Reason = outcomeOf(state, code)
	}
	return parsers.Outcome{}
}

// fields takes a line apart at its spaces.
type fields struct {
	rest  []byte
	short bool // a field was asked for that is not there
}

func (f *fields) next() []byte {
	f.rest = bytes.TrimLeft(f.rest, " ")
	if len(f.rest) == 0 {
		f.short = true
		return nil
	}
	field, rest, _ := bytes.Cut(f.rest, []byte(" "))
	f.rest = rest
	return field
}

// withoutPort cuts the port off "10.0.0.7:52114" and "2001:db8::1:52114", which
// HAProxy writes without brackets.
func withoutPort(client []byte) []byte {
	if at := bytes.LastIndexByte(client, ':'); at > 0 {
		return client[:at]
	}
	return client
}
