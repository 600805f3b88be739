// Package ansi takes the colours out of lines that a program wrote as if to a
// terminal.
package ansi

import "bytes"

const escape = 0x1b

// Plain returns the line without colours (the ECMA-48 control sequences that end
// in "m"). A line without an escape byte is returned as it is; else the result
// is written over buffer, which grows as needed and is returned to be used again.
func Plain(buffer, line []byte) (plain, grown []byte) {
	if bytes.IndexByte(line, escape) < 0 {
		return line, buffer
	}
	buffer = AppendPlain(buffer[:0], line)
	return buffer, buffer
}

// AppendPlain appends the line without colours. Other control sequences, and
// those that do not end, stay.
func AppendPlain(dst, line []byte) []byte {
	for {
		at := bytes.IndexByte(line, escape)
		if at < 0 {
			return append(dst, line...)
		}
		end := at + 1
		if end < len(line) && line[end] == '[' {
			end++
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
