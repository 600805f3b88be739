package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FileError is something wrong at a place in a configuration file.
type FileError struct {
	File         string
	Line, Column int    // from 1; the column counts characters
	Message      string // one line: what is wrong and what would be right
	Excerpt      string // the lines around the place with a caret under it
}

// Error returns place, message and excerpt.
func (e *FileError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s\n%s", e.File, e.Line, e.Column, e.Message, e.Excerpt)
}

// source is one file.
type source struct {
	name string
	data []byte
}

// span is a range of bytes in a file.
type span struct {
	src        *source
	start, end int
}

// hide returns the same span in a copy of the file without the value.
func (s span) hide(value span) span {
	copied := *s.src
	copied.data = bytes.Clone(copied.data)
	for i := value.start; i < value.end; i++ {
		if copied.data[i] != '\n' {
			copied.data[i] = '*'
		}
	}
	s.src = &copied
	return s
}

// line returns the number of the span's first line, from 1.
func (s span) line() int { return 1 + bytes.Count(s.src.data[:s.start], []byte("\n")) }

// place names file and line.
func (s span) place() string { return fmt.Sprintf("%s:%d", s.src.name, s.line()) }

// errorf makes the error that something is wrong at the span.
func (s span) errorf(format string, args ...any) *FileError {
	data := s.src.data
	from := bytes.LastIndexByte(data[:s.start], '\n') + 1
	to := len(data)
	if i := bytes.IndexByte(data[s.start:], '\n'); i >= 0 {
		to = s.start + i
	}
	number := s.line()
	column := utf8.RuneCount(data[from:s.start])
	marked := bytes.TrimRight(data[s.start:max(s.start, min(s.end, to))], " \t\r")

	var excerpt strings.Builder
	if from > 0 {
		previous := data[:from-1]
		previous = previous[bytes.LastIndexByte(previous, '\n')+1:]
		if len(bytes.TrimSpace(previous)) > 0 {
			shown, _ := clip(printable(string(previous)), 0)
			fmt.Fprintf(&excerpt, "%5d | %s\n", number-1, string(shown))
		}
	}
	shown, before := clip(printable(string(data[from:to])), column)
	fmt.Fprintf(&excerpt, "%5d | %s\n      | ", number, string(shown))
	for _, r := range shown[:before] {
		if r != '\t' {
			r = ' '
		}
		excerpt.WriteRune(r)
	}
	carets := min(utf8.RuneCount(marked), len(shown)-before)
	excerpt.WriteString(strings.Repeat("^", max(1, carets)))

	return &FileError{
		File: s.src.name, Line: number, Column: 1 + column,
		Message: fmt.Sprintf(format, args...), Excerpt: excerpt.String(),
	}
}

// maxExcerpt is how many characters of a line an excerpt shows.
const maxExcerpt = 120

// clip returns the part of a line around a character, and where in that part
// the character is.
func clip(line string, column int) (part []rune, at int) {
	part = []rune(line)
	column = min(column, len(part)) // a carriage return at the end is not shown
	if from := column - maxExcerpt/2; len(part) > maxExcerpt && from > 0 {
		part, column = append([]rune("…"), part[from:]...), column-from+1
	}
	if len(part) > maxExcerpt {
		part = append(part[:maxExcerpt:maxExcerpt], '…')
	}
	return part, column
}

// A secret written into the file by mistake must not travel on into terminals
// and journals with the message about it.
var (
	secretText = regexp.MustCompile(`(?i)(?:token|secret|password|key)s?["']?\s*=\s*["'](.*)`)
	secretUser = regexp.MustCompile(`://([^/@\s"']*)@`)
)

// printable returns a source line of as many characters that is safe to show.
func printable(line string) string {
	line = strings.TrimSuffix(line, "\r")
	for _, pattern := range []*regexp.Regexp{secretText, secretUser} {
		if at := pattern.FindStringSubmatchIndex(line); at != nil {
			hidden := strings.Repeat("*", utf8.RuneCountInString(line[at[2]:at[3]]))
			line = line[:at[2]] + hidden + line[at[3]:]
		}
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, line)
}

// unknown makes the error for a word that is none of those known.
func unknown(at span, what, word, where string, known []string) *FileError {
	if near, found := Nearest(word, known); found {
		return at.errorf("unknown %s %q%s; did you mean %q?", what, word, where, near)
	}
	return at.errorf("unknown %s %q%s; known: %s", what, word, where, strings.Join(known, ", "))
}

// Nearest returns the known word with the smallest edit distance, if one is
// near enough to have been meant, or else one that begins alike.
func Nearest(word string, known []string) (string, bool) {
	best, limit := "", 1+len(word)/4
	for _, candidate := range known {
		if d := distance(strings.ToLower(word), candidate); d < limit || d == limit && best == "" {
			best, limit = candidate, d
		}
	}
	for _, candidate := range known {
		alike := strings.HasPrefix(word, candidate) || strings.HasPrefix(candidate, word)
		if best == "" && alike && min(len(word), len(candidate)) >= 3 {
			best = candidate
		}
	}
	return best, best != ""
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours between two words (optimal string alignment). Words longer than
// any key are far from all of them.
func distance(a, b string) int {
	if len(a) > 2*maxName {
		return len(a)
	}
	var last, row []int
	next := make([]int, len(b)+1)
	for j := range next {
		next[j] = j
	}
	for i := 1; i <= len(a); i++ {
		last, row = row, next
		next = make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], last[j-2]+1)
			}
		}
	}
	return next[len(b)]
}
