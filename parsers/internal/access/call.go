// Package access makes records from what access logs say about requests.
//
// Web servers and proxies log the same few facts under many names and in many
// shapes. A parser that knows the shape collects the facts in a [Call]; a
// [Recorder] makes the record from them, in one way for all. Nothing is kept
// that is not one of the variables, and a value that is not what its variable
// stands for is dropped and counted.
package access

import (
	"bytes"
	"math"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Call is what one line says about a request. Its texts are plain, without the
// escapes of the format, and must stay valid until the record is made.
type Call struct {
	// Outcome and Reason are set when the line says more than the status does.
	Outcome, Reason string
	// Trusted says that only the server can have written the names of the values,
	// so that they may also prove who called.
	Trusted    bool
	Truncated  bool // the line is only the head of a longer one
	Duplicates bool // the line gave a name twice
	Replaced   bool // bytes that are no UTF-8 were replaced already
	Dropped    int  // source fields without a home

	text  [Variables][]byte
	when  [stamp.MaxRFC3339 + len(".000")]byte
	wrote int // of when
	zoned bool
}

// Reset empties the call.
func (c *Call) Reset() { *c = Call{} }

// Set gives a variable its value; "" and "-" say that there is none. The first
// value counts, a second one under another name is dropped.
func (c *Call) Set(v Variable, value []byte) {
	switch {
	case len(value) == 0 || len(value) == 1 && value[0] == '-':
	case v == None || c.text[v] != nil:
		c.Dropped++
	default:
		c.text[v] = value
	}
}

// Drop counts a source field that has no home, unless it is empty or "-".
func (c *Call) Drop(value []byte) { c.Set(None, value) }

// Unset takes a value back, because two parts of the line claim to say it.
func (c *Call) Unset(v Variable) {
	if c.text[v] != nil {
		c.text[v] = nil
		c.Dropped++
	}
}

// Get returns the value of a variable; nil when there is none.
func (c *Call) Get(v Variable) []byte { return c.text[v] }

// SetTime reads the time in one of the forms that servers write: the common log
// format, perhaps in brackets, HAProxy's, RFC 3339 and its relatives, or a count
// since 1970. zone is assumed for one that carries none. It reports whether the text
// was a time.
func (c *Call) SetTime(text []byte, zone *time.Location) bool {
	if n := len(text); n > 2 && text[0] == '[' && text[n-1] == ']' {
		text = text[1 : n-1]
	}
	switch {
	case len(text) == stamp.CLFLength && text[2] == '/':
		out, ok := stamp.AppendCLF(c.when[:0], text)
		if ok {
			c.wrote, c.zoned = len(out), true
		}
		return ok
	case len(text) == stamp.CLFLength-len(" +0000")+len(".000") && text[2] == '/':
		when, ok := stamp.ParseHAProxy(text, zone)
		if ok {
			c.wrote, c.zoned = len(when.AppendFormat(c.when[:0], time.RFC3339Nano)), false
		}
		return ok
	case len(text) > 10 && text[4] == '-':
		out, zoned, ok := stamp.AppendRFC3339(c.when[:0], text)
		if !ok {
			return false
		}
		if !zoned {
			when, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", string(out), zone)
			if err != nil {
				return false
			}
			out = when.AppendFormat(c.when[:0], time.RFC3339Nano)
		}
		c.wrote, c.zoned = len(out), zoned
		return true
	}
	return c.setEpoch(text)
}

// setEpoch tells the unit by the number of digits, which is unambiguous from
// 2001 to 2286.
func (c *Call) setEpoch(text []byte) bool {
	digits := bytes.IndexByte(text, '.')
	if digits < 0 {
		digits = len(text)
	}
	scale := int64(0)
	switch digits {
	case 10:
		scale = 1
	case 13:
		scale = 1e3
	case 16:
		scale = 1e6
	case 19:
		scale = 1e9
	default:
		return false
	}
	when, ok := stamp.ParseEpoch(text, scale)
	if ok {
		c.wrote, c.zoned = len(when.AppendFormat(c.when[:0], time.RFC3339Nano)), true
	}
	return ok
}

// SetText sets a time without a zone of its own that the parser read itself, as
// parts of RFC 3339: date and clock, fraction with its point, and the zone that
// was assumed.
func (c *Call) SetText(begin, fraction, zone []byte) {
	c.wrote = len(append(append(append(c.when[:0], begin...), fraction...), zone...))
	c.zoned = false
}

// refine adds the milliseconds that nginx logs as $msec to a time in whole
// seconds, if both tell the same second.
func (c *Call) refine(msec []byte) {
	if c.wrote == 0 {
		if !c.setEpoch(msec) {
			c.Dropped++
		}
		return
	}
	const second = len("2006-01-02T15:04:05")
	at := bytes.IndexByte(msec, '.')
	precise, ok := stamp.ParseEpoch(msec, 1)
	told, err := time.Parse(time.RFC3339, string(c.when[:c.wrote]))
	if !ok || err != nil || at < 0 || len(msec)-at != len(".000") || c.when[second] == '.' || precise.Unix() != told.Unix() {
		c.Dropped++
		return
	}
	var zone [len("+00:00")]byte
	n := copy(zone[:], c.when[second:c.wrote])
	out := append(append(c.when[:second], msec[at:]...), zone[:n]...)
	c.wrote = len(out)
}

// Recorder makes records from calls. It is used by one goroutine at a time, but
// for Dropped.
type Recorder struct {
	config  parsers.Config
	routes  parsers.Classifier
	dropped atomic.Uint64
	extra   []byte
	keyText []byte
}

// NewRecorder returns a recorder for one input.
func NewRecorder(config parsers.Config) *Recorder { return &Recorder{config: config} }

// Dropped returns how many source fields had no home in a record.
func (w *Recorder) Dropped() uint64 { return w.dropped.Load() }

// Record appends the record of a call, unless the call is known as noise.
func (w *Recorder) Record(dst []parsers.Draft, c *Call) ([]parsers.Draft, parsers.Outcome) {
	status := c.status()
	method, target := c.request()
	route := w.routes.Classify(method, target)
	if rule, ignored := route.Noise(status); ignored && c.Outcome == "" {
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetRequest(method, route)
	r.SetString(audit.Outcome, c.Outcome)
	r.SetString(audit.Reason, c.Reason)
	d.SetStatus(status)
	if msec := c.text[Msec]; msec != nil {
		c.refine(msec)
	}
	if c.wrote > 0 {
		r.SetText(audit.Time, c.when[:c.wrote])
		d.SetTimeBasis(c.zoned)
	}
	c.actor(d)
	c.client(d)
	c.correlation(r)
	c.volume(r)
	w.keyID(c, r)
	if model := c.text[Model]; model != nil && !r.Has(audit.ModelName) {
		r.SetText(audit.ModelName, model)
	}
	d.SetProvider(w.config.Provider)
	if upstream := LastTried(bytes.TrimRight(c.text[Upstream], " ")); len(upstream) > 0 {
		w.extra = append(w.extra[:0], `{"upstream":`...)
		w.extra = append(audit.AppendText(w.extra, upstream), '}')
		r.SetJSON(audit.Extra, w.extra)
	}
	w.flag(c, r, route.Path)
	return dst, parsers.Outcome{Verdict: parsers.Recorded}
}

// flag says what of the line the record does not have.
func (w *Recorder) flag(c *Call, r *audit.Record, path []byte) {
	if c.Dropped > 0 {
		w.dropped.Add(uint64(c.Dropped)) //nolint:gosec // a count
		r.Flag(audit.FieldsDropped)
	}
	if c.Truncated {
		r.Flag(audit.Truncated)
	}
	if c.Duplicates {
		r.Flag(audit.DuplicateKeys)
	}
	if c.Replaced || !utf8.Valid(path) || !utf8.Valid(c.text[User]) || !utf8.Valid(c.text[Agent]) {
		r.Flag(audit.InvalidUTF8)
	}
}

// status reads three digits. nginx writes 000 when there was no status to send,
// and 009 for HTTP/0.9.
func (c *Call) status() int {
	text := c.text[Status]
	if text == nil {
		return parsers.NoStatus
	}
	status, ok := ParseCount(text)
	if !ok || len(text) != 3 && status != 0 {
		c.Dropped++
		return parsers.NoStatus
	}
	return int(status)
}

// request finds method and target, in the request line or on their own.
func (c *Call) request() (method, target []byte) {
	line := c.text[Request]
	if line == nil {
		return c.text[Method], c.text[Target]
	}
	method, target, ok := parsers.SplitRequest(line)
	switch {
	case ok:
		return method, target
	case c.text[Target] != nil || c.text[Method] != nil:
		return c.text[Method], c.text[Target]
	case line[0] == '/':
		return nil, line
	}
	c.Dropped++ // no request line: a TLS handshake sent to a plain port, say
	return nil, nil
}

// IsRequest tells whether the line said what was asked.
func (c *Call) IsRequest() bool {
	return c.text[Request] != nil || c.text[Target] != nil || c.text[Method] != nil
}

// actor fills actor.* with the client certificate that the server verified, or
// with the user that it names.
func (c *Call) actor(d *parsers.Draft) {
	name := c.text[ClientDN]
	if name != nil && c.Trusted && string(c.text[ClientVerify]) == "SUCCESS" {
		r := &d.Record
		r.SetString(audit.ActorType, "unknown")
		r.SetText(audit.ActorID, name)
		r.SetString(audit.ActorBasis, "mtls")
		r.SetBool(audit.ActorVerified, true)
		if user := c.text[User]; user != nil {
			r.SetText(audit.ActorName, user)
		}
		return
	}
	if name != nil {
		c.Dropped++
	}
	d.SetActor(c.text[User])
}

func (c *Call) client(d *parsers.Draft) {
	if from := c.text[Client]; from != nil {
		if !d.SetClient(from) {
			c.Dropped++
		}
		if c.text[Forwarded] != nil {
			c.Dropped++
		}
	} else if from := c.text[Forwarded]; from != nil && !d.SetClient(from) {
		c.Dropped++
	}
	d.SetUserAgent(c.text[Agent])
}

func (c *Call) correlation(r *audit.Record) {
	for _, f := range [...]struct {
		from Variable
		to   audit.Field
	}{{RequestID, audit.SessionRequestID}, {TraceID, audit.SessionTraceID}, {SpanID, audit.SessionSpanID}} {
		if id := c.text[f.from]; id != nil {
			if isIdentifier(id) {
				r.SetText(f.to, id)
			} else {
				c.Dropped++
			}
		}
	}
}

func (c *Call) volume(r *audit.Record) {
	c.count(r, audit.UsageRequestBytes, RequestBytes)
	c.count(r, audit.UsageInputTokens, InputTokens)
	c.count(r, audit.UsageOutputTokens, OutputTokens)
	if c.text[BodyBytes] != nil {
		c.count(r, audit.UsageResponseBytes, BodyBytes)
		if c.text[SentBytes] != nil {
			c.Dropped++
		}
	} else {
		c.count(r, audit.UsageResponseBytes, SentBytes)
	}
	if text := c.text[Seconds]; text != nil {
		if ms, ok := parseMillis(text); ok {
			r.SetInt(audit.UsageDurationMs, ms)
		} else {
			c.Dropped++
		}
		c.Drop(c.text[Millis])
		return
	}
	c.count(r, audit.UsageDurationMs, Millis)
}

func (c *Call) count(r *audit.Record, to audit.Field, from Variable) {
	if text := c.text[from]; text != nil {
		if n, ok := ParseCount(text); ok {
			r.SetInt(to, n)
		} else {
			c.Dropped++
		}
	}
}

// keyID keeps the name that the proxy has for the caller's key, else the
// fingerprint of the key. The key itself is not kept.
func (w *Recorder) keyID(c *Call, r *audit.Record) {
	name, key := c.text[KeyID], c.text[Key]
	switch {
	case name == nil:
	case parsers.IsRawKey(name):
		if key != nil {
			c.Dropped++
		}
		key = name
	case isIdentifier(name) && bytes.IndexByte(name, '/') < 0:
		r.SetText(audit.ActorKeyID, name)
		if key != nil {
			c.Dropped++
		}
		return
	default:
		c.Dropped++
	}
	if key == nil {
		return
	}
	id, ok := w.config.Fingerprint(w.keyText[:0], key)
	if w.keyText = id; ok {
		r.SetText(audit.ActorKeyID, id)
	} else {
		c.Dropped++
	}
}

// LastTried returns the last of the servers that were tried, which is the one
// that answered. nginx lists them with ", ", and " : " after an internal redirect.
func LastTried(list []byte) []byte {
	if at := bytes.LastIndexByte(list, ' '); at >= 0 {
		return list[at+1:]
	}
	return list
}

// isIdentifier accepts one word of at most 128 printable characters of ASCII.
func isIdentifier(text []byte) bool {
	for _, b := range text {
		if b <= ' ' || b >= 0x7f || b == '"' || b == '\\' {
			return false
		}
	}
	return len(text) > 0 && len(text) <= 128
}

// ParseCount reads a decimal number that an int64 holds.
func ParseCount(text []byte) (n int64, ok bool) {
	for _, b := range text {
		if b < '0' || b > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, len(text) > 0
}

// parseMillis reads seconds with exactly three decimals, as nginx writes all
// its durations: other numbers may have another unit.
func parseMillis(text []byte) (ms int64, ok bool) {
	at := len(text) - len(".000")
	if at < 1 || text[at] != '.' {
		return 0, false
	}
	seconds, ok1 := ParseCount(text[:at])
	thousandths, ok2 := ParseCount(text[at+1:])
	return seconds*1000 + thousandths, ok1 && ok2 && seconds < 1<<40
}
