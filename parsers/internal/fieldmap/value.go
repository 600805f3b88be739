package fieldmap

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

type scalarKind uint8

const (
	isString scalarKind = iota
	isNumber
	isBool
	isUntyped // of formats that tell no kinds apart
)

// scalar is a string (text is its inside, as written), a number, a boolean, or
// a text of a format that does not tell them apart.
type scalar struct {
	kind  scalarKind
	text  []byte
	style style
}

// decode returns the text of a string's inside, valid until the next line.
func (p *pass) decode(inside []byte) []byte {
	at := len(p.scratch)
	var replaced bool
	p.scratch, replaced = appendDecoded(p.scratch, inside)
	p.replaced = p.replaced || replaced
	return p.scratch[at:len(p.scratch):len(p.scratch)]
}

// takeScalar uses a value for all that it is mapped to.
func (p *pass) takeScalar(n *node, v scalar) {
	if (v.kind == isString || v.kind == isUntyped) && (v.style.escaped || v.style.wide && !utf8.Valid(v.text)) {
		v.text = p.decode(v.text)
	}
	if len(v.text) == 0 || (v.kind == isString || v.kind == isUntyped) && string(v.text) == "-" {
		return // how logs write that something is unknown
	}
	taken := false
	for i := range n.targets {
		t := &n.targets[i]
		switch {
		case !p.wants(t):
			taken = true
		case p.take(t, v):
			p.used(t)
			taken = true
			if t.field != audit.Time || t.purpose != toField {
				p.filled++
			}
		}
	}
	if !taken {
		p.dropped++
	}
}

// take uses a value for one target. It reports false when the target does not
// take such a value.
func (p *pass) take(t *target, v scalar) bool {
	if c := p.contentOf(t.purpose); c != nil {
		p.begun(t, c)
		return p.takeText(c, v)
	}
	if t.values != nil {
		word, known := t.values[string(v.text)]
		if !known {
			return false
		}
		v = scalar{kind: isUntyped, text: word}
	}
	switch t.purpose {
	case toExtra:
		if v.kind == isNumber && !isFinite(v.text) {
			return false
		}
		p.extra = appendMember(p.extra, t.member, v)
		return true
	case toData:
		number := v.kind == isNumber || v.kind == isUntyped && t.integer
		if t.integer != (number && isWhole(v.text)) || v.kind == isBool {
			return false
		}
		if number {
			v.kind = isNumber
		}
		p.item = appendMember(p.item, t.member, v)
		return true
	case toSlot:
		p.slots[t.slot] = v.text
		p.met = append(p.met, t.slot)
		return true
	default:
		return p.takeField(t, v)
	}
}

func (p *pass) takeText(c *parsers.Content, v scalar) bool {
	if v.kind != isString && v.kind != isUntyped {
		return false
	}
	p.addPart(c)
	c.Text = append(c.Text, v.text...)
	return true
}

// appendMember appends a member of an object and a comma.
func appendMember(dst []byte, member string, v scalar) []byte {
	dst = append(dst, member...)
	if v.kind == isString || v.kind == isUntyped {
		dst = audit.AppendText(dst, v.text)
	} else {
		dst = append(dst, v.text...)
	}
	return append(dst, ',')
}

// takeField sets a field of the record, or keeps the value for [Map.complete].
func (p *pass) takeField(t *target, v scalar) bool {
	r := &p.draft.Record
	switch t.field {
	case audit.APIPath:
		p.target = v.text
		return true
	case audit.APIMethod:
		if !parsers.IsMethod(v.text) {
			return false
		}
		p.method = v.text
		return true
	case audit.APIStatus:
		status, ok := parseInt(v.text)
		if !ok || status < 0 || status > 999 {
			return false
		}
		p.status = int(status)
		return true
	case audit.ClientIP:
		return p.draft.SetClient(v.text)
	case audit.ClientUserAgent:
		p.userAgent = v.text
		return true
	case audit.UsageDurationMs:
		ms, ok := parseDuration(v.text, t.unit)
		if ok {
			r.SetInt(t.field, ms)
		}
		return ok
	case audit.Event:
		if !fromLines(v.text) {
			return false
		}
	case audit.Outcome:
		if word := outcomeWord(v.text); word != "" {
			r.SetString(t.field, word)
			return true
		}
	case audit.Reason:
		if !isCode(v.text) {
			return false
		}
	case audit.ActorKeyID:
		if parsers.IsRawKey(v.text) {
			at := len(p.scratch)
			id, ok := p.config.Fingerprint(p.scratch, v.text)
			p.scratch = id
			r.SetText(t.field, id[at:])
			return ok
		}
	default: // by kind
	}
	return p.takeKind(t, v)
}

