package syslog

import "bytes"

// Content returns what a program logged: the message without what a syslog
// daemon or library put in front, when that parses, and else all of it. The
// result is a part of the message.
//
// It knows RFC 5424; RFC 3164 with its own or with an RFC 3339 time, as
// rsyslog forwards; and the form of a local socket, which has no host.
func Content(message []byte) []byte {
	rest, ok := priority(message)
	if !ok {
		return message
	}
	if after, found := bytes.CutPrefix(rest, []byte("1 ")); found { // RFC 5424, section 6.2.2
		if content, ok := structured(after); ok {
			return content
		}
		return message
	}
	if content, ok := classic(rest); ok {
		return content
	}
	return message
}

// priority takes "<134>", RFC 5424, section 6.2.1.
func priority(text []byte) ([]byte, bool) {
	if len(text) < 3 || text[0] != '<' {
		return nil, false
	}
	n := 1
	for n < len(text) && n <= 3 && isDigit(text[n]) {
		n++
	}
	if n == 1 || n == len(text) || text[n] != '>' {
		return nil, false
	}
	return text[n+1:], true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// structured takes what stands between version and message of RFC 5424,
// section 6: time, host, application, process and message id, structured data.
func structured(text []byte) ([]byte, bool) {
	for range 5 {
		field, rest, found := bytes.Cut(text, []byte{' '})
		if !found || len(field) == 0 {
			return nil, false
		}
		text = rest
	}
	text, ok := structuredData(text)
	if !ok {
		return nil, false
	}
	if len(text) == 0 {
		return text, true // a message without text
	}
	text, ok = bytes.CutPrefix(text, []byte{' '})
	if !ok {
		return nil, false
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), true // section 6.4
}

// structuredData takes "-" or the elements of section 6.3.
func structuredData(text []byte) ([]byte, bool) {
	if rest, ok := bytes.CutPrefix(text, []byte{'-'}); ok {
		return rest, true
	}
	some := false
	for len(text) > 0 && text[0] == '[' {
		end := elementEnd(text)
		if end < 0 {
			return nil, false
		}
		text, some = text[end+1:], true
	}
	return text, some
}

// elementEnd returns where the element ends that text begins with, or -1. A
// bracket in quotes ends none; a backslash there escapes what follows.
func elementEnd(text []byte) int {
	quoted := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			return i
		}
	}
	return -1
}

// classic takes time, host if there is one, and tag, RFC 3164, section 4.1.
func classic(text []byte) ([]byte, bool) {
	text, ok := stamp(text)
	if !ok {
		return nil, false
	}
	first, rest, found := bytes.Cut(text, []byte{' '})
	if !found {
		first, rest = text, nil
	}
	// "tag: " where a host would stand is the form of a local socket.
	if content, ok := tagged(first); ok && len(content) == 0 && len(first) > 0 {
		return rest, true
	}
	if !found || len(first) == 0 {
		return nil, false
	}
	content, ok := tagged(rest)
	return bytes.TrimPrefix(content, []byte{' '}), ok
}

// tagged takes "tag:" or "tag[123]:".
func tagged(text []byte) ([]byte, bool) {
	n := 0
	for n < len(text) && text[n] > ' ' && text[n] != ':' && text[n] != '[' && text[n] != ']' {
		n++
	}
	if n == 0 {
		return nil, false
	}
	if n < len(text) && text[n] == '[' {
		end := bytes.IndexByte(text[n:], ']')
		if end < 0 || bytes.IndexByte(text[n:n+end], ' ') >= 0 {
			return nil, false
		}
		n += end + 1
	}
	return bytes.CutPrefix(text[n:], []byte{':'})
}

// stamp takes "Nov 21 09:03:19 " or an RFC 3339 time and the space behind it.
func stamp(text []byte) ([]byte, bool) {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(text) >= 3 {
		month := bytes.Index([]byte(months), text[:3])
		if month >= 0 && month%3 == 0 && (shaped(text[3:], " 00 00:00:00 ") || shaped(text[3:], "  0 00:00:00 ")) {
			return text[len("Nov 21 09:03:19 "):], true
		}
	}
	if !shaped(text, "0000-00-00T00:00:00") {
		return nil, false
	}
	rest := text[len("0000-00-00T00:00:00"):]
	if len(rest) > 0 && rest[0] == '.' {
		n := 1
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		if n == 1 {
			return nil, false
		}
		rest = rest[n:]
	}
	switch {
	case shaped(rest, "Z "):
		return rest[len("Z "):], true
	case shaped(rest, "+00:00 "), shaped(rest, "-00:00 "):
		return rest[len("+00:00 "):], true
	default:
		return nil, false
	}
}

// shaped tells whether text begins like a shape, in which 0 is any digit.
func shaped(text []byte, shape string) bool {
	if len(text) < len(shape) {
		return false
	}
	for i := range len(shape) {
		if shape[i] == '0' && isDigit(text[i]) || shape[i] != '0' && shape[i] == text[i] {
			continue
		}
		return false
	}
	return true
}
