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

// number returns n of a stamp like ".n", and -1 for others. Higher is older.
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

// after tells whether a file with this rotation was written after the other,
// by the same scheme of rotation. Numbers decide where both carry one, because
// they hold when the clock jumped; else the modification times do.
func (r rotation) after(modified int64, other rotation, otherModified int64) bool {
	switch {
	case !r.rotated():
		return false
	case other.rotated():
		if r.infix != other.infix || r.stamp[0] != other.stamp[0] {
			return false
		}
	case r.infix && len(r.stamp) < leastDate:
		return false // app-2.log may be another program's
	}
	if a, b := r.number(), other.number(); a >= 0 && b >= 0 {
		return a < b
	}
	return modified >= otherModified // time stamps are coarser than rotations can be
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