// takeKind converts a value to the kind of its field.
func (p *pass) takeKind(t *target, v scalar) bool {
	r := &p.draft.Record
	switch t.def.Kind {
	case audit.KindText:
		r.SetText(t.field, v.text)
		return true
	case audit.KindEnum:
		for _, value := range t.def.Values {
			if value == string(v.text) {
				r.SetString(t.field, value)
				return true
			}
		}
		return false
	case audit.KindTime:
		return v.kind != isBool && p.setTime(t, v.text)
	case audit.KindInt:
		n, ok := parseInt(v.text)
		if !ok || n < 0 && t.unit != 0 {
			return false
		}
		r.SetInt(t.field, n)
		return true
	case audit.KindNumber:
		if v.kind == isBool || !isFinite(v.text) {
			return false
		}
		r.SetJSON(t.field, v.text)
		return true
	case audit.KindBool:
		truth := string(v.text) == "true"
		if !truth && string(v.text) != "false" {
			return false
		}
		r.SetBool(t.field, truth)
		return true
	case audit.KindStrings:
		at := len(p.scratch)
		p.scratch = append(p.scratch, '[')
		p.scratch = append(audit.AppendText(p.scratch, v.text), ']')
		r.SetJSON(t.field, p.scratch[at:])
		return true
	default:
		return false // an object is wanted
	}
}

// fromLines tells whether a log line may name this event. The agent's own
// events, alerts and those of the store are not for others to report.
func fromLines(event []byte) bool {
	if _, known := audit.EventAction(string(event)); !known {
		return false
	}
	for _, own := range [...]string{"agent.", "store.", "alert.", "contain."} {
		if bytes.HasPrefix(event, []byte(own)) {
			return false
		}
	}
	return true
}

// outcomeWord translates words that logs commonly use for an outcome; "" for others.
func outcomeWord(text []byte) string {
	switch string(text) {
	case "ok", "succeeded":
		return "success"
	case "failure", "error":
		return "failed"
	case "canceled":
		return "cancelled"
	default:
		return ""
	}
}

// isCode keeps free text out of reason, which is a code of low cardinality.
func isCode(text []byte) bool {
	if len(text) > 64 {
		return false
	}
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// parseInt reads an integer, also one written with a fraction of zeros.
func parseInt(text []byte) (int64, bool) {
	if at := bytes.IndexByte(text, '.'); at > 0 && at+1 < len(text) {
		if len(bytes.Trim(text[at+1:], "0")) > 0 {
			return 0, false
		}
		text = text[:at]
	}
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

func isWhole(text []byte) bool {
	_, ok := parseInt(text)
	return ok && bytes.IndexByte(text, '.') < 0
}

// maxNumber bounds the text of a number that is kept as it is written.
const maxNumber = 40

// parseFloat reads a number of JSON that a float64 can hold.
func parseFloat(text []byte) (float64, bool) {
	if len(text) > maxNumber || text[0] != '-' && (text[0] < '0' || text[0] > '9') || scanNumber(text, 0) != len(text) {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(text), 64)
	return value, err == nil
}

func isFinite(text []byte) bool {
	_, ok := parseFloat(text)
	return ok
}

// parseDuration reads a duration in units of so many nanoseconds and rounds it
// to milliseconds.
func parseDuration(text []byte, unit int64) (int64, bool) {
	value, ok := parseFloat(text)
	ms := math.Round(value * float64(unit) / 1e6)
	if !ok || ms < 0 || ms > 1<<53 {
		return 0, false
	}
	return int64(ms), true
}

func appendIndex(dst []byte, index int) []byte { return strconv.AppendInt(dst, int64(index), 10) }
