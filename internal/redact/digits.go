package redact

import "slices"

// isLuhn tells whether the digits of text end in their check digit (ISO/IEC
// 7812-1, annex B). Anything else than digits counts as a separator.
func isLuhn(text []byte) bool {
	sum, n := 0, 0
	for _, c := range slices.Backward(text) {
		if !isDigit(c) {
			continue
		}
		d := int(c - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return n > 1 && sum%10 == 0
}

// isMod97 tells whether the letters and digits of text leave 1 modulo 97 when
// the first four go to the end and letters count from 10 (ISO 7064, MOD 97-10).
func isMod97(text []byte) bool {
	remainder, n := 0, 0
	add := func(c byte) {
		switch {
		case isDigit(c):
			remainder = (remainder*10 + int(c-'0')) % 97
		default:
			remainder = (remainder*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	var head [4]byte
	for _, c := range text {
		if !isAlnum(c) {
			continue
		}
		if n < len(head) {
			head[n] = c
		} else {
			add(c)
		}
		n++
	}
	if n <= len(head) {
		return false
	}
	for _, c := range head {
		add(c)
	}
	return remainder == 1
}
