package archive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/auditail/auditail/seal"
)

// span is a half-open range of one source generation that a batch accounts for:
// read (coverage) or lost (gap).
type span struct {
	source, generation string
	unit               string // "" of a gap
	from, to           uint64
}

// contents is what the records of one batch say about themselves. Its record
// method sees every line; end judges.
type contents struct {
	path     string
	closing  []byte // what every line holds before its number: the agent's id
	expected uint64 // records by the manifest: the last one is the coverage record
	findings []Finding
	more     map[Level]int // findings beyond maxOfOne

	tallies *tallies // nil without a survey
	walker  *walker
	event   []byte // of the record in hand
	closed  bool   // its last name is agent

	seq       uint64
	wrongForm uint64 // lines
	wrongTurn uint64
	covered   bool
	unparsed  uint64 // lines, summed over agent.unparsed
	lines     uint64 // summed over the coverage record
	spans     []span // nil when spilled
	most      int    // bytes that they may take
	taken     int
	spilled   bool // they would take more
}

const (
	// maxWaiting is how much the spans of a payload may take while it waits for its
	// turn. Those of one that has more are read once more then.
	maxWaiting = 256 << 10
	// maxSpans is how much they may take at all.
	maxSpans = 4 << 20
	// spanSize is what a span takes beside its names.
	spanSize = 64
	// maxSpanName is the longest name of a source, generation, unit or cause.
	maxSpanName = 1024
)

func newContents(m *seal.Manifest, most int, w *walker) *contents {
	return &contents{
		walker: w,
		path:   m.PayloadPath, expected: m.RecordsTo - m.RecordsFrom, more: make(map[Level]int), most: most,
		closing: fmt.Appendf(nil, `"agent":{"id":%q,"seq":`, m.Origin.Agent),
	}
}

// maxOfOne is how many findings one payload may make.
const maxOfOne = 1000

func (c *contents) add(level Level, code Code, format string, args ...any) {
	if len(c.findings) >= maxOfOne {
		c.more[level]++
		return
	}
	c.findings = append(c.findings, Finding{Level: level, Code: code, Path: c.path, What: fmt.Sprintf(format, args...)})
}

func (c *contents) violation(code Code, format string, args ...any) {
	c.add(Violation, code, format, args...)
}

// record looks at one line: that it is a record at all, and its number. Only records
// by the agent about its own losses are looked into.
func (c *contents) record(index uint64, line []byte) {
	c.event, c.closed = nil, false
	defer func() { c.event = nil }() // it is a part of the line
	if c.tallies != nil {
		c.tallies.groups = c.tallies.groups[:0]
	}
	err := c.walker.walk(line, c.member)
	seq, ok := c.seqOf(line)
	if ok {
		c.number(index, seq)
	}
	switch {
	case err != nil:
		c.form(index, err.Error())
		return
	case !ok || !c.closed:
		c.form(index, fmt.Sprintf("it does not end in %s…}}", c.closing))
		return
	}
	event, ok := decode(c.event)
	if !ok {
		c.form(index, "it has no event")
		return
	}
	if c.tallies != nil {
		c.tallies.record(event, line)
	}
	if bytes.HasPrefix(event, []byte("agent.")) {
		c.own(index, line, string(event))
	}
}

// member takes note of what is wanted of a record. A value is valid as long as the line.
func (c *contents) member(name, value []byte) {
	if c.tallies != nil {
		c.tallies.member(name, value)
	}
	if c.closed = string(name) == "agent"; !c.closed && string(name) == "event" {
		c.event = value
	}
}

// form reports a line that is no record, or not one of this agent.
func (c *contents) form(index uint64, why string) {
	if c.wrongForm++; c.wrongForm == 1 {
		c.violation(RecordForm, "record %d: %s", index, why)
	}
}

// number checks that the number of a line is above the last one.
func (c *contents) number(index, seq uint64) {
	if index > 0 && seq <= c.seq {
		if c.wrongTurn++; c.wrongTurn == 1 {
			c.violation(RecordOrder, "record %d has agent.seq %d behind %d", index, seq, c.seq)
		}
	}
	c.seq = seq
}

// seqOf returns the number at the end of a line that ends in the agent's id and one.
func (c *contents) seqOf(line []byte) (seq uint64, ok bool) {
	rest, ok := bytes.CutSuffix(line, []byte("}}"))
	if !ok {
		return 0, false
	}
	from := len(rest)
	for from > 0 && rest[from-1] >= '0' && rest[from-1] <= '9' {
		from--
	}
	seq, ok = decodeCount(rest[from:])
	return seq, ok && bytes.HasSuffix(rest[:from], c.closing)
}

// own takes what the agent says about its reading and its losses.
func (c *contents) own(index uint64, line []byte, event string) {
	if event == "agent.coverage" {
		c.coverage(index, line)
		return
	}
	if len(line) > maxOwn {
		c.form(index, fmt.Sprintf("it is the agent's own and has %d bytes", len(line)))
		return
	}
	if event != "agent.unparsed" && event != "agent.gap" {
		return
	}
	var l loss
	if err := l.read(&c.walker.object, line); err != nil {
		c.violation(CoverageInvalid, "record %d, %s: %v", index, event, err)
		return
	}
	if event == "agent.unparsed" {
		c.unparsed = saturating(c.unparsed, l.lines)
		return
	}
	c.gap(index, &l)
}

