package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSizeReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]Size{1, KiB, MiB, GiB, TiB}).Draw(t, "unit")
		size := unit * Size(rapid.Int64Range(0, int64(math.MaxInt64/unit)).Draw(t, "number"))
		got, err := parseSize(size.String())
		if err != nil || got != size {
			t.Fatalf("%d is written %s and read %d, %v", size, size, got, err)
		}
	})
}

func TestDurationReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour, day, year}).Draw(t, "unit")
		d := unit * time.Duration(rapid.Int64Range(0, int64(math.MaxInt64/unit)).Draw(t, "number"))
		got, err := ParseDuration(durationText(d))
		if err != nil || got != d {
			t.Fatalf("%d is written %s and read %d, %v", d, durationText(d), got, err)
		}
	})
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute,
		"1y6d": 371 * 24 * time.Hour, "184d": 184 * 24 * time.Hour,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "10", "1.5h", "-1s", "10 s", "1w", "10S", "293y", "99999999999999999999s", "292y292y"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1048576": MiB, "12B": 12, "64KiB": 64 * KiB, "8 MiB": 8 * MiB, "1TiB": TiB} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "-1", "8mib", "8MB", "8M", "1e3", "8388608TiB", "9223372036854775808"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

// A host name is the default of agent.id, so whatever it is, it makes a name.
func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"GPU-07.fra": "gpu-07.fra", "_host": "host", "": "localhost", "…": "localhost",
		"my host": "my-host", strings.Repeat("x", 80): strings.Repeat("x", 63),
	} {
		if got := cleanName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if name := cleanName(rapid.String().Draw(t, "name")); !validName(name) {
			t.Fatalf("%q is no name", name)
		}
	})
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"paths", "pathes", 1},
		{"paths", "patsh", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance of %q and %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
