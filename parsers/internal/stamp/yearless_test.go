package stamp_test

import (
	"testing"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
)

// TestWithYear: the newest year that is not in the future, a day of doubt allowed.
func TestWithYear(t *testing.T) {
	for _, c := range []struct {
		seen       string
		month, day int
		want       string
	}{
		{"2026-11-21T12:00:00Z", 11, 21, "2026-11-21T10:20:30.000000005Z"},
		{"2026-11-21T12:00:00Z", 11, 22, "2026-11-22T10:20:30.000000005Z"}, // within a day
		{"2026-11-21T12:00:00Z", 11, 23, "2025-11-23T10:20:30.000000005Z"},
		{"2026-12-31T23:00:00Z", 1, 1, "2027-01-01T10:20:30.000000005Z"},
		{"2027-01-01T00:00:10Z", 12, 31, "2026-12-31T10:20:30.000000005Z"},
		{"2027-01-01T00:00:10Z", 2, 29, "2024-02-29T10:20:30.000000005Z"},
		{"2027-01-01T00:00:10Z", 2, 30, ""},
		{"2027-01-01T00:00:10Z", 13, 1, ""},
	} {
		seen, err := time.Parse(time.RFC3339, c.seen)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if when, ok := stamp.WithYear(c.month, c.day, 10, 20, 30, 5, seen, time.UTC); ok {
			got = when.Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%02d-%02d seen at %s: %q, want %q", c.month, c.day, c.seen, got, c.want)
		}
	}
	if _, ok := stamp.WithYear(1, 1, 24, 0, 0, 0, time.Now(), time.UTC); ok {
		t.Error("there is no hour 24")
	}
}
