// Package rawjson walks through JSON that a program printed into its log, one
// object or array at a time and without taking memory. It is for parsers that look
// for a few members by name; what they do not look for is stepped over.
//
// The promise: a walk that ends with Done went over a text whose strings, brackets
// and separators are those of RFC 8259. Numbers are checked only where they are read.
package rawjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers"
)

// Kind is what a value is.
type Kind uint8

// The kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Value is one value as it stands in the text. Raw is part of the text: of a
// string what stands between the quotes, escapes and all.
type Value struct {
	Kind Kind
	Raw  []byte
}

// Walk goes through the members of an object or the elements of an array.
type Walk struct {
	Key   []byte // of a member, escapes and all; nil in an array
	Value Value

	rest  []byte
	close byte
	begun bool
	done  bool
}

// Into begins a walk through the object or array at the start of data.
func Into(data []byte) (w Walk, ok bool) {
	data = skipSpace(data)
	switch {
	case len(data) == 0:
		return w, false
	case data[0] == '{':
		return Walk{rest: data[1:], close: '}'}, true
	case data[0] == '[':
		return Walk{rest: data[1:], close: ']'}, true
	default:
		return w, false
	}
}

// Next steps to the next member or element. It reports false at the end, and at the
// first fault; Done tells them apart.
func (w *Walk) Next() bool {
	b := skipSpace(w.rest)
	if len(b) == 0 || w.done {
		return false
	}
	if b[0] == w.close {
		w.rest, w.done = b[1:], true
		return false
	}
	if w.begun {
		if b[0] != ',' {
			return false
		}
		b = skipSpace(b[1:])
	}
	w.begun = true
	if w.close == '}' {
		if len(b) == 0 || b[0] != '"' {
			return false
		}
		end := endOfString(b)
		if end < 0 {
			return false
		}
		w.Key = b[1:end]
		if b = skipSpace(b[end+1:]); len(b) == 0 || b[0] != ':' {
			return false
		}
		b = skipSpace(b[1:])
	}
	value, rest, ok := Cut(b)
	w.Value, w.rest = value, rest
	return ok
}

// Done tells whether the walk came to the end of the object or array.
func (w *Walk) Done() bool { return w.done }

// Rest returns what follows the object or array when the walk is done.
func (w *Walk) Rest() []byte { return w.rest }

// Cut cuts the value at the start of b off. A container counts as whole when its
// brackets match.
func Cut(b []byte) (v Value, rest []byte, ok bool) {
	b = skipSpace(b)
	if len(b) == 0 {
		return v, nil, false
	}
	switch c := b[0]; {
	case c == '"':
		end := endOfString(b)
		if end < 0 {
			return v, nil, false
		}
		return Value{String, b[1:end]}, b[end+1:], true
	case c == '{' || c == '[':
		end := endOfContainer(b)
		if end < 0 {
			return v, nil, false
		}
		kind := Object
		if c == '[' {
			kind = Array
		}
		return Value{kind, b[:end]}, b[end:], true
	case bytes.HasPrefix(b, []byte("true")):
		return Value{Bool, b[:4]}, b[4:], true
	case bytes.HasPrefix(b, []byte("false")):
		return Value{Bool, b[:5]}, b[5:], true
	case bytes.HasPrefix(b, []byte("null")):
		return Value{Null, b[:4]}, b[4:], true
	case c == '-' || c >= '0' && c <= '9':
		n := 1
		for n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] == '.' || b[n] == 'e' || b[n] == 'E' || b[n] == '+' || b[n] == '-') {
			n++
		}
		return Value{Number, b[:n]}, b[n:], true
	default:
		return v, nil, false
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// endOfString returns the index of the quote that ends the string at the start of b.
func endOfString(b []byte) int {
	for i := 1; ; {
		at := bytes.IndexByte(b[i:], '"')
		if at < 0 {
			return -1
		}
		end := i + at
		escapes := 0
		for end-1-escapes >= i && b[end-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return end
		}
		i = end + 1
	}
}

// maxDepth bounds the nesting of a container.
const maxDepth = 512

// endOfContainer returns the index behind the bracket that closes the one at the
// start of b.
func endOfContainer(b []byte) int {
	var open [maxDepth]byte
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			end := endOfString(b[i:])
			if end < 0 {
				return -1
			}
			i += end
		case '{', '[':
			if depth == maxDepth {
				return -1
			}
			open[depth] = c + 2 // '}' and ']' stand two behind their partners
			depth++
		case '}', ']':
			if depth--; open[depth] != c {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Is tells whether the value is a string that reads, without escapes, like text.
func (v Value) Is(text string) bool { return v.Kind == String && string(v.Raw) == text }

// Int returns a whole number of at most 18 digits.
func (v Value) Int() (n int64, ok bool) {
	b, negative := bytes.CutPrefix(v.Raw, []byte("-"))
	if v.Kind != Number || len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// IsNumber tells whether the value is a number as RFC 8259, section 6, has it, and
// its text may stand in another JSON text.
func (v Value) IsNumber() bool {
	b := bytes.TrimPrefix(v.Raw, []byte("-"))
	if v.Kind != Number || len(b) == 0 {
		return false
	}
	whole := digits(b)
	if whole == 0 || b[0] == '0' && whole > 1 {
		return false
	}
	if b = b[whole:]; len(b) > 0 && b[0] == '.' {
		n := digits(b[1:])
		if n == 0 {
			return false
		}
		b = b[1+n:]
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		n := digits(b)
		if n == 0 || n > 3 {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

func digits(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

// AppendText appends what a string says. Escapes that RFC 8259 does not have, and
// lone surrogates, become U+FFFD.
func (v Value) AppendText(dst []byte) []byte { return AppendUnescaped(dst, v.Raw) }

// AppendUnescaped appends what the inside of a string says.
func AppendUnescaped(dst, raw []byte) []byte {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 || at+1 >= len(raw) {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:at]...)
		c := raw[at+1]
		raw = raw[at+2:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, raw = unicode(raw)
			dst = utf8.AppendRune(dst, r)
		default:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		}
	}
}

// unicode reads what follows "\u", with the second half of a surrogate pair.
func unicode(raw []byte) (r rune, rest []byte) {
	first, ok := hexRune(raw)
	if !ok {
		return utf8.RuneError, raw
	}
	raw = raw[4:]
	if !utf16.IsSurrogate(first) {
		return first, raw
	}
	if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
		if second, ok := hexRune(raw[2:]); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, raw[6:]
			}
		}
	}
	return utf8.RuneError, raw
}

func hexRune(b []byte) (rune, bool) {
	value, ok := parsers.Hex(b, 4)
	return rune(value), ok
}
