package fieldmap

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers"
)

// The scanner accepts exactly the texts of RFC 8259, and of those only the ones
// that nest at most maxDepth deep. Bytes in strings need not be UTF-8: whoever
// could put one bad byte into a log line could otherwise keep the whole line
// from being understood. They are replaced where a value is kept.
//
// Every function takes an index into data and returns the one behind what it
// read, or one of these.
const (
	badSyntax = -1
	cutShort  = -2 // the text ends too early; so far it was right
	tooDeep   = -3
)

// maxDepth bounds recursion, and with it the stack that a line can ask for.
const maxDepth = 512

func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// style tells how the inside of a string is written.
type style struct {
	escaped bool // holds at least one backslash escape
	wide    bool // may hold bytes outside ASCII
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString reads a string from behind its opening quote and returns the
// index of the closing one.
func scanString(data []byte, i int) (end int, s style) {
	var seen uint64
	for {
		// Eight bytes at a time until one is a quote, a backslash or a control
		// character. A borrow can mark bytes above the lowest match wrongly, so
		// only the lowest counts.
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			quote, slash := w^('"'*ones), w^('\\'*ones)
			stop := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((w - ' '*ones) &^ w)
			if stop &= highs; stop != 0 {
				at := bits.TrailingZeros64(stop) &^ 7
				seen |= w & (1<<at - 1)
				i += at / 8
				break
			}
			seen |= w
			i += 8
		}
		for i < len(data) && data[i] != '"' && data[i] != '\\' && data[i] >= ' ' {
			seen |= uint64(data[i])
			i++
		}
		switch {
		case i >= len(data):
			return cutShort, s
		case data[i] == '"':
			s.wide = seen&highs != 0
			return i, s
		case data[i] != '\\':
			return badSyntax, s
		}
		s.escaped = true
		if i = skipEscape(data, i+1); i < 0 {
			return i, s
		}
	}
}

// skipEscape reads what follows a backslash.
func skipEscape(data []byte, i int) int {
	if i >= len(data) {
		return cutShort
	}
	switch data[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for n := 1; n <= 4; n++ {
			if i+n >= len(data) {
				return cutShort
			}
			if _, ok := parsers.HexDigit(data[i+n]); !ok {
				return badSyntax
			}
		}
		return i + 5
	default:
		return badSyntax
	}
}

// scanNumber reads a number (RFC 8259, section 6).
func scanNumber(data []byte, i int) int {
	if data[i] == '-' {
		i++
	}
	switch {
	case i >= len(data):
		return cutShort
	case data[i] == '0':
		i++
	case data[i] >= '1' && data[i] <= '9':
		i = skipDigits(data, i)
	default:
		return badSyntax
	}
	if i < len(data) && data[i] == '.' {
		if i = needDigits(data, i+1); i < 0 {
			return i
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if i = needDigits(data, i); i < 0 {
			return i
		}
	}
	return i
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	return i
}

func needDigits(data []byte, i int) int {
	end := skipDigits(data, i)
	switch {
	case end > i:
		return end
	case end >= len(data):
		return cutShort
	default:
		return badSyntax
	}
}

func scanLiteral(data []byte, i int, literal string) int {
	for n := range len(literal) {
		if i+n >= len(data) {
			return cutShort
		}
		if data[i+n] != literal[n] {
			return badSyntax
		}
	}
	return i + len(literal)
}

// skipValue reads any value. depth is how many levels it may still open.
func skipValue(data []byte, i, depth int) int {
	if i >= len(data) {
		return cutShort
	}
	switch c := data[i]; c {
	case '"':
		end, _ := scanString(data, i+1)
		if end < 0 {
			return end
		}
		return end + 1
	case '{':
		return skipObject(data, i+1, depth-1)
	case '[':
		return skipArray(data, i+1, depth-1)
	case 't':
		return scanLiteral(data, i, "true")
	case 'f':
		return scanLiteral(data, i, "false")
	case 'n':
		return scanLiteral(data, i, "null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return scanNumber(data, i)
		}
		return badSyntax
	}
}

func skipObject(data []byte, i, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	i, done := openBracket(data, i, '}')
	for !done {
		var end int
		if end, i, _ = scanKey(data, i); end < 0 {
			return end
		}
		if i = skipValue(data, i, depth); i < 0 {
			return i
		}
		i, done = nextElement(data, i, '}')
	}
	return i
}

func skipArray(data []byte, i, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	i, done := openBracket(data, i, ']')
	for !done {
		if i = skipValue(data, i, depth); i < 0 {
			return i
		}
		i, done = nextElement(data, i, ']')
	}
	return i
}

// openBracket reads from behind the bracket that opens an object or array to
// its first element; done says that there is none, or that i is an error.
func openBracket(data []byte, i int, closing byte) (next int, done bool) {
	i = skipSpace(data, i)
	if i >= len(data) {
		return cutShort, true
	}
	if data[i] == closing {
		return i + 1, true
	}
	return i, false
}

// nextElement reads from behind an element to the next one; done says that the
// bracket closed, or that next is an error.
func nextElement(data []byte, i int, closing byte) (next int, done bool) {
	if i = skipSpace(data, i); i >= len(data) {
		return cutShort, true
	}
	switch data[i] {
	case ',':
		if i = skipSpace(data, i+1); i >= len(data) {
			return cutShort, true
		}
		return i, false
	case closing:
		return i + 1, true
	default:
		return badSyntax, true
	}
}

// scanKey reads `"key" :` up to the value. end is the index of the key's
// closing quote; the key begins at i+1.
func scanKey(data []byte, i int) (end, value int, s style) {
	if data[i] != '"' {
		return badSyntax, 0, s
	}
	if end, s = scanString(data, i+1); end < 0 {
		return end, 0, s
	}
	i = skipSpace(data, end+1)
	if i >= len(data) {
		return cutShort, 0, s
	}
	if data[i] != ':' {
		return badSyntax, 0, s
	}
	if i = skipSpace(data, i+1); i >= len(data) {
		return cutShort, 0, s
	}
	return end, i, s
}

// appendDecoded appends the text of a string's inside that scanString accepted
// (or, at the end of a line that was cut, a part of one). Bytes that are no
// UTF-8 and halves of surrogate pairs become U+FFFD; replaced tells.
func appendDecoded(dst, inside []byte) (out []byte, replaced bool) {
	for i := 0; i < len(inside); {
		c := inside[i]
		if c < utf8.RuneSelf && c != '\\' {
			start := i
			for i < len(inside) && inside[i] < utf8.RuneSelf && inside[i] != '\\' {
				i++
			}
			dst = append(dst, inside[start:i]...)
			continue
		}
		if c == '\\' {
			r, size := decodeEscape(inside[i:])
			if size == 0 {
				return dst, replaced // cut in the middle
			}
			if r < 0 {
				r, replaced = utf8.RuneError, true
			}
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		r, size := utf8.DecodeRune(inside[i:])
		if r == utf8.RuneError && size == 1 {
			replaced = true
		}
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst, replaced
}

// decodeEscape decodes the escape at the start of b. A lone surrogate is -1;
// size 0 means that b ends too early.
func decodeEscape(b []byte) (r rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return rune(b[1]), 2 // quote, backslash, slash
	}
	r, ok := hexRune(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if low, ok := hexRune(b[6:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return full, 12
			}
		}
	}
	return -1, 6
}

// hexRune reads the four digits of \uXXXX.
func hexRune(b []byte) (rune, bool) {
	if len(b) < 6 {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		digit, ok := parsers.HexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}
