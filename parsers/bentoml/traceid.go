package bentoml

import "math/bits"

// The ids of traces are written in base 10 by default in BentoML 1.0 and in base
// 16, padded, later; the configuration may want either. Records have them in base
// 16 with 32 and 16 digits, as everything else that speaks of traces does. An id
// of 32 digits is taken for base 16: in base 10 one in three million has 32.

// base returns the base of a pair of ids.
func base(trace, span []byte) uint64 {
	if len(trace) == 32 || !isDigits(trace, 10) || !isDigits(span, 10) {
		return 16
	}
	return 10
}

// appendTrace appends the id of a trace, and returns the base of both ids. It
// reports false when there is none.
func appendTrace(dst, trace, span []byte) (out []byte, of uint64, ok bool) {
	of = base(trace, span)
	high, low, ok := parseID(trace, of)
	if !ok || high == 0 && low == 0 {
		return dst, of, false
	}
	return appendHex(appendHex(dst, high), low), of, true
}

// appendSpan appends the id of a span.
func appendSpan(dst, span []byte, of uint64) (out []byte, ok bool) {
	high, low, ok := parseID(span, of)
	if !ok || high != 0 || low == 0 {
		return dst, false
	}
	return appendHex(dst, low), true
}

// parseID reads a number of 128 bits.
func parseID(b []byte, of uint64) (high, low uint64, ok bool) {
	if !isDigits(b, of) {
		return 0, 0, false
	}
	for _, c := range b {
		carry, product := bits.Mul64(low, of)
		overflow, shifted := bits.Mul64(high, of)
		var more uint64
		low, more = bits.Add64(product, digit(c), 0)
		high, more = bits.Add64(shifted, carry, more)
		if overflow != 0 || more != 0 {
			return 0, 0, false
		}
	}
	return high, low, true
}

func appendHex(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}

// digit returns the value of a digit, 255 for what is none.
func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	default:
		return 255
	}
}

// isDigits accepts a number of at most 40 digits.
func isDigits(b []byte, of uint64) bool {
	for _, c := range b {
		if digit(c) >= of {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 40
}
