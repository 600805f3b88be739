package parsers

// HexDigit reads one hexadecimal digit of either case.
func HexDigit(c byte) (value byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

// Hex reads the first size hexadecimal digits of b, at most eight.
func Hex(b []byte, size int) (value uint32, ok bool) {
	if len(b) < size {
		return 0, false
	}
	for _, c := range b[:size] {
		digit, ok := HexDigit(c)
		if !ok {
			return 0, false
		}
		value = value<<4 | uint32(digit)
	}
	return value, true
}

// Status reads the three digits of an HTTP status.
func Status(b []byte) (status int, ok bool) {
	if len(b) != 3 {
		return 0, false
	}
	tens, ok := TwoDigits(b)
	units := b[2] - '0'
	status = tens*10 + int(units)
	return status, ok && units <= 9 && status >= 100
}

// Milliseconds reads the decimal number at the start of b ("0.98") and rounds it. ok is
// false for what is no count of milliseconds that a record can hold.
func Milliseconds(b []byte) (ms int64, ok bool) {
	i := 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		if ms = ms*10 + int64(b[i]-'0'); ms > 1<<50 {
			return 0, false
		}
	}
	if i == 0 {
		return 0, false
	}
	if i+1 < len(b) && b[i] == '.' && b[i+1] >= '5' && b[i+1] <= '9' {
		ms++
	}
	return ms, true
}
