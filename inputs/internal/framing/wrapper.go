package framing

import "bytes"

// Streams is how many streams of one file are joined on their own.
const Streams = 2

// Streams of a container.
const (
	stdout = 0 // and every line without a stream
	stderr = 1
)

// peeled is what stands inside a wrapper.
type peeled struct {
	text   []byte
	stream int
	more   bool // the runtime split the line here
}

// peel takes a line out of its wrapper. A line that does not fit is returned
// as it is. The result is part of line or lies in memory.
func (w Wrapper) peel(memory *arena, line []byte, terminated bool) peeled {
	trimmed := line
	if terminated {
		trimmed = trimCR(line)
	}
	switch w {
	case WrapperCRI:
		if p, ok := peelCRI(line); ok {
			if terminated && !p.more {
				// What was split may have been split behind a CR.
				p.text = trimCR(p.text)
			}
			return p
		}
	case WrapperDocker:
		if p, ok := peelDocker(memory, trimmed); ok {
			return p
		}
	case WrapperSyslog:
		if at, ok := syslogMessage(trimmed); ok {
			return peeled{text: trimmed[at.begin:]}
		}
	case WrapperNone, WrapperAuto:
	}
	return peeled{text: trimmed}
}

// peelCRI reads a line of the CRI log format: time, stream, tags separated by
// colons of which the first is P or F, text.
//
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
func peelCRI(line []byte) (peeled, bool) {
	n := isoTime(line)
	if n == 0 || n >= len(line) || line[n] != ' ' {
		return peeled{}, false
	}
	rest := line[n+1:]
	var p peeled
	switch {
	case bytes.HasPrefix(rest, []byte("stdout ")):
		p.stream = stdout
	case bytes.HasPrefix(rest, []byte("stderr ")):
		p.stream = stderr
	default:
		return peeled{}, false
	}
	rest = rest[len("stdout "):]
	tags, text, spaced := bytes.Cut(rest, []byte{' '})
	if !spaced {
		tags = trimCR(tags)
	}
	if len(tags) == 0 || tags[0] != 'P' && tags[0] != 'F' || len(tags) > 1 && tags[1] != ':' {
		return peeled{}, false
	}
	p.text, p.more = text, tags[0] == 'P'
	return p, true
}

// isoTime returns the length of the RFC 3339 time a line begins with, or 0.
func isoTime(line []byte) int {
	if !shaped(line, "0000-00-00T00:00:00") {
		return 0
	}
	n := len("0000-00-00T00:00:00")
	if n < len(line) && line[n] == '.' {
		digits := countDigits(line[n+1:])
		if digits == 0 {
			return 0
		}
		n += 1 + digits
	}
	switch {
	case n < len(line) && line[n] == 'Z':
		return n + 1
	case shaped(line[n:], "+00:00"), shaped(line[n:], "-00:00"):
		return n + len("+00:00")
	}
	return 0
}

