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
	"math/bits"
	"slices"
	"strconv"
	"time"
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

// Add sets all fields that are set in from, and flags, without sharing memory.
func (r *Record) Add(from *Record) {
	at := int64(len(r.text)) << 32
	r.text = append(r.text, from.text...)
	for w, set := range from.set {
		r.set[w] |= set
		for ; set != 0; set &= set - 1 {
			f := Field(w<<6 + bits.TrailingZeros64(set))
			r.value[f] = from.value[f]
			if kind := layouts[f].kind; kind != KindInt && kind != KindBool {
				r.value[f] += at
			}
		}
	}
	r.quality |= from.quality
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
	var id [32]byte
	idEncoding.Encode(id[:], sum[:20]) // 20 bytes are 32 characters, 26 of them are used
	return append(dst, id[:26]...)
}

// AppendSalt appends the text of the salt field for 8 random bytes.
func AppendSalt(dst []byte, random [8]byte) []byte {
	return base64.RawURLEncoding.AppendEncode(dst, random[:])
}
