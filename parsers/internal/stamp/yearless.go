package stamp

import (
	"time"

	"github.com/auditail/auditail/parsers"
)

// WithYear completes a time whose log leaves the year out: with the newest one in
// which it is at most a day after the line was seen, which allows for clocks and zones
// that are off. ok is false for a day or a time of day that there is not.
func WithYear(month, day, hour, minute, second, nanoseconds int, seen time.Time, zone *time.Location) (t time.Time, ok bool) {
	if !parsers.ValidClock(hour, minute, second) {
		return t, false
	}
	limit := seen.Add(24 * time.Hour)
	newest := limit.In(zone).Year()
	for year := newest; year > newest-9; year-- { // 29 February may be eight years away
		if !parsers.ValidDate(year, month, day) {
			continue
		}
		t = time.Date(year, time.Month(month), day, hour, minute, second, nanoseconds, zone)
		if !t.After(limit) {
			return t, true
		}
	}
	return t, false
}
