// Package stamp reads the times that logs carry and writes them as RFC 3339.
//
// It never repairs a time: one that the calendar or the clock does not have is
// no time.
package stamp

import (
	"time"

	"github.com/auditail/auditail/parsers"
)

// Fits tells whether RFC 3339 can write the year.
func Fits(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

// ParseEpoch reads a count since 1970 with scale counts a second, and a
// fraction, exactly.
func ParseEpoch(text []byte, scale int64) (time.Time, bool) {
	var whole int64
	i := 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if i == 18 {
			if scale != 1e9 || len(text) > 19 {
				return time.Time{}, false
			}
		}
		whole = whole*10 + int64(text[i]-'0')
		if whole < 0 {
			return time.Time{}, false
		}
	}
	if i == 0 {
		return time.Time{}, false
	}
	unit := int64(time.Second) / scale
	var fraction int64
	if i < len(text) {
		if text[i] != '.' || i+1 == len(text) {
			return time.Time{}, false
		}
		for weight, n := unit/10, i+1; n < len(text); n++ {
			if text[n] < '0' || text[n] > '9' {
				return time.Time{}, false
			}
			fraction += int64(text[n]-'0') * weight
			weight /= 10
		}
	}
	when := time.Unix(whole/scale, whole%scale*unit+fraction).UTC()
	return when, Fits(when)
}

// MaxRFC3339 is the longest text that AppendRFC3339 makes.
const MaxRFC3339 = len("2006-01-02T15:04:05.999999999+00:00")

// AppendRFC3339 rewrites a time as RFC 3339 writes it. Taken are also a space
// in place of the T, a comma as the decimal sign, more than nine digits of
// fraction (cut), and zones as +hhmm or +hh. Without a zone, zoned is false and
// the text ends at the seconds or their fraction.
func AppendRFC3339(dst, t []byte) (out []byte, zoned, ok bool) {
	const second = len("2006-01-02T15:04:05")
	if len(t) < second || t[4] != '-' || t[7] != '-' || t[13] != ':' || t[16] != ':' ||
		t[10] != 'T' && t[10] != 't' && t[10] != ' ' {
		return dst, false, false
	}
	century, ok1 := parsers.TwoDigits(t[0:])
	year, ok2 := parsers.TwoDigits(t[2:])
	month, ok3 := parsers.TwoDigits(t[5:])
	day, ok4 := parsers.TwoDigits(t[8:])
	hour, ok5 := parsers.TwoDigits(t[11:])
	minute, ok6 := parsers.TwoDigits(t[14:])
	sec, ok7 := parsers.TwoDigits(t[17:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 ||
		!parsers.ValidDate(century*100+year, month, day) || !parsers.ValidClock(hour, minute, sec) {
		return dst, false, false
	}
	dst = append(dst, t[:10]...)
	dst = append(dst, 'T')
	dst = append(dst, t[11:second]...)
	rest := t[second:]
	if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
		end := skipDigits(rest, 1)
		if end == 1 {
			return dst, false, false
		}
		dst = append(dst, '.')
		dst = append(dst, rest[1:min(end, 10)]...)
		rest = rest[end:]
	}
	if len(rest) == 0 {
		return dst, false, true
	}
	return appendZone(dst, rest)
}

func appendZone(dst, zone []byte) (out []byte, zoned, ok bool) {
	if zone[0] == ' ' {
		zone = zone[1:]
	}
	switch string(zone) {
	case "Z", "z", "UTC", "+00:00", "+0000", "+00":
		return append(dst, 'Z'), true, true
	}
	if len(zone) < 3 || zone[0] != '+' && zone[0] != '-' {
		return dst, false, false
	}
	hour, ok1 := parsers.TwoDigits(zone[1:])
	digits := zone[3:]
	if len(digits) > 0 && digits[0] == ':' {
		digits = digits[1:]
		if len(digits) != 2 {
			return dst, false, false
		}
	}
	minute, ok2 := 0, len(digits) == 0
	if len(digits) == 2 {
		minute, ok2 = parsers.TwoDigits(digits)
	}
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return dst, false, false
	}
	dst = append(dst, zone[0], zone[1], zone[2], ':')
	return append(dst, byte('0'+minute/10), byte('0'+minute%10)), true, true
}

func skipDigits(t []byte, i int) int {
	for i < len(t) && t[i] >= '0' && t[i] <= '9' {
		i++
	}
	return i
}
