package stamp

import "bytes"

// Milliseconds is Duration, rounded to milliseconds.
func Milliseconds(b []byte) (ms int64, ok bool) {
	nanoseconds, ok := Duration(b)
	return (nanoseconds + 5e5) / 1e6, ok
}

// Duration reads a duration that is not negative as Go writes it ("8m44s", "1.17s",
// "861ns"), and as Rust's Debug does ("73.176µs"): up to a hundred days, in
// nanoseconds. A figure without a unit is none.
func Duration(b []byte) (nanoseconds int64, ok bool) {
	const limit = int64(1) << 53
	total := int64(0)
	for len(b) > 0 {
		whole, n := int64(0), 0
		for ; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
			if whole = whole*10 + int64(b[n]-'0'); whole > limit {
				return 0, false
			}
		}
		if n == 0 {
			return 0, false
		}
		fraction, scale := int64(0), int64(1)
		if b = b[n:]; len(b) > 0 && b[0] == '.' {
			for b = b[1:]; len(b) > 0 && b[0] >= '0' && b[0] <= '9'; b = b[1:] {
				if scale < 1e9 {
					fraction, scale = fraction*10+int64(b[0]-'0'), scale*10
				}
			}
		}
		unit, length := unitOf(b)
		if unit == 0 || whole > limit/unit {
			return 0, false
		}
		if total += whole*unit + fraction*(unit/scale) + fraction*(unit%scale)/scale; total > limit {
			return 0, false
		}
		b, ok = b[length:], true
	}
	return total, ok
}

// unitOf returns the unit at the start of b in nanoseconds, and its length.
func unitOf(b []byte) (unit int64, length int) {
	switch {
	case bytes.HasPrefix(b, []byte("ns")):
		return 1, 2
	case bytes.HasPrefix(b, []byte("µs")), bytes.HasPrefix(b, []byte("μs")):
		return 1e3, 3
	case bytes.HasPrefix(b, []byte("us")):
		return 1e3, 2
	case bytes.HasPrefix(b, []byte("ms")):
		return 1e6, 2
	case bytes.HasPrefix(b, []byte("s")):
		return 1e9, 1
	case bytes.HasPrefix(b, []byte("m")):
		return 60e9, 1
	case bytes.HasPrefix(b, []byte("h")):
		return 3600e9, 1
	default:
		return 0, 0
	}
}
