package archive

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

const (
	// maxNesting is how deep the values of a record may be nested.
	maxNesting = 512
	// maxNames is how many names an object may have that is looked into.
	maxNames = 256
)

var (
	errNoJSON = errors.New("it is not one JSON object")
	errUTF8   = errors.New("it is not UTF-8")
)

// object looks through JSON objects, one after the other, and keeps its memory in
// between. It is strict where a lenient reader and a strict one would see two
// different records: what follows the object, a name that stands twice, an escape
// that is none. It is not safe for concurrent use.
type object struct {
	text  []byte
	names [maxNames]nameAt
	n     int
	seen  [maxNames / 64 * 4]uint64 // bits by a hash of the names, so that few are compared
}

// nameAt is where a name stands, without its quotes.
type nameAt struct{ from, to int }

// walk checks that text is one object of RFC 8259 in UTF-8 in which no name stands
// twice, and calls take for each of its members: the name, and the value as it
// stands there. Objects within are checked for their grammar alone. What take was
// given before an error means nothing.
func (o *object) walk(text []byte, take func(name, value []byte)) error {
	err := o.members(text, take)
	o.text = nil // a long line is not to be kept for as long as the object is
	return err
}

func (o *object) members(text []byte, take func(name, value []byte)) error {
	if !utf8.Valid(text) {
		return errUTF8
	}
	o.text, o.n = text, 0
	clear(o.seen[:])
	if len(text) == 0 || text[0] != '{' {
		return errNoJSON
	}
	i := space(text, 1)
	if i < len(text) && text[i] == '}' {
		return o.end(i + 1)
	}
	for {
		from := i + 1
		if i >= len(text) || text[i] != '"' {
			return o.fault(i)
		}
		if i = quoted(text, from); i < 0 {
			return o.fault(from)
		}
		name, err := o.name(from, i-1)
		if err != nil {
			return err
		}
		if i = space(text, i); i >= len(text) || text[i] != ':' {
			return o.fault(i)
		}
		value := space(text, i+1)
		if i = skipValue(text, value); i < 0 {
			return o.fault(value)
		}
		take(name, text[value:i])
		if i = space(text, i); i < len(text) && text[i] == '}' {
			return o.end(i + 1)
		}
		if i >= len(text) || text[i] != ',' {
			return o.fault(i)
		}
		i = space(text, i+1)
	}
}

func (o *object) end(at int) error {
	if at != len(o.text) {
		return fmt.Errorf("%w: something follows at byte %d", errNoJSON, at)
	}
	return nil
}

func (o *object) fault(at int) error {
	return fmt.Errorf("%w: the value or name at byte %d is none, or does not end", errNoJSON, at)
}

// name takes a name, unless it stood before. Names are compared as what they
// mean: escapes are another way to write one.
func (o *object) name(from, to int) ([]byte, error) {
	name, err := o.decoded(nameAt{from, to})
	if err != nil {
		return nil, err
	}
	if o.n == maxNames {
		return nil, fmt.Errorf("it has more than %d names", maxNames)
	}
	hash := uint64(len(name))
	for _, c := range name[:min(len(name), 8)] {
		hash = (hash ^ uint64(c)) * 0x9e3779b97f4a7c15
	}
	word, bit := hash>>32%uint64(len(o.seen)), uint64(1)<<(hash>>58)
	if o.seen[word]&bit != 0 {
		for _, before := range o.names[:o.n] {
			if other, _ := o.decoded(before); string(other) == string(name) { // it was decoded before
				return nil, fmt.Errorf("the name %q stands twice", name[:min(len(name), maxSpanName)])
			}
		}
	}
	o.seen[word] |= bit
	o.names[o.n] = nameAt{from, to}
	o.n++
	return name, nil
}

func (o *object) decoded(at nameAt) ([]byte, error) {
	raw := o.text[at.from:at.to]
	for _, c := range raw {
		if c == '\\' {
			name, ok := decode(o.text[at.from-1 : at.to+1])
			if !ok {
				return nil, errNoJSON
			}
			return name, nil
		}
	}
	return raw, nil
}

