// Package state writes and reads the snapshots of parsers that join lines:
// numbers as varints, texts behind their length, up to eight flags in a byte. A
// snapshot lies on the disk of a host that may be broken into or break, so the
// decoder takes any bytes: after a fault it returns zero values and says so at
// the end, and it never takes more memory than a snapshot of that length can
// justify.
package state

import (
	"encoding/binary"
	"time"

	"github.com/auditail/auditail/internal/redact"
	"github.com/auditail/auditail/parsers"
)

// Encoder appends to Bytes.
type Encoder struct {
	Bytes []byte
	last  parsers.Ref
}

// Number appends a number.
func (e *Encoder) Number(n int64) { e.Bytes = binary.AppendVarint(e.Bytes, n) }

// Text appends a text without the secrets in it: a snapshot is written to the
// agent's disk, and they are not kept there, not even for a while.
func (e *Encoder) Text(s string) {
	start := len(e.Bytes)
	e.Number(int64(len(s)))
	text := len(e.Bytes)
	e.Bytes = append(e.Bytes, s...)
	if scrubbed, found := redact.Scrub(e.Bytes[text:]); found {
		e.Bytes = e.Bytes[:start]
		e.Data(scrubbed)
	}
}

// Data appends bytes.
func (e *Encoder) Data(b []byte) {
	e.Number(int64(len(b)))
	e.Bytes = append(e.Bytes, b...)
}

// Time appends a time of any year, without its zone. The zero time comes back as one.
func (e *Encoder) Time(t time.Time) {
	e.Number(t.Unix())
	e.Number(int64(t.Nanosecond()))
}

// Flags appends at most eight flags.
func (e *Encoder) Flags(flags ...bool) {
	var set byte
	for i, flag := range flags {
		if flag {
			set |= 1 << i
		}
	}
	e.Bytes = append(e.Bytes, set)
}

// Refs appends the names of held lines.
func (e *Encoder) Refs(refs []parsers.Ref) {
	e.Number(int64(len(refs)))
	for _, ref := range refs {
		same := ref.Generation == e.last.Generation && ref.Path == e.last.Path
		e.Flags(same)
		if !same {
			e.Text(ref.Generation)
			e.Text(ref.Path)
		}
		e.Number(ref.Offset)
		e.Number(ref.Size)
		e.Number(int64(ref.Lines))
		e.last = ref
	}
}

// Decoder reads what an Encoder wrote.
type Decoder struct {
	rest   []byte
	failed bool
	last   parsers.Ref
}

// NewDecoder returns a decoder of b.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// Fail makes the decoder fail, for values that decode but cannot be.
func (d *Decoder) Fail() { d.failed, d.rest = true, nil }

// Failed tells whether there was a fault.
func (d *Decoder) Failed() bool { return d.failed }

// Done tells whether everything was read, without a fault.
func (d *Decoder) Done() bool { return !d.failed && len(d.rest) == 0 }

// Number reads a number.
func (d *Decoder) Number() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.Fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// Count reads a number from 0 to limit.
func (d *Decoder) Count(limit int) int {
	n := d.Number()
	if n < 0 || n > int64(limit) {
		d.Fail()
		return 0
	}
	return int(n)
}

// Text reads a text.
func (d *Decoder) Text() string { return string(d.data()) }

// Data reads bytes; the caller owns them. Of none it returns nil.
func (d *Decoder) Data() []byte { return append([]byte(nil), d.data()...) }

func (d *Decoder) data() []byte {
	n := d.Count(len(d.rest))
	if n > len(d.rest) { // the number itself took some of them
		d.Fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// Time reads a time. It is one of the years 0 to 9999.
func (d *Decoder) Time() time.Time {
	seconds, nanoseconds := d.Number(), d.Count(int(time.Second)-1)
	if t := time.Unix(seconds, int64(nanoseconds)); !d.failed && seconds >= minSeconds && seconds <= maxSeconds {
		return t
	}
	d.Fail()
	return time.Time{}
}

// A day more than the years 1 to 9999, because a zone may put a time of the log there.
const minSeconds, maxSeconds = -62_135_596_800 - 86_400, 253_402_300_799 + 86_400

// Flags reads as many flags as were written.
func (d *Decoder) Flags(flags ...*bool) {
	if len(d.rest) == 0 || d.rest[0]>>len(flags) != 0 {
		d.Fail()
		return
	}
	for i, flag := range flags {
		*flag = d.rest[0]&(1<<i) != 0
	}
	d.rest = d.rest[1:]
}

// maxJoined bounds the physical lines that an input joins into one.
const maxJoined = 1 << 24

// Refs reads the names of at most limit held lines.
func (d *Decoder) Refs(limit int) []parsers.Ref {
	var refs []parsers.Ref
	for range d.Count(limit) {
		var same bool
		d.Flags(&same)
		if !same {
			d.last.Generation = d.Text()
			d.last.Path = d.Text()
		}
		d.last.Offset = d.Number()
		d.last.Size = d.Number()
		if d.last.Lines = d.Count(maxJoined); d.last.Lines == 0 {
			d.Fail()
		}
		if d.failed {
			return nil
		}
		refs = append(refs, d.last)
	}
	return refs
}
