package stamp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
)

// FuzzTimes: whatever is accepted is a time that package time reads, and the
// same one where package time reads the source too.
func FuzzTimes(f *testing.F) {
	for _, text := range []string{
		"2026-11-21T09:06:34Z", "2026-11-21 09:06:34,123 +0530", "2026-11-21T09:06:34.1234567891-09:30", "2026-02-29T00:00:00",
		"21/Nov/2026:09:06:34 +0000", "29/Feb/2027:00:00:00 -0100", "31/Dec/9999:23:59:59 +1400", "1795251994.303", "21/Nov/2026:09:06:34.742", "0.000000001",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if out, ok := stamp.AppendCLF(nil, text); ok {
			compare(t, "02/Jan/2006:15:04:05 -0700", text, out)
		}
		if when, ok := stamp.ParseHAProxy(text, time.UTC); ok {
			want, err := time.Parse("02/Jan/2006:15:04:05.000", string(text))
			if err != nil || !when.Equal(want) {
				t.Errorf("%q became %v, want %v (%v)", text, when, want, err)
			}
		}
		if out, zoned, ok := stamp.AppendRFC3339(nil, text); ok {
			if len(out) > stamp.MaxRFC3339 {
				t.Errorf("%q became %q, longer than MaxRFC3339", text, out)
			}
			layout := time.RFC3339
			if !zoned {
				layout = "2006-01-02T15:04:05"
			}
			if _, err := time.Parse(layout, string(out)); err != nil {
				t.Errorf("%q became %q: %v", text, out, err)
			}
		}
		for _, scale := range []int64{1, 1e3, 1e6, 1e9} {
			if when, ok := stamp.ParseEpoch(text, scale); ok && !stamp.Fits(when) {
				t.Errorf("%q became %v", text, when)
			}
		}
	})
}

func compare(t *testing.T, layout string, text, out []byte) {
	t.Helper()
	want, err := time.Parse(layout, string(text))
	got, gotErr := time.Parse(time.RFC3339, string(out))
	if err != nil || gotErr != nil || !got.Equal(want) {
		t.Errorf("%q became %q (%v), want %v (%v)", text, out, gotErr, want, err)
	}
}

// FuzzLocal: whatever is accepted is the time that package time reads in the same
// text, where package time can.
func FuzzLocal(f *testing.F) {
	for _, text := range []string{
		"2026/11/21 - 09:31:15 | 200", "2026-11-21 09:31:15,719 x", "2026-11-21T09:31:15.123456789123", "2026/02/29 00:00:00", "2024/02/29 23:59:59.",
		"2026-11-21 09:31:60", "2026-11/21 09:31:00", "0000-11-21 09:31:00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, n, ok := stamp.ReadLocal(text, time.UTC)
		if !ok {
			return
		}
		plain := strings.NewReplacer(" - ", " ", "T", " ", "/", "-", ",", ".").Replace(string(text[:n]))
		if at := strings.IndexByte(plain, '.'); at >= 0 && len(plain) > at+10 {
			plain = plain[:at+10]
		}
		want, err := time.Parse("2006-01-02 15:04:05", plain)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q became %v, want %v (%v)", text[:n], got, want, err)
		}
	})
}