// shaped tells whether a line begins like a shape, in which 0 is any digit.
func shaped(line []byte, shape string) bool {
	if len(line) < len(shape) {
		return false
	}
	for i := range len(shape) {
		if shape[i] == '0' && isDigit(line[i]) || shape[i] != '0' && shape[i] == line[i] {
			continue
		}
		return false
	}
	return true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func countDigits(text []byte) int {
	n := 0
	for n < len(text) && isDigit(text[n]) {
		n++
	}
	return n
}

// message is where the message of a syslog line begins and how that is known.
type message struct {
	begin   int
	iso     bool // with an ISO 8601 time and no version
	process bool // the tag names a process id
}

// syslogMessage finds the message in a line of a syslog daemon's file: with or
// without a priority, RFC 5424 when a version follows it, else a time as in
// RFC 3164 or ISO 8601, host, tag, colon.
func syslogMessage(line []byte) (message, bool) {
	at := priority(line)
	if at > 0 && shaped(line[at:], "0 ") && line[at] != '0' {
		begin := headerEnd(line, at+len("0 "))
		return message{begin: begin}, begin > 0
	}
	var m message
	if n := isoTime(line[at:]); n > 0 {
		at += n
		m.iso = true
	} else if n := classicTime(line[at:]); n > 0 {
		at += n
	} else {
		return message{}, false
	}
	// Host, after one space.
	if at >= len(line) || line[at] != ' ' {
		return message{}, false
	}
	host := bytes.IndexByte(line[at+1:], ' ')
	if host <= 0 {
		return message{}, false
	}
	at += 1 + host + 1
	return tagEnd(line, at, m)
}

// tagEnd finds the end of "tag: ", "tag[123]: " from a place on.
func tagEnd(line []byte, at int, m message) (message, bool) {
	begin := at
	for at < len(line) && line[at] > ' ' && line[at] != ':' && line[at] != '[' && line[at] != ']' {
		at++
	}
	if at == begin {
		return message{}, false
	}
	if at < len(line) && line[at] == '[' {
		end := bytes.IndexByte(line[at:], ']')
		if end < 0 || bytes.IndexByte(line[at:at+end], ' ') >= 0 {
			return message{}, false
		}
		m.process = end > 1 && countDigits(line[at+1:]) == end-1
		at += end + 1
	}
	if at >= len(line) || line[at] != ':' {
		return message{}, false
	}
	m.begin = skipSpace(line, at+1)
	return m, true
}

// priority returns the length of "<134>", or 0. RFC 5424 section 6.2.1.
func priority(line []byte) int {
	if len(line) == 0 || line[0] != '<' {
		return 0
	}
	n := countDigits(line[1:])
	if n == 0 || n > 3 || len(line) < n+2 || line[n+1] != '>' {
		return 0
	}
	return n + 2
}

// classicTime returns the length of "Nov 21 09:03:19", or 0. RFC 3164 section 4.1.2.
func classicTime(line []byte) int {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(line) < 3 {
		return 0
	}
	month := bytes.Index([]byte(months), line[:3])
	if month < 0 || month%3 != 0 {
		return 0
	}
	if shaped(line[3:], " 00 00:00:00") || shaped(line[3:], "  0 00:00:00") {
		return len("Nov 21 09:03:19")
	}
	return 0
}

// headerEnd returns where the message begins behind the version of a header of
// RFC 5424 section 6, or 0.
func headerEnd(line []byte, at int) int {
	for range 5 { // time, host, application, process, message id
		n := bytes.IndexByte(line[at:], ' ')
		if n <= 0 {
			return 0
		}
		at += n + 1
	}
	if at >= len(line) {
		return 0
	}
	if line[at] == '-' {
		at++
	} else {
		end := structuredEnd(line, at)
		if end == 0 {
			return 0
		}
		at = end
	}
	switch {
	case at == len(line):
		return at
	case line[at] != ' ':
		return 0
	}
	at++
	if bytes.HasPrefix(line[at:], []byte("\xef\xbb\xbf")) {
		return at + 3
	}
	// rsyslog keeps the space that stood behind the tag of a line it got in
	// the older form.
	return skipSpace(line, at)
}

// structuredEnd returns the end of one or more adjoining [elements], or 0. A
// bracket within quotes ends none, nor does one behind a backslash there.
func structuredEnd(line []byte, at int) int {
	begin, quoted := at, false
	for inside := false; at < len(line); at++ {
		switch b := line[at]; {
		case !inside:
			if b != '[' {
				if at == begin {
					return 0
				}
				return at
			}
			inside = true
		case quoted && b == '\\':
			at++
		case b == '"':
			quoted = !quoted
		case b == ']' && !quoted:
			inside = false
			if at+1 == len(line) {
				return at + 1
			}
		}
	}
	return 0
}

func skipSpace(line []byte, at int) int {
	if at < len(line) && line[at] == ' ' {
		at++
	}
	return at
}
