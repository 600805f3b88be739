// Package redact finds secrets and personal data in text.
//
// What it promises: time linear in the text and memory bounded, whatever the
// text is; a text without candidates costs little more than reading it; and of
// two things that look alike, the one with a check digit is reported only when
// the digit is right. What it does not promise: names of people, addresses and
// other things without a form are not found by patterns.
//
// Secrets are what nobody may keep: keys with well-known prefixes, tokens,
// private keys, passwords in addresses and headers. Personal data are what the
// capture mode "redacted" takes out besides.
package redact

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Types of what is found.
const (
	Key      = "KEY"      // an API key or token with a well-known form
	JWT      = "JWT"      // JSON web token, RFC 7519
	PEM      = "PEM"      // private key, RFC 7468
	Password = "PASSWORD" // in a URL, in basic authentication, behind password=
	Mail     = "MAIL"
	Phone    = "PHONE"
	Card     = "CARD" // payment card, ISO/IEC 7812, Luhn
	IBAN     = "IBAN" // ISO 13616, mod 97
	SSN      = "SSN"  // US social security number
	IP       = "IP"   // IPv4 and IPv6
)

// Span is one find: text[Start:End] is of the type.
type Span struct {
	Start, End int
	Type       string
}

// Pattern is a detector of the operator's own.
type Pattern struct {
	Name  string // type of what it finds
	Regex *regexp.Regexp
	Check Check
}

// Check is the check digit that a find must have.
type Check string

// The checks.
const (
	NoCheck Check = ""
	Luhn    Check = "luhn"  // last digit, ISO/IEC 7812-1, annex B
	Mod97   Check = "mod97" // ISO 7064 as IBANs use it: the first four characters go to the end
)

// Detectors finds secrets, personal data and what the operator's own patterns
// match. It is safe for concurrent use.
type Detectors struct {
	own   []Pattern
	limit time.Duration
}

// New returns detectors that give up on a text after the limit.
func New(own []Pattern, limit time.Duration) (*Detectors, error) {
	for _, p := range own {
		switch {
		case p.Check != NoCheck && p.Check != Luhn && p.Check != Mod97:
			return nil, fmt.Errorf("detector %s: unknown check %q", p.Name, p.Check)
		case p.Regex.Match(nil):
			return nil, fmt.Errorf("detector %s: the pattern matches the empty text", p.Name)
		}
	}
	return &Detectors{own: own, limit: limit}, nil
}

// Why Find gives up. The spans that come with an error are no result.
var (
	ErrTooSlow = errors.New("the detectors took too long")
	ErrTooMany = errors.New("the detectors found too much")
	ErrPanic   = errors.New("a detector failed")
)

// maxSpans bounds what is found in one text.
const maxSpans = 20_000

// Find appends what is found in text to dst, in the order of the text and
// without overlaps.
func (d *Detectors) Find(dst []Span, text []byte) (spans []Span, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			spans, err = dst[:0], fmt.Errorf("%w: %v", ErrPanic, failure)
		}
	}()
	began := time.Now()
	first := len(dst)
	for _, pass := range [...]func([]Span, []byte) []Span{appendSecrets, appendMails, appendNumbers, appendIPv6} {
		if dst = pass(dst, text); len(dst)-first > maxSpans {
			return dst[:first], ErrTooMany
		}
		if time.Since(began) > d.limit {
			return dst[:first], ErrTooSlow
		}
	}
	for i := range d.own {
		if dst = d.own[i].find(dst, text); len(dst)-first > maxSpans {
			return dst[:first], ErrTooMany
		}
		if time.Since(began) > d.limit {
			return dst[:first], ErrTooSlow
		}
	}
	return tidy(dst, first), nil
}

// Secrets appends the secrets in text to dst, in the order of the text and
// without overlaps. It allocates only to grow dst.
func Secrets(dst []Span, text []byte) []Span {
	first := len(dst)
	return tidy(appendSecrets(dst, text), first)
}

// Scrub returns the text with a placeholder, such as [KEY], in the place of each
// secret, and whether there was one; without, it returns the text itself.
func Scrub(text []byte) (scrubbed []byte, found bool) {
	spans := Secrets(nil, text)
	if len(spans) == 0 {
		return text, false
	}
	at := 0
	for _, s := range spans {
		scrubbed = append(append(append(append(scrubbed, text[at:s.Start]...), '['), s.Type...), ']')
		at = s.End
	}
	return append(scrubbed, text[at:]...), true
}

// find appends what the pattern matches: its first group, or all of it.
func (p *Pattern) find(dst []Span, text []byte) []Span {
	for _, at := range p.Regex.FindAllSubmatchIndex(text, maxSpans+1) {
		start, end := at[0], at[1]
		if len(at) > 2 && at[2] >= 0 {
			start, end = at[2], at[3]
		}
		if start < end && p.Check.holds(text[start:end]) {
			dst = append(dst, Span{Start: start, End: end, Type: p.Name})
		}
	}
	return dst
}

func (c Check) holds(text []byte) bool {
	switch c {
	case Luhn:
		return isLuhn(text)
	case Mod97:
		return isMod97(text)
	default:
		return true
	}
}

// tidy sorts the spans from first on and joins those that overlap: the type is
// that of the one that begins first, the longer one when they begin together.
func tidy(spans []Span, first int) []Span {
	list := spans[first:]
	if len(list) < 2 {
		return spans
	}
	slices.SortStableFunc(list, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End))
	})
	last := 0
	for _, s := range list[1:] {
		if s.Start < list[last].End {
			list[last].End = max(list[last].End, s.End)
			continue
		}
		last++
		list[last] = s
	}
	return spans[:first+last+1]
}

func isDigit(c byte) bool { return c-'0' < 10 }
func isLower(c byte) bool { return c-'a' < 26 }
func isUpper(c byte) bool { return c-'A' < 26 }
func isAlnum(c byte) bool { return isDigit(c) || isLower(c|0x20) }

// freeBefore tells that no word runs on into the one that begins at i. Bytes
// beyond ASCII end a word: Chinese and Japanese put no space in front of a number.
func freeBefore(text []byte, i int) bool { return i == 0 || !isAlnum(text[i-1]) }

// freeAfter tells that no word runs on behind i.
func freeAfter(text []byte, i int) bool { return i >= len(text) || !isAlnum(text[i]) }
