package stamp

import (
	"time"

	"github.com/auditail/auditail/parsers"
)

// months are the English abbreviations that both servers write in every locale.
const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// CLFLength is the length of a time in the common log format.
const CLFLength = len("21/Nov/2026:09:06:34 +0000")

// AppendCLF rewrites "21/Nov/2026:09:06:34 +0100" as RFC 3339. ok is false
// when it is no such time, or names a day that the calendar does not have.
func AppendCLF(dst, t []byte) (out []byte, ok bool) {
	if len(t) != CLFLength || t[2] != '/' || t[6] != '/' || t[11] != ':' || t[14] != ':' || t[17] != ':' || t[20] != ' ' {
		return dst, false
	}
	month := monthOf(t[3:6])
	day, ok1 := parsers.TwoDigits(t[0:2])
	century, ok2 := parsers.TwoDigits(t[7:9])
	year, ok3 := parsers.TwoDigits(t[9:11])
	hour, ok4 := parsers.TwoDigits(t[12:14])
	minute, ok5 := parsers.TwoDigits(t[15:17])
	second, ok6 := parsers.TwoDigits(t[18:20])
	zoneHour, ok7 := parsers.TwoDigits(t[22:24])
	zoneMinute, ok8 := parsers.TwoDigits(t[24:26])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || !ok8 {
		return dst, false
	}
	sign := t[21]
	if !parsers.ValidDate(century*100+year, month, day) || !parsers.ValidClock(hour, minute, second) ||
		zoneHour > 23 || zoneMinute > 59 || sign != '+' && sign != '-' {
		return dst, false
	}
	dst = append(dst, t[7:11]...)
	dst = append(dst, '-', byte('0'+month/10), byte('0'+month%10), '-', t[0], t[1], 'T')
	dst = append(dst, t[12:20]...)
	if zoneHour == 0 && zoneMinute == 0 {
		return append(dst, 'Z'), true
	}
	return append(dst, sign, t[22], t[23], ':', t[24], t[25]), true
}

// monthOf returns the month, counted from 1, of an English abbreviation; 0 for
// what is none.
func monthOf(t []byte) int {
	for i := 0; i < len(months); i += 3 {
		if months[i] == t[0] && months[i+1] == t[1] && months[i+2] == t[2] {
			return i/3 + 1
		}
	}
	return 0
}

// ParseHAProxy reads "21/Nov/2026:09:06:34.742", which HAProxy writes in the
// zone of its host.
func ParseHAProxy(t []byte, zone *time.Location) (when time.Time, ok bool) {
	const length = len("21/Nov/2026:09:06:34.742")
	if len(t) != length || t[2] != '/' || t[6] != '/' || t[11] != ':' || t[14] != ':' || t[17] != ':' || t[20] != '.' {
		return time.Time{}, false
	}
	month := monthOf(t[3:6])
	day, ok1 := parsers.TwoDigits(t[0:2])
	century, ok2 := parsers.TwoDigits(t[7:9])
	year, ok3 := parsers.TwoDigits(t[9:11])
	hour, ok4 := parsers.TwoDigits(t[12:14])
	minute, ok5 := parsers.TwoDigits(t[15:17])
	second, ok6 := parsers.TwoDigits(t[18:20])
	tens, ok7 := parsers.TwoDigits(t[21:23])
	last := int(t[23]) - '0'
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || last < 0 || last > 9 ||
		!parsers.ValidDate(century*100+year, month, day) || !parsers.ValidClock(hour, minute, second) {
		return time.Time{}, false
	}
	nanos := (tens*10 + last) * int(time.Millisecond)
	return time.Date(century*100+year, time.Month(month), day, hour, minute, second, nanos, zone), true
}
