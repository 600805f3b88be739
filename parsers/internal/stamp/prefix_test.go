package stamp_test

import (
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// TestRead: what is read, what is left, and how sure the record is of it.
func TestRead(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	for line, want := range map[string]string{
		"2026-11-21 08:46:42 +0000] x":     "2026-11-21T08:46:42Z source|] x",
		"2026-11-21T08:46:42.123456Z INFO": "2026-11-21T08:46:42.123456Z source| INFO",
		"2026-11-21T08:46:42-09:30 x":      "2026-11-21T08:46:42-09:30 source| x",
		"2022-09-18T23:17:24+0530 [INFO]":  "2022-09-18T23:17:24+05:30 source| [INFO]",
		"2026-11-21 08:46:42,5 INFO":       "2026-11-21T08:46:42.5+02:00 source_tz_assumed| INFO",
		"2026/11/21 08:46:42":              "2026-11-21T08:46:42+02:00 source_tz_assumed|",
		"2026-11-21 08:46:42 - x":          "2026-11-21T08:46:42+02:00 source_tz_assumed| - x",
		"2026-11-21 08:46:42 -5 x":         "2026-11-21T08:46:42+02:00 source_tz_assumed| -5 x",
		"2026-11-21 08:46:42 +9900":        "2026-11-21T08:46:42+02:00 source_tz_assumed| +9900",
		"2026-11-21 08:46:42 -12345":       "2026-11-21T08:46:42+02:00 source_tz_assumed| -12345",
		"2026-11-21 08:46:42Zulu":          "2026-11-21T08:46:42+02:00 source_tz_assumed|Zulu",
		"2026-02-29 08:46:42":              "",
		"2026-11-21":                       "",
		"":                                 "",
	} {
		got := ""
		if when, n, ok := stamp.Read([]byte(line), zone); ok {
			var d parsers.Draft
			when.Set(&d)
			got = string(d.Record.Text(audit.Time)) + " " + string(d.Record.Text(audit.TimeBasis)) + "|" + line[n:]
			if parsed, err := time.Parse(time.RFC3339, string(d.Record.Text(audit.Time))); err != nil || !parsed.Equal(when.Instant()) {
				t.Errorf("%s: instant %v, record %v (%v)", line, when.Instant(), parsed, err)
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
	var none stamp.Time
	var d parsers.Draft
	none.Set(&d)
	if d.Record.Has(audit.Time) || !none.IsZero() {
		t.Error("a time that was not read is set")
	}
}
