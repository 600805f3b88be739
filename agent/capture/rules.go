package capture

import (
	"slices"
	"strings"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Mode says what of the content is kept.
type Mode string

// The modes.
const (
	None      Mode = "none"      // that there was content, nothing of it
	Hashed    Mode = "hashed"    // keyed hash and size
	Redacted  Mode = "redacted"  // the text too, without what the detectors find
	Encrypted Mode = "encrypted" // the text too, for the recipients' eyes
	Full      Mode = "full"      // the text too
)

func (m Mode) known() bool {
	return slices.Contains([]Mode{None, Hashed, Redacted, Encrypted, Full}, m)
}

// both returns the mode that keeps nothing but what either mode keeps.
func both(a, b Mode) Mode {
	switch {
	case a == b, b == Full:
		return a
	case a == Full:
		return b
	case a == None, b == None:
		return None
	default:
		return Hashed
	}
}

// Rule chooses the mode of some content. What it leaves empty fits all; in Model
// and Workspace a * stands for any text.
type Rule struct {
	Input     string
	Model     string // model.name, or model.served
	Workspace string
	Direction string // "input", "output"
	Mode      Mode
}

const (
	directionInput  = "input"
	directionOutput = "output"
)

// onDirection tells whether the rule is about a direction.
func (r *Rule) onDirection(d parsers.Direction) bool {
	switch r.Direction {
	case directionInput:
		return d == parsers.Entered
	case directionOutput:
		return d == parsers.Returned
	default:
		return true
	}
}

// mode returns the mode of content in a record: that of the first rule that fits.
func (p *Policy) mode(r *audit.Record, d parsers.Direction) Mode {
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.onDirection(d) &&
			(rule.Model == "" || like(rule.Model, r.Text(audit.ModelName)) || like(rule.Model, r.Text(audit.ModelServed))) &&
			(rule.Workspace == "" || like(rule.Workspace, r.Text(audit.Workspace))) {
			return rule.Mode
		}
	}
	return p.fallback
}

// modeOfHeld returns the mode of content whose record is not complete, so that
// its model and workspace may not be known. It keeps nothing but what every rule
// keeps that may turn out to be the one.
func (p *Policy) modeOfHeld(c *parsers.Content, d parsers.Direction) Mode {
	mode := Full
	for i := range p.rules {
		rule := &p.rules[i]
		if !rule.onDirection(d) || c.Model != "" && rule.Model != "" && !like(rule.Model, []byte(c.Model)) {
			continue
		}
		mode = both(mode, rule.Mode)
		if rule.Workspace == "" && (rule.Model == "" || c.Model != "") {
			return mode // this rule at the latest
		}
	}
	return both(mode, p.fallback)
}

// like tells whether text fits a pattern in which * stands for any text. No
// text fits none.
func like(pattern string, text []byte) bool {
	if len(text) == 0 {
		return false
	}
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return string(text) == pattern
	}
	if len(text) < len(head) || string(text[:len(head)]) != head {
		return false
	}
	left := string(text[len(head):])
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(left, part)
		}
		_, left, star = strings.Cut(left, part)
		if !star {
			return false
		}
		rest = after
	}
}
