// Package version says which build this is.
//
// Its promise: a build from the Makefile carries the version it was given, a
// build by `go install module@version` carries that version, and any other
// build says "dev". The text is one word that is safe in a manifest's agent
// line and in a User-Agent header.
package version

import (
	"runtime/debug"
	"strings"
)

// linked is set by the linker (-X, see the Makefile) and never changed by code.
var linked string

// String returns the version: "v0.2.0", "v0.2.0-5-gabcdef0-dirty", or "dev".
func String() string {
	info, _ := debug.ReadBuildInfo()
	return choose(linked, info)
}

// choose prefers what the linker was told to what the module system knows.
func choose(linked string, info *debug.BuildInfo) string {
	if v := word(linked); v != "" {
		return v
	}
	if info != nil && info.Main.Version != "(devel)" {
		if v := word(info.Main.Version); v != "" {
			return v
		}
	}
	return "dev"
}

// word keeps the characters that need no quoting anywhere a version is written.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(".-+_", r):
			return r
		}
		return -1
	}, s)
}
