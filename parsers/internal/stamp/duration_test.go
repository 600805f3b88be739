package stamp_test

import (
	"testing"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]int64{
		"4.065504959s": 4065504959, "735.200735ms": 735200735, "73.176µs": 73176, "73.176μs": 73176, "12ns": 12, "8m44s": 524e9,
		"1h0m0.5s": 3600_500_000_000, "0s": 0, "2.s": 2e9, "1.9999999999s": 1_999_999_999,
	} {
		if got, ok := stamp.Duration([]byte(text)); !ok || got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "s", "12", "1.5", "-3s", "1x", "1s2", "1..5s", ".5s", "999999999999h", "1s 2s", "1e3s"} {
		if got, ok := stamp.Duration([]byte(text)); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
	if ms, ok := stamp.Milliseconds([]byte("1.5ms")); !ok || ms != 2 {
		t.Errorf("1.5ms is %d ms", ms)
	}
}

// FuzzDuration: what is read is what package time reads.
func FuzzDuration(f *testing.F) {
	f.Add("1h2m3.4s")
	f.Add("73.176µs")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := stamp.Duration([]byte(text))
		if !ok {
			return
		}
		want, err := time.ParseDuration(text)
		if err != nil || want.Nanoseconds()-got > 1 || got-want.Nanoseconds() > 1 {
			t.Errorf("%q: %d, want %d (%v)", text, got, want, err)
		}
	})
}