// maxOwn is the longest record of the agent's own but agent.coverage.
const maxOwn = 1 << 20

// loss is what agent.gap and agent.unparsed tell.
type loss struct {
	span
	ranged       bool // from and to are there
	bytes, lines uint64
	cause        string
}

// read reads a record, which is an object of good form.
func (l *loss) read(o *object, line []byte) error {
	var source, lost []byte
	err := o.walk(line, func(name, value []byte) {
		switch string(name) {
		case "source":
			source = value
		case "loss":
			lost = value
		}
	})
	if err != nil {
		return err
	}
	wrong := ""
	texts := func(to *string, name, value []byte) {
		if s, ok := decodeText(value); ok && len(s) <= maxSpanName {
			*to = s
		} else {
			wrong = string(name)
		}
	}
	counts := func(to *uint64, name, value []byte) {
		n, ok := decodeCount(value)
		if *to = n; !ok {
			wrong = string(name)
		}
	}
	if source != nil {
		if err := o.walk(source, func(name, value []byte) {
			if string(name) == "id" {
				texts(&l.source, name, value)
			}
		}); err != nil {
			return fmt.Errorf("source: %w", err)
		}
	}
	ends := 0
	if err := o.walk(lost, func(name, value []byte) {
		switch string(name) {
		case "generation":
			texts(&l.generation, name, value)
		case "cause":
			texts(&l.cause, name, value)
		case "from":
			counts(&l.from, name, value)
			ends++
		case "to":
			counts(&l.to, name, value)
			ends++
		case "bytes":
			counts(&l.bytes, name, value)
		case "lines":
			counts(&l.lines, name, value)
		}
	}); err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	if l.ranged = ends == 2; wrong != "" {
		return fmt.Errorf("its %.*q has not the form", maxSpanName, wrong)
	}
	return nil
}

// coverage takes the record that ends a batch, which may be long.
func (c *contents) coverage(index uint64, line []byte) {
	if index+1 != c.expected {
		c.violation(CoverageInvalid, "record %d is agent.coverage, but not the last of %d records", index, c.expected)
		return
	}
	c.covered = true
	var list elements
	err := c.walker.object.walk(line, func(name, value []byte) {
		if string(name) == "coverage" {
			list = value
		}
	})
	if err != nil || len(list) == 0 || list[0] != '[' {
		c.violation(CoverageInvalid, "the coverage record has no list of ranges")
		return
	}
	list.each(c.coverageOf)
}

// elements are those of a JSON array, which are decoded one after the other: three
// bytes of JSON must not become a hundred of memory. It is valid as long as the line.
type elements []byte

// each calls take for every element of an array, until it returns false.
func (e elements) each(take func([]byte) bool) {
	depth, quoted, start := 0, false, 1
	for i := 0; i < len(e); i++ {
		switch b := e[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '[' || b == '{':
			depth++
		case b == ']' || b == '}':
			depth--
		}
		if !quoted && (e[i] == ',' && depth == 1 || depth == 0) {
			if element := bytes.TrimSpace(e[min(start, i):i]); len(element) > 0 && !take(element) {
				return
			}
			start = i + 1
		}
	}
}

// coverageOf takes one range of the coverage record. It gives up behind a thousand
// that are wrong.
func (c *contents) coverageOf(element []byte) bool {
	var s span
	var lines uint64
	err, there, wrong := errTooLong, 0, false
	if len(element) <= 8*maxSpanName {
		err = c.walker.object.walk(element, func(name, value []byte) {
			var ok bool
			switch string(name) {
			case "source":
				s.source, ok = decodeText(value)
			case "generation":
				s.generation, ok = decodeText(value)
			case "unit":
				s.unit, ok = decodeText(value)
			case "from":
				s.from, ok = decodeCount(value)
			case "to":
				s.to, ok = decodeCount(value)
			case "lines":
				lines, ok = decodeCount(value)
			default:
				return
			}
			wrong = wrong || !ok
			there++
		})
	}
	switch {
	case err != nil:
		c.violation(CoverageInvalid, "a range of the coverage record: %v", err)
	case max(len(s.source), len(s.generation), len(s.unit)) > maxSpanName:
		c.violation(CoverageInvalid, "a range of the coverage record: %v", errTooLong)
	case wrong || there != 6 || s.to < s.from || s.source == "" || s.generation == "" || s.unit == "":
		c.violation(CoverageInvalid, "coverage of %s generation %q goes from %d to %d %s", s.source, s.generation, s.from, s.to, s.unit)
	default:
		c.lines = saturating(c.lines, lines)
		c.keep(s)
	}
	return len(c.findings) < maxOfOne
}

var errTooLong = errors.New("it has names that no agent gives")

