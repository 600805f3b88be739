package framing

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// peelDocker reads a line of Docker's json-file driver: an object with the
// text in "log", which ends with LF unless it was split, and with "stream" and
// "time". "attrs" and other members are passed over. A member that stands twice,
// or whose name has escapes, makes the line fit no more: nobody could say which
// of two counts.
//
// https://docs.docker.com/engine/logging/drivers/json-file/
func peelDocker(memory *arena, line []byte) (peeled, bool) {
	s := scanner{data: line}
	var log, stream, moment text
	if !s.next('{') {
		return peeled{}, false
	}
	for {
		name, ok := s.text()
		if !ok || name.escaped || !s.next(':') {
			return peeled{}, false
		}
		var value *text
		switch string(name.raw) {
		case "log":
			value = &log
		case "stream":
			value = &stream
		case "time":
			value = &moment
		}
		switch {
		case value == nil:
			ok = s.skip()
		case value.raw != nil:
			return peeled{}, false
		default:
			*value, ok = s.text()
		}
		if !ok {
			return peeled{}, false
		}
		if s.next(',') {
			continue
		}
		if s.next('}') && s.end() {
			break
		}
		return peeled{}, false
	}
	p := peeled{more: true}
	switch {
	case log.raw == nil || moment.raw == nil:
		return peeled{}, false
	case string(stream.raw) == "stdout":
		p.stream = stdout
	case string(stream.raw) == "stderr":
		p.stream = stderr
	default:
		return peeled{}, false
	}
	if p.text = log.raw; log.escaped {
		var ok bool
		if p.text, ok = unescape(memory, log.raw); !ok {
			return peeled{}, false
		}
	}
	if n := len(p.text); n > 0 && p.text[n-1] == '\n' {
		p.text, p.more = trimCR(p.text[:n-1]), false
	}
	return p, true
}

// text is a JSON string without its quotes.
type text struct {
	raw     []byte
	escaped bool
}

// scanner reads the little JSON that json-file writes.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next passes a character when it comes next.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.data)
}

func (s *scanner) text() (text, bool) {
	if !s.next('"') {
		return text{}, false
	}
	begin, escaped := s.at, false
	for s.at < len(s.data) {
		switch b := s.data[s.at]; {
		case b == '"':
			s.at++
			return text{raw: s.data[begin : s.at-1 : s.at-1], escaped: escaped}, true
		case b == '\\':
			escaped = true
			s.at += 2
		case b < ' ':
			return text{}, false
		default:
			s.at++
		}
	}
	return text{}, false
}

// skip passes over a value of any kind.
func (s *scanner) skip() bool {
	s.space()
	begin := s.at
	for depth := 0; s.at < len(s.data); {
		switch s.data[s.at] {
		case '"':
			if _, ok := s.text(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.at > begin
			}
			depth--
		case ',':
			if depth == 0 {
				return s.at > begin
			}
		}
		s.at++
	}
	return false
}

// unescape undoes the escapes of a JSON string. Half a surrogate pair becomes
// U+FFFD, as in encoding/json.
func unescape(memory *arena, raw []byte) ([]byte, bool) {
	out := memory.room(len(raw))
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			out = append(out, raw...)
			break
		}
		out = append(out, raw[:i]...)
		raw = raw[i+1:]
		if len(raw) == 0 {
			return nil, false
		}
		c := raw[0]
		raw = raw[1:]
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			unit, ok := hexUnit(raw)
			if !ok {
				return nil, false
			}
			raw = raw[4:]
			if utf16.IsSurrogate(unit) {
				low, ok := lowUnit(raw)
				if unit = utf16.DecodeRune(unit, low); ok && unit != utf8.RuneError {
					raw = raw[6:]
				}
			}
			out = utf8.AppendRune(out, unit)
		default:
			return nil, false
		}
	}
	return memory.keep(out), true
}

// lowUnit reads "\uXXXX"; without one the result pairs with nothing.
func lowUnit(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	return hexUnit(raw[2:])
}

func hexUnit(raw []byte) (rune, bool) {
	if len(raw) < 4 {
		return 0, false
	}
	unit := rune(0)
	for _, b := range raw[:4] {
		switch {
		case isDigit(b):
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(b)
	}
	return unit, true
}
