package fieldmap

import (
	"strings"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Key is a source field of a flat line. The zero Key is one that nothing is
// mapped from.
type Key struct{ node *node }

// Mapped tells whether a record takes something from the key.
func (k Key) Mapped() bool { return k.node != nil }

// Key finds a source field of a flat map.
func (m *Map) Key(name []byte) Key { return Key{node: m.root.find(name)} }

// Begin readies the map for a flat line; Take hands over what stands in it, End
// completes the record.
func (m *Map) Begin(dst []parsers.Draft, line *parsers.Line) []parsers.Draft {
	dst, d := parsers.Next(dst)
	m.pass.begin(line, d)
	if line.Cut {
		d.Record.Flag(audit.Truncated)
	}
	return dst
}

// Take uses the value of a source field. Of a field that stands twice the first
// value counts, and the record says so. The value must stay valid until End.
func (m *Map) Take(k Key, value []byte) {
	s := &m.pass
	switch {
	case k.node == nil:
		s.dropped++
	case !s.first(k.node):
		s.duplicate = true
	default:
		if !utf8.Valid(value) {
			value = s.valid(value)
		}
		s.takeScalar(k.node, scalar{kind: isUntyped, text: value})
	}
}

// End completes the record of the line that Begin began.
func (m *Map) End(dst []parsers.Draft) ([]parsers.Draft, parsers.Outcome) { return m.end(dst) }

// valid returns the text with U+FFFD for what is no UTF-8.
func (p *pass) valid(text []byte) []byte {
	at := len(p.scratch)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		p.scratch = utf8.AppendRune(p.scratch, r)
		text = text[size:]
	}
	p.replaced = true
	return p.scratch[at:len(p.scratch):len(p.scratch)]
}

// FlatName returns the key that a path means in a flat line.
func FlatName(path []string) string { return strings.Join(path, ".") }
