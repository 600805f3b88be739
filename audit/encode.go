package audit

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A line is written into memory that is reserved once, in moves of whole words: most
// names and values are so short that a call for each costs more than its bytes. A move
// may write behind the end of what it is for; what comes next overwrites that.

// wordSize is how many bytes a move of a value takes.
const wordSize = 8

// pieceSize is more than what stands in front of a value takes: `"group":{"name":`.
const pieceSize = 32

// piece is such a text.
type piece struct {
	text [pieceSize]byte
	size int
}

// layout is what the encoder needs of a field's definition, in as little memory.
type layout struct {
	key   piece // `"name":`
	first piece // `"group":{"name":`, in front of the first field of a group
	group uint8
	kind  Kind
}

const noGroup = 255

// layouts and groups are derived once from the paths.
var layouts, groups = derive(&fields)

func derive(table *[fieldCount]Def) (layouts [fieldCount]layout, groups []string) {
	for i := range table {
		def, to := &table[i], &layouts[i]
		to.kind = def.Kind
		name, rest, nested := strings.Cut(def.Path, ".")
		if !nested {
			to.key, to.group = newPiece(`"`+def.Path+`":`), noGroup
			continue
		}
		if len(groups) == 0 || groups[len(groups)-1] != name {
			groups = append(groups, name)
		}
		to.key, to.group = newPiece(`"`+rest+`":`), uint8(len(groups)-1)
		to.first = newPiece(`"` + name + `":{"` + rest + `":`)
	}
	return layouts, groups
}

func newPiece(text string) (p piece) {
	if len(text) > pieceSize {
		panic("audit: the name of a field is too long: " + text)
	}
	p.size = copy(p.text[:], text)
	return p
}

// mostFixed is more than what a line takes beside its texts: of each field its name
// and a number, or quotes and what closes a group, and a word behind it all.
const mostFixed = int(fieldCount)*(pieceSize+24) + wordSize

// reserve makes room for what the record's line takes unless texts need escapes.
func (r *Record) reserve(dst []byte) []byte {
	return slices.Grow(dst, mostFixed+len(r.text))
}

// AppendOpen appends the record's line up to where agent.seq goes. agent.seq is
// the last field of the last group, because it is known only when the record's
// place in the commit order is: AppendSeq closes the line.
func (r *Record) AppendOpen(dst []byte) []byte {
	r.text = slices.Grow(r.text, wordSize)
	texts := r.text[:len(r.text)+wordSize]
	dst = r.reserve(dst)
	n, line := len(dst), dst[:cap(dst)]
	line[n] = '{'
	n++
	group := uint8(noGroup)
	for w, set := range r.set {
		for set != 0 {
			f := Field(w<<6 + bits.TrailingZeros64(set))
			set &= set - 1
			if f == AgentID {
				continue // closes the line
			}
			to := &layouts[f]
			name := &to.key
			if to.group != group {
				n = closeGroup(line, n, group)
				if group = to.group; group != noGroup {
					name = &to.first
				}
			}
			*(*[pieceSize]byte)(line[n:]) = name.text
			n += name.size
			switch to.kind {
			case KindInt:
				n = len(strconv.AppendInt(line[:n], r.value[f], 10))
			case KindBool:
				n = len(strconv.AppendBool(line[:n], r.value[f] != 0))
			case KindJSON, KindNumber, KindStrings:
				n += copy(line[n:], r.Text(f))
			default:
				at, size := int(r.value[f]>>32), int(r.value[f]&0xffffffff)
				line[n] = '"'
				n++
				plain := copyPlain(line[n:], texts[at:], size)
				n += plain
				if plain < size {
					dst = r.reserve(appendEscaped(line[:n], texts[at+plain:at+size]))
					n, line = len(dst), dst[:cap(dst)]
				}
				line[n] = '"'
				n++
			}
			line[n] = ','
			n++
		}
	}
	dst = line[:closeGroup(line, n, group)]
	if r.quality != 0 {
		dst = append(dst, `"quality":`...)
		dst = r.quality.append(dst)
		dst = append(dst, ',')
	}
	dst = append(dst, `"agent":{"id":`...)
	dst = AppendText(dst, r.Text(AgentID))
	return append(dst, `,"seq":`...)
}

// closeGroup ends a group at n of the line and returns where the line goes on.
func closeGroup(line []byte, n int, group uint8) int {
	if group == noGroup {
		return n
	}
	line[n-1], line[n] = '}', ',' // in place of the last field's comma
	return n + 1
}

// AppendSeq closes a line that AppendOpen left open.
func AppendSeq(dst []byte, seq uint64) []byte {
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, '}', '}')
}

// Append appends the whole line, without LF.
func (r *Record) Append(dst []byte, seq uint64) []byte {
	return AppendSeq(r.AppendOpen(dst), seq)
}

// AppendString appends s as a JSON string (RFC 8259), bytes that are not UTF-8
// as U+FFFD.
func AppendString(dst []byte, s string) []byte { return AppendText(dst, []byte(s)) }

// AppendText is AppendString for bytes.
func AppendText(dst, s []byte) []byte {
	dst = append(dst, '"')
	plain := plainPrefix(s)
	dst = append(dst, s[:plain]...)
	if plain < len(s) {
		dst = appendEscaped(dst, s[plain:])
	}
	return append(dst, '"')
}

// special marks the high bit of each byte of a word that a JSON string does not take
// as it is: quote, backslash, control characters and all beyond ASCII. A borrow can
// mark bytes above the lowest match wrongly, so only the lowest counts. (Bytes beyond
// ASCII are marked by themselves, so it does not matter what the others make of them.)
func special(word uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (word | (word - ' '*ones) | ((word ^ '"'*ones) - ones) | ((word ^ '\\'*ones) - ones)) & highs
}

// copyPlain copies the first size bytes of src as far as a JSON string takes them as
// they are, and returns how many those are. src and dst go on for a word behind them.
func copyPlain(dst, src []byte, size int) int {
	dst, src = dst[:size+wordSize], src[:size+wordSize]
	for i := 0; i < size; i += wordSize {
		word := binary.LittleEndian.Uint64(src[i:])
		binary.LittleEndian.PutUint64(dst[i:], word)
		if stop := special(word); stop != 0 {
			return min(i+bits.TrailingZeros64(stop)/8, size)
		}
	}
	return size
}

// plainPrefix returns how many bytes at the start of s a JSON string takes as
// they are.
func plainPrefix(s []byte) int {
	i := 0
	for ; i+wordSize <= len(s); i += wordSize {
		if stop := special(binary.LittleEndian.Uint64(s[i:])); stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for i < len(s) && isPlain(s[i]) {
		i++
	}
	return i
}

func isPlain(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }

// appendEscaped appends the inside of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r) // U+FFFD for what is no rune
			i += size
			continue
		}
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if isPlain(c) {
				end := i + plainPrefix(s[i:])
				dst = append(dst, s[i:end]...)
				i = end
				continue
			}
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
	}
	return dst
}

const hexDigits = "0123456789abcdef"