// keep takes a span, unless there are too many.
func (c *contents) keep(s span) {
	c.taken += spanSize + len(s.source) + len(s.generation)
	if c.spilled = c.spilled || c.taken > c.most; c.spilled {
		c.spans = nil
		return
	}
	c.spans = append(c.spans, s)
}

func (c *contents) gap(index uint64, l *loss) {
	if l.to < l.from || l.source == "" || l.cause == "" || l.generation != "" && !l.ranged {
		c.violation(CoverageInvalid, "record %d is a gap of %s from %d to %d (%s)", index, l.source, l.from, l.to, l.cause)
		return
	}
	what := fmt.Sprintf("signed gap: %d bytes of %s could not be read", l.bytes, l.source)
	if l.bytes == 0 && l.lines > 0 {
		what = fmt.Sprintf("signed gap: %d lines of %s are not recorded", l.lines, l.source)
	}
	if l.generation != "" {
		what += fmt.Sprintf(", generation %s from %d to %d", l.generation, l.from, l.to)
		c.keep(l.span)
	}
	c.add(Notice, Gap, "%s (%s)", what, l.cause)
}

// saturating adds without wrapping around, so that no sum can be made to fit.
func saturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// end judges once all records were seen and proven to be the sealed ones.
func (c *contents) end(m *seal.Manifest) {
	if c.wrongForm > 1 {
		c.violation(RecordForm, "and %d more records like this", c.wrongForm-1)
	}
	if c.wrongTurn > 1 {
		c.violation(RecordOrder, "and %d more records like this", c.wrongTurn-1)
	}
	if !c.covered {
		c.violation(CoverageMissing, "the last record is not agent.coverage: what was read is not accounted for")
	} else if c.lines != m.Lines.Read {
		c.violation(CoverageLines, "the coverage record counts %d lines, the manifest %d", c.lines, m.Lines.Read)
	}
	if c.unparsed != m.Lines.Unparsed {
		c.violation(UnparsedLines, "the unparsed records count %d lines, the manifest %d", c.unparsed, m.Lines.Unparsed)
	}
	c.unlisted(Violation, CoverageInvalid)
	c.unlisted(Notice, Gap)
	slices.SortStableFunc(c.spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.generation, b.generation), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
}

// unlisted counts the findings of a level for which there was no room.
func (c *contents) unlisted(level Level, code Code) {
	if n := c.more[level]; n > 0 {
		what := fmt.Sprintf("%d more findings about this payload are not listed", n)
		c.findings = append(c.findings, Finding{Level: level, Code: code, Path: c.path, What: what})
	}
}

// coverage joins the ranges of an agent's batches, in their order.
type coverage struct {
	at    map[generation]position
	units []string // by position.unit; the first is that of nothing but gaps
	// doubts counts the batches so far whose ranges nobody knows any more. Where
	// one lies between two ranges of a generation, a hole proves nothing.
	doubts uint32
}

func newCoverage() coverage {
	return coverage{at: make(map[generation]position), units: []string{""}}
}

// generation is the hash of source and generation: an agent whose files rotate
// for years has millions, of which nothing but the end is needed.
type generation [16]byte

func generationOf(source, name string) (g generation) {
	sum := sha256.Sum256([]byte(source + "\x00" + name))
	copy(g[:], sum[:])
	return g
}

type position struct {
	to     uint64
	doubts uint32
	unit   uint8
}

// unit returns the number of a unit.
func (c *coverage) unit(name string) uint8 {
	at := slices.Index(c.units, name)
	if at < 0 {
		at = len(c.units)
		if at == math.MaxUint8 {
			return math.MaxUint8 // all further ones: there are two
		}
		c.units = append(c.units, name)
	}
	return uint8(at)
}

// join takes the ranges of the next batch, sorted.
func (c *coverage) join(path string, spans []span) []Finding {
	var findings []Finding
	violation := func(code Code, format string, args ...any) {
		findings = append(findings, Finding{Level: Violation, Code: code, Path: path, What: fmt.Sprintf(format, args...)})
	}
	for _, s := range spans {
		key, unit := generationOf(s.source, s.generation), c.unit(s.unit)
		p := c.at[key] // a generation that was never seen starts at 0
		switch {
		case s.from > p.to && p.doubts == c.doubts:
			violation(CoverageHole, "%s generation %s: nothing accounts for %d to %d", s.source, s.generation, p.to, s.from)
		case s.from < p.to && s.from < s.to && s.unit != "": // a gap may take back what was accounted for: its records were lost since
			violation(CoverageOverlap, "%s generation %s: %d to %d was accounted for before", s.source, s.generation, s.from, min(p.to, s.to))
		}
		if p.unit != 0 && unit != 0 && p.unit != unit {
			violation(CoverageInvalid, "%s generation %s is counted in %s, before in another unit", s.source, s.generation, s.unit)
		}
		c.at[key] = position{to: max(p.to, s.to), doubts: c.doubts, unit: cmp.Or(unit, p.unit)}
	}
	return findings
}
