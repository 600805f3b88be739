package fieldmap

import (
	"bytes"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// What a preset's Decide does with the values of its slots. Those that are
// objects or arrays are valid JSON.

// Walk goes over the members of an object or the elements of an array. Of any
// other text there are none.
type Walk struct {
	Key   []byte // of an object's member: inside the quotes, as written
	Value []byte // as it stands in the text

	data    []byte
	i       int
	closing byte
	done    bool
}

// Open returns a walk over valid JSON.
func Open(raw []byte) Walk {
	w := Walk{data: raw, done: true}
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		w.closing = raw[0] + 2 // '}' and ']' stand so in ASCII
		w.i, w.done = openBracket(raw, 1, w.closing)
	}
	return w
}

// Next goes to the next one. It reports false when there is none.
func (w *Walk) Next() bool {
	if w.done {
		return false
	}
	value := w.i
	if w.closing == '}' {
		var end int
		end, value, _ = scanKey(w.data, w.i)
		w.Key = w.data[w.i+1 : end]
	}
	end := skipValue(w.data, value, maxDepth)
	w.Value = w.data[value:end]
	w.i, w.done = nextElement(w.data, end, w.closing)
	return true
}

// Member returns what stands at a path of keys in valid JSON; nil: nothing. Of
// a key that stands twice it is the first.
func Member(raw []byte, path ...string) []byte {
	for _, key := range path {
		w := Open(raw)
		if w.closing != '}' {
			return nil
		}
		for raw = nil; w.Next(); {
			if string(w.Key) == key {
				raw = w.Value
				break
			}
		}
	}
	return raw
}

// Text returns the text of a scalar in valid JSON: a string decoded, a number,
// true and false as written; nil for all else, and for what is unknown (null,
// "", "-"). It is valid until the next line.
func (m *Map) Text(raw []byte) []byte {
	if len(raw) == 0 {
		return nil
	}
	v, _, ok := m.pass.nextScalar(raw, 0)
	if !ok {
		return nil
	}
	return v.text
}

// Integer returns a whole number in valid JSON, also one in a string.
func (m *Map) Integer(raw []byte) (n int64, ok bool) { return parseInt(m.Text(raw)) }

// AddContent adds the text in valid JSON to the content, as a value that is
// mapped to it.
func (m *Map) AddContent(c *parsers.Content, raw []byte) {
	line, cut := m.pass.data, m.pass.cut
	m.pass.data, m.pass.cut = raw, false
	m.pass.content(0, c, maxDepth)
	m.pass.data, m.pass.cut = line, cut
}

// AddPiece adds a string of valid JSON that is one piece of a text, as streams
// deliver it: the first begins a part, the others go on with it. What is no
// string is left out.
func (m *Map) AddPiece(c *parsers.Content, raw []byte, first bool) {
	if len(raw) < 3 || raw[0] != '"' {
		return
	}
	if first || c.Parts == 0 {
		m.pass.addPart(c)
	}
	var replaced bool
	c.Text, replaced = appendDecoded(c.Text, raw[1:len(raw)-1])
	m.pass.replaced = m.pass.replaced || replaced
}

// AddExtra adds a text to extra. An empty one is unknown and left out. The name
// is a word that no mapping has.
func (m *Map) AddExtra(name string, text []byte) {
	if len(text) == 0 {
		return
	}
	m.pass.extra = append(append(append(m.pass.extra, '"'), name...), '"', ':')
	m.pass.extra = append(audit.AppendText(m.pass.extra, text), ',')
}

// AddExtraBool adds true or false to extra.
func (m *Map) AddExtraBool(name string, value bool) {
	m.pass.extra = append(append(append(m.pass.extra, '"'), name...), '"', ':')
	m.pass.extra = append(strconv.AppendBool(m.pass.extra, value), ',')
}

// AddExtraNumber adds a number of valid JSON to extra, as it is written. What is
// none is left out.
func (m *Map) AddExtraNumber(name string, raw []byte) {
	if len(raw) == 0 || !isFinite(raw) {
		return
	}
	m.pass.extra = append(append(append(m.pass.extra, '"'), name...), '"', ':')
	m.pass.extra = append(append(m.pass.extra, raw...), ',')
}

// ExactModel says that the line itself names the exact version of its model,
// which is known under name in a catalog of that scheme ("bedrock"). It does
// nothing for records of other events than model.*, which have no basis.
func ExactModel(d *parsers.Draft, scheme string, name []byte) {
	r := &d.Record
	if !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) || !r.Has(audit.ModelName) {
		return
	}
	var id [128]byte
	r.SetText(audit.ModelID, append(append(append(id[:0], scheme...), ':'), name...))
	r.SetString(audit.ModelBasis, "log")
}

// SetReason sets the reason, unless it is free text.
func (m *Map) SetReason(r *audit.Record, code []byte) {
	if len(code) > 0 && isCode(code) {
		r.SetText(audit.Reason, code)
	}
}

// Line returns the line in hand as the valid JSON it is; nil when only its head is
// known.
func (m *Map) Line() []byte {
	if m.pass.cut {
		return nil
	}
	return m.pass.data[skipSpace(m.pass.data, 0):]
}

// Status returns the line's HTTP status, or parsers.NoStatus.
func (m *Map) Status() int { return m.pass.status }

// SetStatus replaces it.
func (m *Map) SetStatus(status int) { m.pass.status = status }

// Target returns the request target that the line names; nil: none.
func (m *Map) Target() []byte { return m.pass.target }

// SetRequest replaces method and target of the request; nil: unknown. The
// slices have to be valid until the line's record is complete.
func (m *Map) SetRequest(method, target []byte) { m.pass.method, m.pass.target = method, target }
