// Package ansi takes the colours out of lines that a program wrote as if to a
// terminal.
package ansi

import "bytes"

const escape = 0x1b

// written is how rsyslog writes the escape byte, with the bracket of a sequence.
const written = "#033["

// Plain returns the line without colours (the ECMA-48 control sequences that end
// in "m"). A line without any is returned as it is; else the result is written over
// buffer, which grows as needed and is returned to be used again.
func Plain(buffer, line []byte) (plain, grown []byte) {
	if bytes.IndexByte(line, escape) < 0 && !bytes.Contains(line, []byte(written)) {
		return line, buffer
	}
	buffer = AppendPlain(buffer[:0], line)
	return buffer, buffer
}

// AppendPlain appends the line without colours. Other control sequences, and
// those that do not end, stay.
func AppendPlain(dst, line []byte) []byte {
	for {
		at, end := next(line)
		if at < 0 {
			return append(dst, line...)
		}
		if line[end-1] == '[' {
			for end < len(line) && (line[end] >= '0' && line[end] <= '9' || line[end] == ';') {
				end++
			}
			if end < len(line) && line[end] == 'm' {
				dst, line = append(dst, line[:at]...), line[end+1:]
				continue
			}
		}
		dst, line = append(dst, line[:end]...), line[end:]
	}
}

// next returns where the next escape stands and where what follows it begins,
// behind the bracket if it has one.
func next(line []byte) (at, end int) {
	at, end = bytes.IndexByte(line, escape), 0
	if at >= 0 {
		if end = at + 1; end < len(line) && line[end] == '[' {
			end++
		}
	}
	if w := bytes.Index(line, []byte(written)); w >= 0 && (at < 0 || w < at) {
		at, end = w, w+len(written)
	}
	return at, end
}
