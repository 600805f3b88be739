// Package regex reads lines by regular expressions (RE2 syntax): the named
// groups of the first that matches are the source fields. Which group fills
// which record field is said by a map in the configuration; what it does not
// name is not kept.
//
// An expression has to match the whole line: what it says nothing about could
// be what the line is about. RE2 takes time linear in the line, so that no line
// can stop the agent; it still takes some twenty times as long as a preset.
package regex

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// Config is what the parser is told. The path of a mapping is the name of a group.
type Config struct {
	parsers.Config
	Patterns   []string // the first that matches counts
	Fields     []parsers.Mapping
	Set        []parsers.Constant
	TimeLayout string
}

// Parser reads lines by their patterns. It holds nothing between lines.
type Parser struct {
	fields   *fieldmap.Map
	patterns []pattern
}

type pattern struct {
	text  string
	whole *regexp.Regexp
	keys  []fieldmap.Key // by number of group
}

const reasonNoMatch = "no pattern matches"

// New compiles the patterns and the field map.
func New(c Config) (*Parser, error) {
	if len(c.Patterns) == 0 {
		return nil, fmt.Errorf("regex needs at least one pattern")
	}
	fields, err := fieldmap.New(fieldmap.Config{Config: c.Config, Fields: c.Fields, Set: c.Set, TimeLayout: c.TimeLayout, Flat: true})
	if err != nil {
		return nil, err
	}
	p := &Parser{fields: fields}
	groups := map[string]bool{}
	for i, text := range c.Patterns {
		compiled, err := Compile(text)
		if err != nil {
			return nil, fmt.Errorf("pattern %d: %w", i+1, err)
		}
		known := pattern{text: text, whole: compiled}
		for _, name := range compiled.SubexpNames() {
			groups[name] = true
			key := fieldmap.Key{}
			if name != "" {
				key = fields.Key([]byte(name))
			}
			known.keys = append(known.keys, key)
		}
		p.patterns = append(p.patterns, known)
	}
	for _, m := range c.Fields {
		if name := fieldmap.FlatName(m.Path); !groups[name] {
			return nil, fmt.Errorf("map %q: no pattern has a group (?P<%s>…)", m.Field, name)
		}
	}
	return p, nil
}

// Compile compiles a pattern so that it matches whole lines only.
func Compile(text string) (*regexp.Regexp, error) { return regexp.Compile(`^(?:` + text + `)$`) }

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	for i := range p.patterns {
		known := &p.patterns[i]
		match := known.whole.FindSubmatchIndex(line.Data)
		if match == nil {
			continue
		}
		dst = p.fields.Begin(dst, &line)
		for group := 1; group < len(known.keys); group++ {
			from, to := match[2*group], match[2*group+1]
			if from >= 0 && (known.keys[group].Mapped() || known.whole.SubexpNames()[group] != "") {
				p.fields.Take(known.keys[group], line.Data[from:to])
			}
		}
		dst, outcome := p.fields.End(dst)
		return dst, outcome, nil
	}
	return dst, parsers.Outcome{Rule: reasonNoMatch}, nil
}

// Explain implements [parsers.Explainer]: for each pattern, how much of it fits
// how much of the line.
func (p *Parser) Explain(line []byte) string {
	var b strings.Builder
	for i := range p.patterns {
		text := p.patterns[i].text
		last, of := longestFit(text, line)
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "pattern %d", i+1)
		switch last {
		case "":
			fmt.Fprintf(&b, " does not fit the beginning %q", head(line))
		case text:
			fmt.Fprintf(&b, " fits %q and leaves %q", tail(line[:of]), head(line[of:]))
		default:
			fmt.Fprintf(&b, " fits %q, to %s; what comes next does not fit %q", tail(line[:of]), last, head(line[of:]))
		}
	}
	return b.String()
}

// longestFit finds the longest head of a pattern, by whole parts, that fits the
// beginning of a line. It returns the name of its last part, or the pattern when
// that is all of it, and how many bytes of the line it takes.
func longestFit(text string, line []byte) (last string, of int) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat {
		tree = &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{tree}}
	}
	for n := len(tree.Sub); n > 0; n-- {
		part := &syntax.Regexp{Op: syntax.OpConcat, Sub: tree.Sub[:n]}
		compiled, err := regexp.Compile(`^(?:` + part.String() + `)`)
		if err != nil {
			continue
		}
		at := compiled.FindIndex(line)
		if at == nil {
			continue
		}
		if n == len(tree.Sub) {
			return text, at[1]
		}
		if end := tree.Sub[n-1]; end.Op == syntax.OpCapture && end.Name != "" {
			return "its group " + end.Name, at[1]
		}
		return "its part " + tree.Sub[n-1].String(), at[1]
	}
	return "", 0
}

const shown = 40 // bytes of a line around the place where it stops fitting

func head(line []byte) []byte { return line[:min(len(line), shown)] }
func tail(line []byte) []byte { return line[max(0, len(line)-shown):] }

// Dropped implements [parsers.Dropper].
func (p *Parser) Dropped() uint64 { return p.fields.Dropped() }

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string { return p.fields.Trace() }
