package archive

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// walker looks through record lines as [object.walk] does, and is faster where a line
// is built like one of the last: the same names in the same places, and other strings
// and numbers. What such a line has in common with the other one needs no second look,
// because the other one was found to be good; where they differ, the value is looked
// at. All other lines are walked. It is not safe for concurrent use.
type walker struct {
	object object
	kinds  [2]likeness // the last one that fitted stands first
}

const (
	// maxLike is the longest line that others are compared with.
	maxLike = 64 << 10
	// maxValues is how many values it may have.
	maxValues = 512
)

// walk is [object.walk].
func (l *walker) walk(text []byte, take func(name, value []byte)) error {
	for i := range l.kinds {
		if l.kinds[i].fits(text) {
			l.kinds[0], l.kinds[i] = l.kinds[i], l.kinds[0]
			l.kinds[0].members(text, take)
			return nil
		}
	}
	err := l.object.walk(text, take)
	if err == nil {
		l.kinds[0], l.kinds[1] = l.kinds[1], l.kinds[0]
		l.kinds[0].learn(text)
	}
	return err
}

// likeness is a line of good form, and where its strings, numbers and literals stand.
type likeness struct {
	text   []byte // empty: there is none
	values []nameAt
	next   []nameAt // those of the line in hand
	names  []memberAt
}

// memberAt is a member of the object: its name, and where its value starts and ends.
type memberAt struct {
	name     []byte
	from, to place
}

// place is so many bytes behind the value with that number, counted from 1; with 0,
// behind the start of the line. Between two values all lines of a kind are the same.
type place struct{ value, behind int }

func (p place) in(values []nameAt) int {
	if p.value == 0 {
		return p.behind
	}
	return values[p.value-1].to + p.behind
}

// fits tells whether a line is of good form because it differs from the other one in
// nothing but values, which are of good form. Then it takes the other one's place.
func (k *likeness) fits(text []byte) bool {
	if len(k.text) == 0 || len(text) > maxLike {
		return false
	}
	k.next = k.next[:0]
	i, j := 0, 0 // as far as they were compared: text and k.text
	for {
		same := common(text[i:], k.text[j:])
		i, j = i+same, j+same
		for len(k.next) < len(k.values) && k.values[len(k.next)].to < j {
			v := k.values[len(k.next)]
			k.next = append(k.next, nameAt{v.from + i - j, v.to + i - j})
		}
		if i == len(text) && j == len(k.text) {
			break
		}
		// A number that goes on in one of the two differs behind its end.
		if len(k.next) == len(k.values) || k.values[len(k.next)].from > j {
			return false
		}
		v := k.values[len(k.next)]
		from := v.from + i - j
		end := scalar(text, from)
		if end < 0 || !utf8.Valid(text[from:end]) {
			return false
		}
		k.next = append(k.next, nameAt{from, end})
		i, j = end, v.to
	}
	k.text = append(k.text[:0], text...)
	k.values, k.next = k.next, k.values
	return true
}

// members calls take for each member of the line that fitted.
func (k *likeness) members(text []byte, take func(name, value []byte)) {
	for i := range k.names {
		m := &k.names[i]
		take(m.name, text[m.from.in(k.values):m.to.in(k.values)])
	}
}

// learn takes a line of good form as the one that others are compared with, unless it
// is no line as an agent writes it.
func (k *likeness) learn(text []byte) {
	k.text, k.values, k.names = k.text[:0], k.values[:0], k.names[:0]
	if len(text) > maxLike {
		return
	}
	here := func(at int) place {
		if n := len(k.values); n > 0 {
			return place{n, at - k.values[n-1].to}
		}
		return place{0, at}
	}
	depth := 0
	for i := 0; i < len(text); {
		switch text[i] {
		case '{', '[':
			depth++
			i++
		case '}', ']', ',':
			if depth == 1 && len(k.names) > 0 {
				k.names[len(k.names)-1].to = here(i)
			}
			if text[i] != ',' {
				depth--
			}
			i++
		case ' ', '\t', '\r', '\n':
			return
		case '"':
			end := quoted(text, i+1)
			if text[end] != ':' {
				k.values = append(k.values, nameAt{i, end})
				i = end
				break
			}
			if depth == 1 {
				if bytes.IndexByte(text[i:end], '\\') >= 0 {
					return
				}
				k.names = append(k.names, memberAt{name: append([]byte(nil), text[i+1:end-1]...), from: here(end + 1)})
			}
			i = end + 1
		default:
			end := scalar(text, i)
			k.values = append(k.values, nameAt{i, end})
			i = end
		}
		if len(k.values) > maxValues {
			return
		}
	}
	k.text = append(k.text, text...)
}

// scalar returns the index behind the string, number or literal at i, -1 when there is
// none.
func scalar(text []byte, i int) int {
	if i >= len(text) {
		return -1
	}
	switch c := text[i]; {
	case c == '"':
		return quoted(text, i+1)
	case c == '-' || c >= '0' && c <= '9':
		return number(text, i)
	default:
		return literal(text, i)
	}
}

// common returns how many bytes two texts have in common at their start.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if differ := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); differ != 0 {
			return i + bits.TrailingZeros64(differ)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