// decode returns what a JSON string means, valid as long as value; ok is false for
// another value.
func decode(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if inside := value[1 : len(value)-1]; plain(inside) {
		return inside, true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return []byte(s), err == nil
}

// decodeText is decode for a string that is kept.
func decodeText(value []byte) (s string, ok bool) {
	text, ok := decode(value)
	return string(text), ok
}

// plain tells whether the inside of a JSON string means itself.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decodeCount returns a count: decimal digits, below 2^63.
func decodeCount(value []byte) (n uint64, ok bool) {
	if len(value) == 0 || len(value) > 19 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n < 1<<63
}

// skipValue returns the index behind the value at i, -1 when there is none.
func skipValue(text []byte, i int) int {
	var objects [maxNesting / 64]uint64 // one bit a level: whether it is an object
	depth := 0
	for {
		// A value.
		if i >= len(text) {
			return -1
		}
		opened := false
		switch c := text[i]; {
		case c == '"':
			i = quoted(text, i+1)
		case c == '{' || c == '[':
			if depth == maxNesting {
				return -1
			}
			word, bit := depth/64, uint64(1)<<(depth%64)
			objects[word] &^= bit
			if c == '{' {
				objects[word] |= bit
			}
			depth++
			i, opened = space(text, i+1), true
		case c == '-' || c >= '0' && c <= '9':
			i = number(text, i)
		default:
			i = literal(text, i)
		}
		if i < 0 {
			return -1
		}
		// What may follow, up to the next value.
		for {
			if depth == 0 {
				return i
			}
			if !opened {
				i = space(text, i)
			}
			if i >= len(text) {
				return -1
			}
			inObject := objects[(depth-1)/64]>>((depth-1)%64)&1 != 0
			if c := text[i]; c == '}' && inObject || c == ']' && !inObject {
				i, depth, opened = i+1, depth-1, false
				continue
			}
			if !opened {
				if text[i] != ',' {
					return -1
				}
				i = space(text, i+1)
			}
			if inObject {
				if i >= len(text) || text[i] != '"' {
					return -1
				}
				if i = quoted(text, i+1); i < 0 {
					return -1
				}
				if i = space(text, i); i >= len(text) || text[i] != ':' {
					return -1
				}
				i = space(text, i+1)
			}
			break
		}
	}
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// quoted returns the index behind the quote that ends a string whose first byte is
// at i, -1 when it has none, or holds a control character or an escape that is none.
func quoted(text []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for {
		// Eight bytes at a time up to a quote, a backslash or a control character. The
		// lowest bit that is set is right: borrows only go upwards.
		for i+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[i:])
			quote, escape := w^ones*'"', w^ones*'\\'
			hit := ((quote-ones)&^quote | (escape-ones)&^escape | (w-ones*' ')&^w) & tops
			if hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i >= len(text) {
			return -1
		}
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c != '\\':
			i++
			continue
		case i+1 >= len(text):
			return -1
		}
		switch text[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if i+6 > len(text) || !isHex(text[i+2]) || !isHex(text[i+3]) || !isHex(text[i+4]) || !isHex(text[i+5]) {
				return -1
			}
			i += 6
		default:
			return -1
		}
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func digits(text []byte, i int) int {
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return i
}

// number returns the index behind the number at i (RFC 8259, section 6).
func number(text []byte, i int) int {
	if text[i] == '-' {
		i++
	}
	from := i
	if i = digits(text, i); i == from || i > from+1 && text[from] == '0' {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		from = i + 1
		if i = digits(text, from); i == from {
			return -1
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		from = i
		if i = digits(text, from); i == from {
			return -1
		}
	}
	return i
}

func literal(text []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if end := i + len(word); end <= len(text) && string(text[i:end]) == word {
			return end
		}
	}
	return -1
}
