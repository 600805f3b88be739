package stamp

import (
	"time"

	"github.com/auditail/auditail/parsers"
)

// ReadLocal reads a time without a zone at the start of b, as one of zone: year,
// month and day with "-" or "/" between them; "T", a space or " - "; the time of
// day; perhaps a fraction behind a point or a comma, of which nine digits count. n is
// the length of what it read.
func ReadLocal(b []byte, zone *time.Location) (t time.Time, n int, ok bool) {
	const date, clock = len("2006-01-02"), len("15:04:05")
	if len(b) < date+1+clock || b[4] != b[7] || b[4] != '-' && b[4] != '/' {
		return t, 0, false
	}
	century, ok1 := parsers.TwoDigits(b)
	year, ok2 := parsers.TwoDigits(b[2:])
	month, ok3 := parsers.TwoDigits(b[5:])
	day, ok4 := parsers.TwoDigits(b[8:])
	n = date + 1
	switch {
	case b[date] == 'T':
	case b[date] != ' ':
		return t, 0, false
	case b[date+1] == '-' && b[date+2] == ' ':
		n += len("- ")
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || len(b) < n+clock || b[n+2] != ':' || b[n+5] != ':' {
		return t, 0, false
	}
	year += century * 100
	hour, ok1 := parsers.TwoDigits(b[n:])
	minute, ok2 := parsers.TwoDigits(b[n+3:])
	second, ok3 := parsers.TwoDigits(b[n+6:])
	if !ok1 || !ok2 || !ok3 || !parsers.ValidDate(year, month, day) || !parsers.ValidClock(hour, minute, second) {
		return t, 0, false
	}
	n += clock
	nanoseconds := 0
	if n+1 < len(b) && (b[n] == '.' || b[n] == ',') && b[n+1] >= '0' && b[n+1] <= '9' {
		n++
		for weight := int(time.Second) / 10; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
			nanoseconds += int(b[n]-'0') * weight
			weight /= 10
		}
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanoseconds, zone), n, true
}
