package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxName is the longest name of an agent, a service, a class, an input, an output.
const maxName = 63

// Names end up in paths of the archive and in the names of keys, so they have
// the narrow alphabet of the archive layout.
var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	envName        = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	digestPattern  = regexp.MustCompile(`^(sha256|manifest-sha256|claimed-sha256):[0-9a-f]{64}$`)
)

const nameRule = "must begin with a lower-case letter or digit and have at most 63 of a-z 0-9 . _ -"

func validName(name string) bool { return namePattern.MatchString(name) }

// Size is a number of bytes.
type Size int64

// String spells the size with the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range []struct {
		name string
		size Size
	}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}} {
		if s != 0 && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// parseSize reads a whole number with an optional binary unit.
func parseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "BKMGTPibkmgtp ")
	unit := strings.TrimSpace(text[len(digits):])
	var factor Size
	switch unit {
	case "", "B":
		factor = 1
	case "KiB":
		factor = KiB
	case "MiB":
		factor = MiB
	case "GiB":
		factor = GiB
	case "TiB":
		factor = TiB
	default:
		return 0, fmt.Errorf(`unknown unit %q in size %q; the units are B, KiB, MiB, GiB and TiB`, unit, text)
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, fmt.Errorf(`%q is not a size; write a whole number and a unit, such as "8MiB"`, text)
	}
	if err != nil || Size(number) > math.MaxInt64/factor {
		return 0, fmt.Errorf("size %q is too large", text)
	}
	return Size(number) * factor, nil
}

// ParseDuration reads whole numbers with units, such as "1h30m" or "184d".
// A day has 24 hours and a year 365 days.
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf(`%q is not a duration; write whole numbers with the units ms, s, m, h, d or y, such as "30s" or "184d"`, text)
	if text == "" {
		return 0, wrong
	}
	var total time.Duration
	for rest := text; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		number, err := strconv.ParseInt(rest[:digits], 10, 64)
		if errors.Is(err, strconv.ErrSyntax) {
			return 0, wrong
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		var unit time.Duration
		switch rest[:letters] {
		case "ms":
			unit = time.Millisecond
		case "s":
			unit = time.Second
		case "m":
			unit = time.Minute
		case "h":
			unit = time.Hour
		case "d":
			unit = day
		case "y":
			unit = year
		default:
			return 0, wrong
		}
		rest = rest[letters:]
		if err != nil || number > int64((math.MaxInt64-total)/unit) {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		total += time.Duration(number) * unit
	}
	return total, nil
}

// durationText spells a duration with the largest unit that divides it, as
// ParseDuration reads it.
func durationText(d time.Duration) string {
	for _, unit := range []struct {
		name string
		span time.Duration
	}{{"y", year}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d != 0 && d%unit.span == 0 {
			return strconv.FormatInt(int64(d/unit.span), 10) + unit.name
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// absolute refuses a path whose meaning would depend on where the agent was
// started. A leading slash counts on every system, so that one file serves all.
func absolute(at *node, what, path string) error {
	if filepath.IsAbs(path) || strings.HasPrefix(path, "/") {
		return nil
	}
	if strings.HasPrefix(path, "~") {
		return at.value.errorf("%s must be an absolute path; ~ is not replaced, write the folder that it stands for", what)
	}
	begin := `"/"`
	if runtime.GOOS == "windows" {
		begin = `a drive, as in 'C:\logs'`
	}
	return at.value.errorf("%s must be an absolute path; begin it with %s", what, begin)
}

// fixedLayouts are the time layouts with a name.
func fixedLayouts() []string {
	return []string{"rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"}
}

// checkLayout refuses a layout that no time could be read with.
func checkLayout(at *node, what, layout string) error {
	if slices.Contains(fixedLayouts(), layout) {
		return nil
	}
	if !strings.Contains(layout, "2006") {
		return at.value.errorf(`%s %q is not a time layout; write %s, or how 2 January 2006, 15:04:05 looks, such as "2006-01-02 15:04:05.000"`,
			what, layout, strings.Join(fixedLayouts(), ", "))
	}
	if strings.Contains(layout, "MST") {
		return at.value.errorf("%s %q: abbreviations of zones are ambiguous; write a numeric zone such as -0700", what, layout)
	}
	shown := time.Date(2021, 3, 4, 5, 6, 7, 89e7, time.UTC).Format(layout)
	if _, err := time.Parse(layout, shown); err != nil {
		return at.value.errorf("%s %q can show a time but not read one", what, layout)
	}
	return nil
}
