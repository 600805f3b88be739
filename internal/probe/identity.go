package probe

import (
	"strings"
)

// Identify returns the canonical identity that stands behind how a server names
// its model: a name of the Hugging Face hub ("org/name"), a path into its cache
// ("…/models--org--name/snapshots/<commit>/…"), which tells the commit as well,
// or another absolute path, which means something on this host alone. Of
// anything else, such as a relative path, nothing is known.
func Identify(model string) (id, revision string) {
	if id, revision := FromCache(model); id != "" {
		return id, revision
	}
	switch {
	case strings.HasPrefix(model, "/"):
		return "file:" + model, ""
	case IsHubName(model):
		return "hf:" + model, ""
	}
	return "", ""
}

// FromCache reads identity and commit out of a path into a Hugging Face cache.
func FromCache(path string) (id, revision string) {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		name, found := strings.CutPrefix(segment, "models--")
		if !found || name == "" {
			continue
		}
		id = "hf:" + strings.ReplaceAll(name, "--", "/")
		if i+2 < len(segments) && segments[i+1] == "snapshots" && IsCommit(segments[i+2]) {
			revision = segments[i+2]
		}
		return id, revision
	}
	return "", ""
}

// IsHubName accepts "org/name" as the hub allows it.
func IsHubName(name string) bool {
	org, model, found := strings.Cut(name, "/")
	return found && hubPart(org) && hubPart(model)
}

func hubPart(s string) bool {
	if s == "" || len(s) > 96 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// IsCommit accepts 40 lower-case hex digits.
func IsCommit(s string) bool { return len(s) == 40 && isHex(s) }

// IsSHA256 accepts 64 lower-case hex digits.
func IsSHA256(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
