package framing

import (
	"bytes"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// wide tells whether code units have two bytes.
func (e Encoding) wide() bool { return e == UTF16 || e == UTF16LE || e == UTF16BE }

// LineEnd returns the length of the first line in data, its line feed
// included, or -1 when none ends there. place is where data stands in the
// file: a code unit of two bytes begins at an even place.
func (e Encoding) LineEnd(data []byte, place int64) int {
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return -1
		}
		if end := e.feedEnd(data, at+i, place); end > 0 {
			return end
		}
		at += i + 1
	}
}

// LastLineEnd returns the length of all lines in data that end there, 0 when
// none does. place is as in LineEnd.
func (e Encoding) LastLineEnd(data []byte, place int64) int {
	for at := len(data); ; {
		at = bytes.LastIndexByte(data[:at], '\n')
		if at < 0 {
			return 0
		}
		if end := e.feedEnd(data, at, place); end > 0 {
			return end
		}
	}
}

// feedEnd returns where the line feed ends of which data[i], an LF byte, is a
// part, or 0 when it is none.
func (e Encoding) feedEnd(data []byte, i int, place int64) int {
	even := (place+int64(i))%2 == 0
	switch {
	case !e.wide():
		return i + 1
	case e == UTF16BE:
		if !even && i > 0 && data[i-1] == 0 {
			return i + 1
		}
	case even && i+1 < len(data) && data[i+1] == 0:
		return i + 2
	}
	return 0
}

// FeedSize is how many bytes a line feed takes.
func (e Encoding) FeedSize() int {
	if e.wide() {
		return 2
	}
	return 1
}

// CarriageReturn is how a carriage return is encoded.
func (e Encoding) CarriageReturn() string {
	switch {
	case e == UTF16BE:
		return "\x00\r"
	case e.wide():
		return "\r\x00"
	default:
		return "\r"
	}
}

// decode returns data in UTF-8; the result is data itself or lies in memory.
// What is no character becomes U+FFFD.
func (e Encoding) decode(memory *arena, data []byte, place int64) []byte {
	switch {
	case e == Latin1:
		out := memory.room(2 * len(data))
		for _, b := range data {
			out = utf8.AppendRune(out, rune(b))
		}
		return memory.keep(out)
	case e.wide():
		return memory.keep(e.decodeWide(memory.room(3*(len(data)/2+2)), data, place))
	default:
		return data
	}
}

func (e Encoding) decodeWide(out, data []byte, place int64) []byte {
	if place%2 != 0 && len(data) > 0 {
		// The second half of a unit whose first one was taken for the end of the file.
		out = utf8.AppendRune(out, utf8.RuneError)
		data, place = data[1:], place+1
	}
	if place == 0 && bytes.HasPrefix(data, e.encodedMark()) {
		data = data[2:]
	}
	for len(data) >= 2 {
		unit := e.unit(data)
		data = data[2:]
		if !utf16.IsSurrogate(unit) {
			out = utf8.AppendRune(out, unit)
			continue
		}
		pair := rune(utf8.RuneError)
		if len(data) >= 2 {
			pair = utf16.DecodeRune(unit, e.unit(data))
		}
		if pair != utf8.RuneError {
			data = data[2:]
		}
		out = utf8.AppendRune(out, pair)
	}
	if len(data) > 0 {
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	return out
}

func (e Encoding) unit(data []byte) rune {
	if e == UTF16BE {
		return rune(data[0])<<8 | rune(data[1])
	}
	return rune(data[1])<<8 | rune(data[0])
}

// encodedMark is the byte order mark.
func (e Encoding) encodedMark() []byte {
	if e == UTF16BE {
		return []byte{0xfe, 0xff}
	}
	return []byte{0xff, 0xfe}
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// arena is memory for the texts of the lines of one chunk.
type arena struct {
	block []byte
	fresh bool // the block was allocated since mark
	start int  // of what was used since mark
}

// Sizes of an arena's blocks, but for a text that needs more.
const (
	leastBlock = 64 << 10
	mostBlock  = 2 << 20
)

// room returns an empty slice with room for n bytes.
func (a *arena) room(n int) []byte {
	if cap(a.block)-len(a.block) < n {
		// What lies in the old block stays where it is: lines point to it.
		a.block = make([]byte, 0, max(leastBlock, n, min(2*cap(a.block), mostBlock)))
		a.fresh = true
	}
	return a.block[len(a.block):len(a.block):cap(a.block)]
}

// keep keeps what was appended to the slice that room returned last.
func (a *arena) keep(text []byte) []byte {
	a.block = a.block[:len(a.block)+len(text)]
	return slices.Clip(text)
}

// mark and forget bracket what may turn out not to be needed.
func (a *arena) mark() { a.start, a.fresh = len(a.block), false }

func (a *arena) forget() {
	if a.fresh {
		a.start = 0
	}
	a.block = a.block[:a.start]
}

// reset makes all memory free again; a large block is given up.
func (a *arena) reset() {
	a.block = a.block[:0]
	if cap(a.block) > mostBlock {
		a.block = nil
	}
}
