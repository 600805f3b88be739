package kserve

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// Rules under which lines of the model server are ignored.
const (
	ruleServer = "server_log" // what it says of itself
	ruleTiming = "timing"     // how long the parts of a call took: its access line follows
)

// text reads a line of the model server:
//
//	2026-06-01 12:00:00.123 uvicorn.access INFO:     10.1.2.3:40292 1 - "POST /v1/models/iris%3Apredict HTTP/1.1" 200 OK
//	2026-06-01 12:00:00.123 1 kserve INFO [model_server.py:start():123] Registering model: iris
//	2026-06-01 12:00:00.121 kserve.trace requestId: 5f1b, preprocess_ms: 0.01, explain_ms: 0, predict_ms: 2.1, postprocess_ms: 0.01
//	[I 210601 12:00:00 web:2239] 200 POST /v1/models/iris:predict (10.1.2.3) 3.12ms    before 0.10
func (p *Parser) text(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	if tornado, ok := bytes.CutPrefix(line.Data, []byte("[")); ok {
		return p.tornado(dst, line, tornado)
	}
	h, message := uvicorn.CutHeader(line.Data, p.config.Zone())
	if call, ok := uvicorn.SplitAccess(message); ok && h.Found {
		route := call.Route()
		if rule, noise := call.Noise(&route); noise {
			return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
		}
		dst, d := p.served(dst, line)
		h.When.Set(d)
		call.Fill(d, &route)
		d.SetProvider(p.config.Provider)
		return dst, parsers.Outcome{Verdict: parsers.Recorded}
	}
	if rule, noise := uvicorn.Noise(message); noise && rule != traceback.Rule {
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
	}
	switch {
	case h.When.IsZero():
	case bytes.HasPrefix(message, []byte("kserve.trace requestId: ")):
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleTiming}
	case bytes.HasPrefix(message, []byte("kserve INFO [")), bytes.HasPrefix(message, []byte("root INFO [")):
		if bytes.Contains(message, []byte(":timing():")) || bytes.Contains(message, []byte("[timing():")) {
			return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleTiming}
		}
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleServer}
	}
	return dst, parsers.Outcome{Rule: "neither an event of KServe's logger nor a line of its model server"}
}

// tornado reads what follows the bracket of "[I 210601 12:00:00 web:2239] 200 POST …",
// the access line of the web server that KFServing used.
func (p *Parser) tornado(dst []parsers.Draft, line *parsers.Line, b []byte) ([]parsers.Draft, parsers.Outcome) {
	const stampLength = len("I 210601 12:00:00 ")
	no := parsers.Outcome{Rule: "neither an event of KServe's logger nor a line of its model server"}
	place, message, ok := bytes.Cut(b, []byte("] "))
	if !ok || len(place) <= stampLength {
		return dst, no
	}
	when, ok := p.readTornado(place[len("I "):])
	if !ok {
		return dst, no
	}
	if !bytes.HasPrefix(place[stampLength:], []byte("web:")) {
		if place[0] == 'I' {
			return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: ruleServer}
		}
		return dst, no
	}
	status, rest, ok1 := bytes.Cut(message, []byte(" "))
	method, rest, ok2 := bytes.Cut(rest, []byte(" "))
	open, shut := bytes.LastIndex(rest, []byte(" (")), bytes.LastIndex(rest, []byte(") "))
	took, ok3 := bytes.CutSuffix(rest[max(shut+2, 0):], []byte("ms"))
	code, ok4 := parsers.Status(status)
	if !ok1 || !ok2 || !ok3 || !ok4 || open < 1 || shut < open || !parsers.IsMethod(method) {
		return dst, no
	}
	route := parsers.Classify(method, rest[:open])
	if rule, noise := route.Noise(code); noise {
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
	}
	dst, d := p.served(dst, line)
	d.SetTime(when, false)
	d.SetRequest(method, &route)
	d.SetProvider(p.config.Provider)
	d.SetStatus(code)
	d.SetActor(nil)
	if !d.SetClient(rest[open+2 : shut]) {
		d.Record.Flag(audit.FieldsDropped)
	}
	if ms, ok := parsers.Milliseconds(took); ok {
		d.Record.SetInt(audit.UsageDurationMs, ms)
	}
	return dst, parsers.Outcome{Verdict: parsers.Recorded}
}

// readTornado reads "210601 12:00:00 ".
func (p *Parser) readTornado(b []byte) (time.Time, bool) {
	if b[6] != ' ' || b[9] != ':' || b[12] != ':' || b[15] != ' ' {
		return time.Time{}, false
	}
	year, ok1 := parsers.TwoDigits(b)
	month, ok2 := parsers.TwoDigits(b[2:])
	day, ok3 := parsers.TwoDigits(b[4:])
	if !ok1 || !ok2 || !ok3 || !parsers.ValidDate(2000+year, month, day) {
		return time.Time{}, false
	}
	var full [len("2006-01-02 15:04:05")]byte
	text := append(append(append(append(append(append(full[:0], "20"...), b[:2]...), '-'), b[2:4]...), '-'), b[4:6]...)
	when, _, ok := stamp.ReadLocal(append(append(text, ' '), b[7:15]...), p.config.Zone())
	return when, ok
}

// served begins a record of the model server.
func (p *Parser) served(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, *parsers.Draft) {
	dst, d := parsers.Next(dst)
	d.Record.SetString(audit.APIServer, "kserve")
	if line.Cut {
		d.Record.Flag(audit.Truncated)
	}
	return dst, d
}
