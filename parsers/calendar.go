package parsers

// TwoDigits reads the two decimal digits at the start of b, which has at least two bytes.
func TwoDigits(b []byte) (value int, ok bool) {
	hi, lo := b[0]-'0', b[1]-'0'
	return int(hi)*10 + int(lo), hi <= 9 && lo <= 9
}

// ValidDate tells whether the Gregorian calendar has the day. Months and days
// count from 1.
func ValidDate(year, month, day int) bool {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 {
		return false
	}
	switch month {
	case 4, 6, 9, 11:
		return day <= 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return day <= 29
		}
		return day <= 28
	default:
		return day <= 31
	}
}

// ValidClock tells whether the time of day exists. RFC 3339 knows a leap
// second too; package time, which readers of records use, does not.
func ValidClock(hour, minute, second int) bool {
	return hour < 24 && minute < 60 && second < 60
}
