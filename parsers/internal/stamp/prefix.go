package stamp

import (
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Time is a time that stood in a line, perhaps with its zone.
type Time struct {
	local time.Time // in the zone to assume; in UTC, as written, when the line has a zone
	text  []byte    // without the zone, as written
	zone  []byte    // as written; nil: none
}

// Read reads a time at the start of b, as [ReadLocal] does, and the zone behind
// it if there is one: "Z", "+hhmm" or "+hh:mm", perhaps behind a space. For a time
// without one, zone is assumed. n is the length of what it read.
func Read(b []byte, zone *time.Location) (t Time, n int, ok bool) {
	if t.local, n, ok = ReadLocal(b, time.UTC); !ok {
		return t, 0, false
	}
	if size := zoneLength(b[n:]); size > 0 {
		t.text, t.zone = b[:n], b[n:n+size]
		return t, n + size, true
	}
	t.local, n, ok = ReadLocal(b, zone)
	return t, n, ok
}

// zoneLength returns the length of a zone at the start of b, or 0.
func zoneLength(b []byte) int {
	if len(b) > 0 && b[0] == 'Z' && (len(b) == 1 || !isWord(b[1])) {
		return 1
	}
	n := 0
	if len(b) > 0 && b[0] == ' ' {
		n = 1
	}
	if len(b) <= n || b[n] != '+' && b[n] != '-' {
		return 0
	}
	n++
	colon := 0
	if len(b) > n+2 && b[n+2] == ':' {
		colon = 1
	}
	if len(b) < n+colon+4 {
		return 0
	}
	hour, ok1 := parsers.TwoDigits(b[n:])
	minute, ok2 := parsers.TwoDigits(b[n+colon+2:])
	n += colon + 4
	if !ok1 || !ok2 || hour > 23 || minute > 59 || n < len(b) && isWord(b[n]) {
		return 0
	}
	return n
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// IsZero tells whether nothing was read.
func (t *Time) IsZero() bool { return t.local.IsZero() }

// Zoned tells whether the zone stood in the line.
func (t *Time) Zoned() bool { return t.zone != nil }

// Instant returns the point in time; the zero time when nothing was read.
func (t *Time) Instant() time.Time {
	if t.zone == nil {
		return t.local
	}
	var buffer [MaxRFC3339]byte
	when, err := time.Parse(time.RFC3339, string(t.append(buffer[:0])))
	if err != nil {
		return time.Time{}
	}
	return when
}

// Set fills time and time_basis of a draft. A time that was not read leaves them
// alone.
func (t *Time) Set(d *parsers.Draft) {
	switch {
	case t.local.IsZero():
	case t.zone == nil:
		d.SetTime(t.local, false)
	default:
		var buffer [MaxRFC3339]byte
		d.Record.SetText(audit.Time, t.append(buffer[:0]))
		d.SetTimeBasis(true)
	}
}

// append appends a time with its zone, with as many digits as the line has.
func (t *Time) append(dst []byte) []byte {
	dst, _, ok := AppendRFC3339(dst, t.text)
	if !ok { // the date is written otherwise
		dst = t.local.AppendFormat(dst[:0], "2006-01-02T15:04:05.999999999")
	}
	dst, _, _ = appendZone(dst, t.zone)
	return dst
}
