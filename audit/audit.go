// Package audit is the audit record: one line of JSON that says who entered
// what, into which exact model version, from where, under which policy, and
// what came back.
//
// One table ([Fields]) names every field of the record once. The encoder, the
// validator, the JSON Schema, the configuration's field maps and the CSV header
// are all made from it, so they cannot disagree.
//
// The promise of the format: absent means unknown. There is no null, no empty
// string and no "-"; setting an empty text leaves the field out.
package audit

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Version is the major version of the record format, the value of schema_version.
const Version = 1

// SchemaID names the record format in manifests.
const SchemaID = "auditail/record@v1"

// Record is one audit record while it is made. The zero value is empty and
// ready; Reset makes it so again and keeps its memory. A Record owns all its
// bytes: what is passed to a Set method may be reused at once. It is not safe
// for concurrent use.
type Record struct {
	set     [words]uint64
	value   [fieldCount]int64 // a number, or offset<<32|length into text
	text    []byte
	quality Quality
}

const words = (int(fieldCount) + 63) / 64

// Reset empties the record.
func (r *Record) Reset() {
	r.set = [words]uint64{}
	r.text = r.text[:0]
	r.quality = 0
}

// CopyFrom makes r equal to from without sharing memory.
func (r *Record) CopyFrom(from *Record) {
	r.set, r.value, r.quality = from.set, from.value, from.quality
	r.text = append(r.text[:0], from.text...)
}

// Has tells whether the field is set.
func (r *Record) Has(f Field) bool { return r.set[f>>6]&(1<<(f&63)) != 0 }

// Clear unsets the field.
func (r *Record) Clear(f Field) { r.set[f>>6] &^= 1 << (f & 63) }

func (r *Record) mark(f Field) { r.set[f>>6] |= 1 << (f & 63) }

// SetText sets a text, enumeration or time field. An empty text is unknown and
// leaves the field unset.
func (r *Record) SetText(f Field, text []byte) {
	if len(text) == 0 {
		r.Clear(f)
		return
	}
	at := len(r.text)
	r.text = append(r.text, text...)
	r.setSpan(f, at)
}

// SetString is SetText for a string.
func (r *Record) SetString(f Field, text string) {
	if text == "" {
		r.Clear(f)
		return
	}
	at := len(r.text)
	r.text = append(r.text, text...)
	r.setSpan(f, at)
}

// SetJSON sets a field of kind JSON, Number or Strings to an encoded value.
// The caller vouches that it is valid, compact JSON.
func (r *Record) SetJSON(f Field, encoded []byte) { r.SetText(f, encoded) }

// SetStrings sets a field of kind Strings. Empty elements are left out.
func (r *Record) SetStrings(f Field, list ...string) {
	at := len(r.text)
	r.text = append(r.text, '[')
	for _, s := range list {
		if s == "" {
			continue
		}
		if r.text[len(r.text)-1] != '[' {
			r.text = append(r.text, ',')
		}
		r.text = AppendString(r.text, s)
	}
	r.text = append(r.text, ']')
	if len(r.text)-at == 2 {
		r.text = r.text[:at]
		r.Clear(f)
		return
	}
	r.setSpan(f, at)
}

// SetTime sets a time field: RFC 3339 with up to nanoseconds and the offset of t's zone.
func (r *Record) SetTime(f Field, t time.Time) {
	at := len(r.text)
	r.text = t.AppendFormat(r.text, time.RFC3339Nano)
	r.setSpan(f, at)
}

func (r *Record) setSpan(f Field, at int) {
	r.value[f] = int64(at)<<32 | int64(len(r.text)-at)
	r.mark(f)
}

// SetInt sets a field of kind Int.
func (r *Record) SetInt(f Field, n int64) {
	r.value[f] = n
	r.mark(f)
}

// SetBool sets a field of kind Bool.
func (r *Record) SetBool(f Field, b bool) {
	r.value[f] = 0
	if b {
		r.value[f] = 1
	}
	r.mark(f)
}

// Text returns the bytes of a text field, or of the encoded value of a JSON,
// Number or Strings field; nil when it is unset. They are valid until the next
// Set or Reset and must not be changed.
func (r *Record) Text(f Field) []byte {
	if !r.Has(f) {
		return nil
	}
	v := r.value[f]
	at, n := int(v>>32), int(v&0xffffffff)
	return r.text[at : at+n : at+n]
}

