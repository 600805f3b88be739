package triton

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/rawjson"
)

// isTrace accepts the lines of a trace file: one JSON array over the life of the file,
// of which a line has some elements, and the brackets and commas around them.
func isTrace(b []byte) bool {
	return bytes.HasPrefix(b, []byte(`[{"id":`)) || bytes.HasPrefix(b, []byte(`,{"id":`)) || bytes.HasPrefix(b, []byte(`{"id":`)) ||
		string(b) == "[" || string(b) == "]" || string(b) == ","
}

// traced is one trace: a request to a model, or a model's step of an ensemble.
type traced struct {
	id, parent          int64
	model, request      rawjson.Value
	version             int64
	begin, end          int64 // monotonic, ns; 0: not traced
	hasParent, hasModel bool
	hasVersion, dropped bool
}

// trace reads a line of a trace file. Triton writes all that it traced of a request at
// once, so what belongs together stands on one line.
func (p *Parser) trace(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	b := bytes.TrimLeft(line.Data, "[,")
	start := len(dst)
	var t traced
	open := false
	for len(b) > 0 && b[0] == '{' {
		v, rest, ok := rawjson.Cut(b)
		if !ok {
			return dst[:start], unparsed("not a whole JSON object")
		}
		b = bytes.TrimLeft(rest, ",")
		next, ok := readTrace(v)
		if !ok {
			return dst[:start], unparsed("a trace without id")
		}
		if next.hasModel {
			if open {
				dst = p.traceDraft(dst, start, &t)
			}
			t, open = next, true
			continue
		}
		if open && next.id == t.id {
			t.begin, t.end = max(t.begin, next.begin), max(t.end, next.end)
			t.dropped = t.dropped || next.dropped
		}
	}
	if rest := bytes.Trim(b, "], "); len(rest) > 0 {
		return dst[:start], unparsed("something behind the traces")
	}
	if open {
		dst = p.traceDraft(dst, start, &t)
	}
	if len(dst) == start {
		return dst, ignored(ruleTrace)
	}
	return dst, recorded()
}

// readTrace reads one element of the array.
func readTrace(v rawjson.Value) (t traced, ok bool) {
	w, ok := rawjson.Into(v.Raw)
	if !ok {
		return t, false
	}
	hasID := false
	for w.Next() {
		switch string(w.Key) {
		case "id":
			t.id, hasID = w.Value.Int()
		case "parent_id":
			t.parent, t.hasParent = w.Value.Int()
		case "model_name":
			t.model, t.hasModel = w.Value, w.Value.Kind == rawjson.String
		case "model_version":
			t.version, t.hasVersion = w.Value.Int()
		case "request_id":
			t.request = w.Value
		case "timestamps":
			t.timestamps(w.Value)
		default: // activity and tensor: contents
			t.dropped = true
		}
	}
	return t, hasID && w.Done()
}

// timestamps reads [{"name":"REQUEST_START","ns":2356425054785863}].
func (t *traced) timestamps(v rawjson.Value) {
	list, ok := rawjson.Into(v.Raw)
	for ok && list.Next() {
		var name rawjson.Value
		var ns int64
		w, isObject := rawjson.Into(list.Value.Raw)
		for isObject && w.Next() {
			switch string(w.Key) {
			case "name":
				name = w.Value
			case "ns":
				ns, _ = w.Value.Int()
			}
		}
		switch {
		case name.Is("REQUEST_START"):
			t.begin = ns
		case name.Is("REQUEST_END"):
			t.end = ns
		}
	}
}

// traceDraft appends the record of a trace. Its times count from the start of the host
// and are no times of day. A trace has no status.
func (p *Parser) traceDraft(dst []parsers.Draft, start int, t *traced) []parsers.Draft {
	dst, d := parsers.Next(dst)
	d.Sub = len(dst) - 1 - start
	r := &d.Record
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, "predict")
	r.SetString(audit.Outcome, outcomeUnknown)
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	p.text = t.model.AppendText(p.text[:0])
	r.SetText(audit.ModelName, p.text)
	var buffer [96]byte
	if t.hasVersion && t.version >= 0 {
		r.SetText(audit.ModelVersion, strconv.AppendInt(buffer[:0], t.version, 10))
	}
	if t.request.Kind == rawjson.String {
		p.text = t.request.AppendText(p.text[:0])
		r.SetText(audit.SessionRequestID, p.text)
	}
	if t.begin > 0 && t.end >= t.begin {
		r.SetInt(audit.UsageDurationMs, (t.end-t.begin+5e5)/1e6)
	}
	extra := strconv.AppendInt(append(buffer[:0], `{"trace_id":`...), t.id, 10)
	if t.hasParent {
		extra = strconv.AppendInt(append(extra, `,"parent_id":`...), t.parent, 10)
	}
	r.SetJSON(audit.Extra, append(extra, '}'))
	if t.dropped {
		r.Flag(audit.FieldsDropped)
	}
	p.describe(d, nil)
	return dst
}
