package combined

// months are the English abbreviations that both servers write in every locale.
const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// appendTime rewrites "21/Nov/2026:09:06:34 +0100" as RFC 3339. ok is false
// when it is no such time, or names a day that the calendar does not have.
func appendTime(dst, t []byte) (out []byte, ok bool) {
	if len(t) != timeLength || t[2] != '/' || t[6] != '/' || t[11] != ':' || t[14] != ':' || t[17] != ':' || t[20] != ' ' {
		return dst, false
	}
	month := 0
	for i := 0; i < len(months); i += 3 {
		if months[i] == t[3] && months[i+1] == t[4] && months[i+2] == t[5] {
			month = i/3 + 1
			break
		}
	}
	day, ok1 := twoDigits(t[0:2])
	century, ok2 := twoDigits(t[7:9])
	year, ok3 := twoDigits(t[9:11])
	hour, ok4 := twoDigits(t[12:14])
	minute, ok5 := twoDigits(t[15:17])
	second, ok6 := twoDigits(t[18:20])
	zoneHour, ok7 := twoDigits(t[22:24])
	zoneMinute, ok8 := twoDigits(t[24:26])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || !ok8 {
		return dst, false
	}
	sign := t[21]
	if month == 0 || day == 0 || day > daysIn(century*100+year, month) || hour > 23 || minute > 59 || second > 59 ||
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

func twoDigits(b []byte) (int, bool) {
	hi, lo := b[0]-'0', b[1]-'0'
	return int(hi)*10 + int(lo), hi <= 9 && lo <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}
