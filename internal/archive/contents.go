package archive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
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

func newContents(m *seal.Manifest, most int) *contents {
	return &contents{
		path: m.PayloadPath, expected: m.RecordsTo - m.RecordsFrom, more: make(map[Level]int), most: most,
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

var (
	eventKey  = []byte(`"event":"`)
	agentName = []byte(`agent.`)

	coverageEvent = []byte(`agent.coverage"`)
)

// record looks at one line. Nearly all lines cost a search for their event in
// the first fields and for their number at the end; only records by the agent
// about its own losses are decoded.
func (c *contents) record(index uint64, line []byte) {
	c.number(index, line)
	if at := bytes.Index(line, eventKey); at < 0 || bytes.HasPrefix(line[at+len(eventKey):], agentName) {
		c.own(index, line)
	}
}

// number checks that the line ends in the agent's id and a number above the last.
func (c *contents) number(index uint64, line []byte) {
	seq, ok := c.seqOf(line)
	switch {
	case !ok:
		if c.wrongForm++; c.wrongForm == 1 {
			c.violation(RecordForm, "record %d does not end in %s…}}", index, c.closing)
		}
	case seq <= c.seq && index > 0:
		if c.wrongTurn++; c.wrongTurn == 1 {
			c.violation(RecordOrder, "record %d has agent.seq %d behind %d", index, seq, c.seq)
		}
		c.seq = seq
	default:
		c.seq = seq
	}
}

func (c *contents) seqOf(line []byte) (seq uint64, ok bool) {
	rest, ok := bytes.CutSuffix(line, []byte("}}"))
	if !ok {
		return 0, false
	}
	digits := len(rest)
	for digits > 0 && rest[digits-1] >= '0' && rest[digits-1] <= '9' {
		digits--
	}
	if n := len(rest) - digits; n == 0 || n > 19 || !bytes.HasSuffix(rest[:digits], c.closing) {
		return 0, false
	}
	for _, d := range rest[digits:] {
		seq = seq*10 + uint64(d-'0')
	}
	return seq, true
}

// own takes what the agent says about its reading and its losses.
func (c *contents) own(index uint64, line []byte) {
	if at := bytes.Index(line, eventKey); at >= 0 && bytes.HasPrefix(line[at+len(eventKey):], coverageEvent) {
		c.coverage(index, line)
		return
	}
	if len(line) > maxOwn {
		c.violation(RecordForm, "record %d is the agent's own and has %d bytes", index, len(line))
		return
	}
	var r struct {
		Event  string `json:"event"`
		Source struct {
			ID string `json:"id"`
		} `json:"source"`
		Loss struct {
			Generation string `json:"generation"`
			From       uint64 `json:"from"`
			To         uint64 `json:"to"`
			Bytes      uint64 `json:"bytes"`
			Lines      uint64 `json:"lines"`
			Cause      string `json:"cause"`
		} `json:"loss"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		c.violation(RecordForm, "record %d is not a record: %v", index, err)
		return
	}
	switch r.Event {
	case "agent.coverage":
		c.violation(RecordForm, "record %d names its event in another form", index)
	case "agent.unparsed":
		c.unparsed = saturating(c.unparsed, r.Loss.Lines)
	case "agent.gap":
		c.gap(index, span{source: r.Source.ID, generation: r.Loss.Generation, from: r.Loss.From, to: r.Loss.To}, r.Loss.Bytes, r.Loss.Cause)
	}
}

// maxOwn is the longest record of the agent's own but agent.coverage.
const maxOwn = 1 << 20

// coverage takes the record that ends a batch, which may be long.
func (c *contents) coverage(index uint64, line []byte) {
	var r struct {
		Event    string   `json:"event"`
		Coverage elements `json:"coverage"`
	}
	err := json.Unmarshal(line, &r)
	switch {
	case err != nil:
		c.violation(RecordForm, "record %d is not a record: %v", index, err)
	case r.Event+`"` != string(coverageEvent):
		c.violation(RecordForm, "record %d has two events", index)
	case index+1 != c.expected:
		c.violation(CoverageInvalid, "record %d is agent.coverage, but not the last of %d records", index, c.expected)
	default:
		c.covered = true
		r.Coverage.each(c.coverageOf)
	}
}

// elements are those of a JSON array, which are decoded one after the other: three
// bytes of JSON must not become a hundred of memory. It is valid as long as the line.
type elements []byte

// UnmarshalJSON implements json.Unmarshaler. data is valid JSON.
func (e *elements) UnmarshalJSON(data []byte) error {
	if !bytes.Equal(data, []byte("null")) && data[0] != '[' {
		return errors.New("coverage is not an array")
	}
	*e = data
	return nil
}

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
	var s struct {
		Source     string `json:"source"`
		Generation string `json:"generation"`
		Unit       string `json:"unit"`
		From       uint64 `json:"from"`
		To         uint64 `json:"to"`
		Lines      uint64 `json:"lines"`
	}
	err := errTooLong
	if len(element) <= 4*maxSpanName {
		err = json.Unmarshal(element, &s)
	}
	switch {
	case err != nil:
		c.violation(CoverageInvalid, "a range of the coverage record: %v", err)
	case s.To < s.From || s.Source == "" || s.Generation == "" || s.Unit == "":
		c.violation(CoverageInvalid, "coverage of %s generation %q goes from %d to %d %s", s.Source, s.Generation, s.From, s.To, s.Unit)
	default:
		c.lines = saturating(c.lines, s.Lines)
		c.keep(span{source: s.Source, generation: s.Generation, unit: s.Unit, from: s.From, to: s.To})
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

func (c *contents) gap(index uint64, s span, lost uint64, cause string) {
	if max(len(s.source), len(s.generation), len(cause)) > maxSpanName {
		c.violation(CoverageInvalid, "record %d is a gap: %v", index, errTooLong)
		return
	}
	if s.to < s.from || s.source == "" {
		c.violation(CoverageInvalid, "record %d is a gap of %s from %d to %d", index, s.source, s.from, s.to)
		return
	}
	what := fmt.Sprintf("signed gap: %d bytes of %s could not be read", lost, s.source)
	if s.generation != "" {
		what += fmt.Sprintf(", generation %s from %d to %d", s.generation, s.from, s.to)
		c.keep(s)
	}
	if cause != "" {
		what += " (" + cause + ")"
	}
	c.add(Notice, Gap, "%s", what)
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
