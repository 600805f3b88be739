package file

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// compressedSuffixes are what rotation puts behind the name of what it packed.
func compressedSuffixes() []string { return []string{".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z"} }

// plainName cuts the suffix of a compressed file off.
func plainName(name string) (plain string, compressed bool) {
	for _, suffix := range compressedSuffixes() {
		if plain, ok := strings.CutSuffix(name, suffix); ok && plain != "" {
			return plain, true
		}
	}
	return name, false
}

// rotation is how the name of a rotated file differs from the name it had.
type rotation struct {
	stamp string // ".1", "-20251121", ".old"; "" for names that are no rotated form
	infix bool   // the stamp stands in front of the extension: app-20251121.log
}

// rotationOf tells what rotation put into the base name of a file to make
// name of it. Only stamps of digits and a few fixed words count, so that
// app-worker.log is never taken for a rotated app.log.
func rotationOf(base, name string) rotation {
	name, _ = plainName(name)
	if rest, ok := strings.CutPrefix(name, base); ok && isStamp(rest) {
		return rotation{stamp: rest}
	}
	extension := filepath.Ext(base)
	stem := strings.TrimSuffix(base, extension)
	if extension == "" || stem == "" {
		return rotation{}
	}
	rest, ok := strings.CutPrefix(name, stem)
	if !ok {
		return rotation{}
	}
	if rest, ok = strings.CutSuffix(rest, extension); ok && isStamp(rest) {
		return rotation{stamp: rest, infix: true}
	}
	return rotation{}
}

func (r rotation) rotated() bool { return r.stamp != "" }

// number returns n of a stamp like ".n", and -1 for others.
func (r rotation) number() int {
	if len(r.stamp) < 2 || len(r.stamp) > 5 {
		return -1
	}
	n, err := strconv.ParseUint(r.stamp[1:], 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// leastDate is the length of the shortest stamp that is a date: -20251121.
const leastDate = 9

// follows tells whether a file with this rotation may come after one with the
// other by the same scheme. The zero rotation is that of a file under its own
// name.
func (r rotation) follows(other rotation) bool {
	switch {
	case !r.rotated():
		return false
	case other.rotated():
		return r.infix == other.infix && r.stamp[0] == other.stamp[0]
	default:
		return !r.infix || len(r.stamp) >= leastDate // app-2.log may be another program's
	}
}

// shapeOf returns a name with its runs of digits taken out.
func shapeOf(name string) string {
	var b strings.Builder
	digits := false
	for i := range len(name) {
		if c := name[i]; c < '0' || c > '9' {
			b.WriteByte(c)
			digits = false
		} else if !digits {
			b.WriteByte('#')
			digits = true
		}
	}
	return b.String()
}

func isStamp(s string) bool {
	if s == "~" {
		return true
	}
	if len(s) < 2 || !strings.ContainsRune(".-_", rune(s[0])) {
		return false
	}
	if slices.Contains([]string{"old", "bak", "prev", "orig"}, s[1:]) {
		return true
	}
	return strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0123456789.-_:+TZ") == ""
}

// unrotated returns the names that a rotated file of this name may have had.
func unrotated(name string) []string {
	name, _ = plainName(name)
	extension := filepath.Ext(name)
	var out []string
	for i := 1; i < len(name); i++ {
		if !strings.ContainsRune(".-_~", rune(name[i])) {
			continue
		}
		for _, base := range []string{name[:i], name[:i] + extension} {
			if base != name && rotationOf(base, name).rotated() {
				out = append(out, base)
			}
		}
	}
	return out
}

// related tells whether name is base rotated, rotated further, or compressed.
func related(base, name string) bool {
	if plain, packed := plainName(name); packed && plain == base || rotationOf(base, name).rotated() {
		return true
	}
	for _, original := range unrotated(base) {
		if rotationOf(original, name).rotated() {
			return true
		}
	}
	return false
}
