// Package pyrepr reads values as Python's repr prints them, which is how model
// servers written in Python log what they were asked: just so much of that
// syntax as logs need, in one pass, without recursion. A line is hostile and may
// be nested, unbalanced or cut anywhere; the functions take time in proportion to
// its length and point into it.
package pyrepr

import (
	"bytes"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers"
)

// maxNesting bounds brackets within brackets. Deeper values are not read.
const maxNesting = 64

// EndOfString returns the index behind the string literal whose opening quote
// is b[0], or -1 when it does not end.
func EndOfString(b []byte) int {
	quote := b[0]
	end := 0 // of the next quote, escaped or not
	for i := 1; i < len(b); {
		if end < i {
			at := bytes.IndexByte(b[i:], quote)
			if at < 0 {
				return -1
			}
			end = i + at
		}
		slash := bytes.IndexByte(b[i:end], '\\')
		if slash < 0 {
			return end + 1
		}
		i += slash + 2 // the backslash and what it escapes
	}
	return -1
}

// EndOfValue returns the index behind the value at the front of b: a string, or
// everything up to the comma or closing bracket that does not belong to it.
// It returns -1 when a string or bracket does not end.
func EndOfValue(b []byte) int {
	var nest [maxNesting]byte
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '\'', '"':
			n := EndOfString(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '(', '[', '{':
			if depth == maxNesting {
				return -1
			}
			nest[depth] = closing(c)
			depth++
		case ')', ']', '}':
			if depth == 0 {
				return i
			}
			if depth--; nest[depth] != c {
				return -1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	if depth > 0 {
		return -1
	}
	return len(b)
}

func closing(open byte) byte {
	switch open {
	case '(':
		return ')'
	case '[':
		return ']'
	default:
		return '}'
	}
}

// IsString tells whether a value is a string literal.
func IsString(value []byte) bool {
	return len(value) > 0 && (value[0] == '\'' || value[0] == '"')
}

// IsNone tells whether a value is missing or Python's None.
func IsNone(value []byte) bool { return len(value) == 0 || string(value) == "None" }

// Text returns the text of a value that is one string literal, else "".
func Text(value []byte) string {
	if !IsString(value) || EndOfString(value) != len(value) {
		return ""
	}
	decoded, _ := AppendUnescaped(nil, value[1:len(value)-1])
	return string(decoded)
}

// AppendUnescaped appends what stands between the quotes of a string literal.
// replaced tells that something in it was no Unicode character (Python prints
// lone surrogates as escapes).
func AppendUnescaped(dst, b []byte) (out []byte, replaced bool) {
	for {
		at := bytes.IndexByte(b, '\\')
		if at < 0 || at+1 == len(b) {
			break
		}
		dst = append(dst, b[:at]...)
		b = b[at+1:]
		c := b[0]
		b = b[1:]
		digits := 0
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case '\\', '\'', '"':
			dst = append(dst, c)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			dst = append(dst, '\\', c)
		}
		if digits == 0 {
			continue
		}
		r, ok := hexRune(b, digits)
		if !ok {
			dst = append(dst, '\\', c)
			continue
		}
		b = b[digits:]
		if !utf8.ValidRune(r) {
			replaced = true
		}
		dst = utf8.AppendRune(dst, r)
	}
	return append(dst, b...), replaced
}

func hexRune(b []byte, digits int) (rune, bool) {
	value, ok := parsers.Hex(b, digits)
	if value > utf8.MaxRune {
		return utf8.RuneError, ok
	}
	return rune(value), ok
}

// CountElements returns how many elements a list or tuple has; ok is false for
// anything else.
func CountElements(value []byte) (n int64, ok bool) {
	if len(value) < 2 || value[0] != '[' && value[0] != '(' {
		return 0, false
	}
	b := value[1 : len(value)-1]
	for {
		b = bytes.TrimLeft(b, " ")
		if len(b) == 0 {
			return n, true
		}
		end := EndOfValue(b)
		if end < 0 || end < len(b) && b[end] != ',' {
			return 0, false
		}
		n++
		if end == len(b) {
			return n, true
		}
		b = b[end+1:]
	}
}

// FirstText returns the text of a string, of the first string of a list, or a
// word that stands without quotes, as in "served_model_name=mistral-small".
func FirstText(value []byte) string {
	if len(value) > 0 && value[0] == '[' {
		value = value[1:]
		if end := EndOfValue(value); end >= 0 {
			value = value[:end]
		}
	}
	if IsString(value) {
		return Text(value)
	}
	if IsNone(value) || bytes.ContainsAny(value, "()[]{}'\"<>") {
		return ""
	}
	return string(value)
}

// Arguments returns what stands between the brackets of "Name(…)" or "{…}".
func Arguments(value []byte) []byte {
	at := bytes.IndexAny(value, "({")
	if at < 0 || len(value) < at+2 || value[len(value)-1] != closing(value[at]) {
		return nil
	}
	return value[at+1 : len(value)-1]
}

// NextPair takes "key=value" or "'key': value" from the front of b, with the
// comma behind. ok is false at the end and at whatever is no pair.
func NextPair(b []byte) (key, value, rest []byte, ok bool) {
	b = bytes.TrimLeft(b, " ,")
	if len(b) == 0 {
		return nil, nil, nil, false
	}
	if IsString(b) {
		end := EndOfString(b)
		if end < 0 || !bytes.HasPrefix(b[end:], []byte(": ")) {
			return nil, nil, nil, false
		}
		key, b = b[1:end-1], b[end+2:]
	} else {
		end := 0
		for end < len(b) && IsNameByte(b[end]) {
			end++
		}
		if end == 0 || end == len(b) || b[end] != '=' {
			return nil, nil, nil, false
		}
		key, b = b[:end], b[end+1:]
	}
	end := EndOfValue(b)
	if end < 0 {
		return nil, nil, nil, false
	}
	return key, b[:end], b[end:], true
}

func IsNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// Integer reads a decimal integer.
func Integer(value []byte) (n int64, ok bool) {
	digits, negative := bytes.CutPrefix(value, []byte("-"))
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
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

// IsNumber tells whether a Python number is also one of JSON (RFC 8259, 6);
// "inf" and "nan" are not.
func IsNumber(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	n := DigitRun(b)
	if n == 0 || n > 1 && b[0] == '0' || len(b) > 32 {
		return false
	}
	b = b[n:]
	if len(b) > 0 && b[0] == '.' {
		if n = DigitRun(b[1:]); n == 0 {
			return false
		}
		b = b[1+n:]
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if n = DigitRun(b); n == 0 {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

func DigitRun(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}
