package vllm

import (
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/rawjson"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// basis tells what is known of a line's time.
type basis uint8

const (
	zoneAssumed basis = iota // the line has a time without a zone
	zoneLogged               // and with its zone
	noTime                   // none
	bases                    // how many
)

// configured reads a line in the format of a logging configuration
// (VLLM_LOGGING_CONFIG_PATH, --log-config): a JSON object, or a text with time, level
// and logger in an order of its own. ok is false for a line without such a header.
func (p *Parser) configured(dst []parsers.Draft, line *parsers.Line, b []byte) (out []parsers.Draft, outcome parsers.Outcome, ok bool) {
	if len(b) == 0 {
		return dst, outcome, false
	}
	var when stamp.Time
	var message []byte
	if b[0] == '{' {
		if message, when, ok = p.readJSON(b); !ok {
			return dst, outcome, false
		}
	} else {
		var h uvicorn.Header
		if h, message = uvicorn.CutHeader(b, p.zone); !h.Found || h.When.IsZero() {
			return dst, outcome, false
		}
		when = h.When
	}
	if call, isAccess := uvicorn.SplitAccess(message); isAccess {
		dst, outcome = p.access(dst, line, when, &call)
		return dst, outcome, true
	}
	if rule, noise := uvicorn.Noise(message); noise {
		return dst, ignored(rule), true
	}
	at := line.Seen
	switch {
	case when.IsZero():
		p.basis = noTime
	case when.Zoned():
		p.basis, at = zoneLogged, when.Instant()
	default:
		at = when.Instant()
	}
	dst, outcome = p.engine(dst, line, at, message)
	return dst, outcome, true
}

// readJSON takes message and time out of an object of a JSON formatter.
func (p *Parser) readJSON(b []byte) (message []byte, when stamp.Time, ok bool) {
	w, ok := rawjson.Into(b)
	if !ok {
		return nil, when, false
	}
	var text, clock rawjson.Value
	for w.Next() {
		if w.Value.Kind != rawjson.String {
			continue
		}
		switch string(w.Key) {
		case "message", "msg":
			text = w.Value
		case "asctime", "timestamp", "@timestamp", "time", "ts":
			clock = w.Value
		}
	}
	if !w.Done() || text.Kind != rawjson.String {
		return nil, when, false
	}
	p.decoded = text.AppendText(p.decoded[:0])
	if clock.Kind == rawjson.String {
		if t, n, ok := stamp.Read(clock.Raw, p.zone); ok && n == len(clock.Raw) {
			when = t
		}
	}
	return p.decoded, when, true
}

// setTime fills the time of a record from a count of Unix time and what is known of it.
func (p *Parser) setTime(d *parsers.Draft, seconds, nanoseconds int64, known basis) {
	if known == noTime {
		return
	}
	when := time.Unix(seconds, nanoseconds).UTC()
	if known == zoneAssumed {
		when = when.In(p.zone)
	}
	if stamp.Fits(when) { // the zone may move it out of the years
		d.SetTime(when, known == zoneLogged)
	}
}