// Written returns the bytes of all texts, lists and encoded values that were set
// since Reset, those set anew or cleared included, one behind the other. They are
// valid until the next Set or Reset and must not be changed.
func (r *Record) Written() []byte { return slices.Clip(r.text) }

// Int returns an Int field, or 0 when it is unset.
func (r *Record) Int(f Field) int64 {
	if !r.Has(f) {
		return 0
	}
	return r.value[f]
}

// Bool returns a Bool field, or false when it is unset.
func (r *Record) Bool(f Field) bool { return r.Int(f) != 0 }

// Flag adds quality flags.
func (r *Record) Flag(q Quality) { r.quality |= q }

// Unflag takes quality flags back.
func (r *Record) Unflag(q Quality) { r.quality &^= q }

// Flags returns the quality flags.
func (r *Record) Flags() Quality { return r.quality }

// AppendOpen appends the record's line up to where agent.seq goes. agent.seq is
// the last field of the last group, because it is known only when the record's
// place in the commit order is: AppendSeq closes the line.
func (r *Record) AppendOpen(dst []byte) []byte {
	dst = append(dst, '{')
	group := uint8(noGroup)
	for w, set := range r.set {
		for set != 0 {
			f := Field(w<<6 + bits.TrailingZeros64(set))
			set &= set - 1
			if f == AgentID {
				continue // closes the line
			}
			def := &fields[f]
			if def.group != group {
				dst = closeGroup(dst, group)
				if def.group != noGroup {
					dst = append(dst, groups[def.group].open...)
				}
				group = def.group
			}
			dst = append(dst, def.key...)
			dst = r.appendValue(dst, f, def.Kind)
			dst = append(dst, ',')
		}
	}
	dst = closeGroup(dst, group)
	if r.quality != 0 {
		dst = append(dst, `"quality":`...)
		dst = r.quality.append(dst)
		dst = append(dst, ',')
	}
	dst = append(dst, `"agent":{"id":`...)
	dst = AppendText(dst, r.Text(AgentID))
	return append(dst, `,"seq":`...)
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

func closeGroup(dst []byte, group uint8) []byte {
	if group == noGroup {
		return dst
	}
	dst[len(dst)-1] = '}' // in place of the last field's comma
	return append(dst, ',')
}

func (r *Record) appendValue(dst []byte, f Field, kind Kind) []byte {
	switch kind {
	case KindInt:
		return strconv.AppendInt(dst, r.value[f], 10)
	case KindBool:
		return strconv.AppendBool(dst, r.value[f] != 0)
	case KindJSON, KindNumber, KindStrings:
		return append(dst, r.Text(f)...)
	default:
		return AppendText(dst, r.Text(f))
	}
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

// plainPrefix returns how many bytes at the start of s a JSON string takes as
// they are: ASCII without quote, backslash and control characters. It looks at
// eight bytes at a time; a borrow can mark bytes above the lowest match wrongly,
// so only the lowest counts.
func plainPrefix(s []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		stop := w | ((w - ' '*ones) &^ w) | ((quote - ones) &^ quote) | ((slash - ones) &^ slash)
		if stop &= highs; stop != 0 {
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

// idEncoding is lower-case base32 (RFC 4648 alphabet) without padding.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// AppendID appends the id of a record: 26 characters of the SHA-256 of host id,
// source id, generation, the offset of the first contributing line and the
// sub-index, decimal or UTF-8, each followed by LF. Reading the same bytes
// again gives the same id.
func AppendID(dst []byte, hostID, source, generation string, offset int64, sub int) []byte {
	var stack [256]byte
	b := append(stack[:0], hostID...)
	b = append(b, '\n')
	b = append(b, source...)
	b = append(b, '\n')
	b = append(b, generation...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, offset, 10)
	b = append(b, '\n')
	b = strconv.AppendInt(b, int64(sub), 10)
	b = append(b, '\n')
	sum := sha256.Sum256(b)
	var id [52]byte
	idEncoding.Encode(id[:], sum[:])
	return append(dst, id[:26]...)
}

// AppendSalt appends the text of the salt field for 8 random bytes.
func AppendSalt(dst []byte, random [8]byte) []byte {
	return base64.RawURLEncoding.AppendEncode(dst, random[:])
}
