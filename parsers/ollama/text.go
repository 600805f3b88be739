package ollama

import (
	"bytes"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers"
)

// nextPair cuts "key=value" off the attributes of a slog line. A value with spaces,
// quotes or control characters is quoted as Go quotes, so it cannot end early.
func (p *Parser) nextPair(b []byte) (key, value, rest []byte, ok bool) {
	key, b, ok = bytes.Cut(bytes.TrimLeft(b, " "), []byte("="))
	if !ok {
		return nil, nil, nil, false
	}
	if len(b) > 0 && b[0] == '"' {
		value, rest, ok = p.unquote(b)
		return key, value, rest, ok
	}
	value, rest, _ = bytes.Cut(b, []byte(" "))
	return key, value, rest, true
}

// unquote reads the Go string literal at the start of b. The text is b's own memory,
// or the parser's until the next line. Only that of a cut line may lack its end.
func (p *Parser) unquote(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return b[1:i], b[i+1:], true
		case '\\':
			return p.unescape(b, i)
		}
	}
	return b[1:], nil, p.cut
}

// unescape goes on with unquote at the first backslash.
func (p *Parser) unescape(b []byte, i int) (text, rest []byte, ok bool) {
	start := len(p.scratch)
	p.scratch = append(p.scratch, b[1:i]...)
	for i < len(b) {
		c := b[i]
		switch {
		case c == '"':
			return p.scratch[start:len(p.scratch):len(p.scratch)], b[i+1:], true
		case c != '\\':
			p.scratch = append(p.scratch, c)
			i++
		case i+1 == len(b):
			i++ // half an escape
		default:
			i += p.appendEscape(b[i+1:]) + 1
		}
	}
	return p.scratch[start:len(p.scratch):len(p.scratch)], nil, p.cut
}

// appendEscape appends what the escape behind a backslash stands for and returns
// its length.
func (p *Parser) appendEscape(b []byte) int {
	size := 0
	switch b[0] {
	case 'n':
		p.scratch = append(p.scratch, '\n')
	case 't':
		p.scratch = append(p.scratch, '\t')
	case 'r':
		p.scratch = append(p.scratch, '\r')
	case 'a':
		p.scratch = append(p.scratch, '\a')
	case 'b':
		p.scratch = append(p.scratch, '\b')
	case 'f':
		p.scratch = append(p.scratch, '\f')
	case 'v':
		p.scratch = append(p.scratch, '\v')
	case 'x':
		size = 2
	case 'u':
		size = 4
	case 'U':
		size = 8
	default: // backslash and quotes stand for themselves
		p.scratch = append(p.scratch, b[0])
	}
	if size == 0 {
		return 1
	}
	value, ok := parsers.Hex(b[1:], size)
	switch {
	case !ok:
		p.scratch = append(p.scratch, '\\', b[0])
		return 1
	case size == 2:
		p.scratch = append(p.scratch, byte(value))
	default:
		p.scratch = utf8.AppendRune(p.scratch, rune(value))
	}
	return 1 + size
}
