// Package fieldmap fills records from named values: the members of a JSON
// object, the pairs of a logfmt line, the columns of a CSV. Which source field
// fills which record field is said by a map; what it does not name is not kept.
//
// The reader is strict where a lenient one could be tricked into telling an
// auditor another story than the program that wrote the line: keys match
// exactly, of a key that stands twice the first counts and the record says so,
// and what is not JSON (RFC 8259) is not guessed at. A line is read once, from
// left to right, without building a tree and without allocating.
package fieldmap

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Config is the map.
type Config struct {
	parsers.Config
	Fields     []Mapping  // in any order; each record field at most once
	Set        []Constant // values that every record gets
	TimeLayout string     // of times whose Mapping has none; empty: rfc3339

	// Flat lines have no nesting: a path is one key, dots included.
	Flat bool

	// Slots are source paths whose values a preset looks at itself; Slot returns
	// them. A path may be mapped to a field as well.
	Slots [][]string
	// Embedded are source paths whose object or array some writers put there as a
	// string of JSON. It is read like the value itself.
	Embedded [][]string
	// Decide is called when a line was read, before the record is completed from
	// what it says. A preset sets there what follows from its slots. Any verdict
	// but Recorded is the line's own and ends its reading. nil: every line goes on.
	Decide func(m *Map, d *parsers.Draft) parsers.Outcome
}

// Mapping and Constant are those of package parsers.
type (
	Mapping  = parsers.Mapping
	Source   = parsers.Source
	Constant = parsers.Constant
)

// Map is a compiled field map with the state of the line in hand. It holds
// nothing between lines, and is used by one goroutine at a time.
type Map struct {
	provider   string
	root       *node
	nodes      int
	constants  []constant
	flat       bool
	decide     func(*Map, *parsers.Draft) parsers.Outcome
	trace      map[audit.Field]string
	mapsPath   bool // api.path is in the field map
	mapsEvent  bool // event is in the field map
	mapsSystem bool // the system instructions are in the field map
	dropped    atomic.Uint64
	pass       pass
	routes     parsers.Classifier
	spare      parsers.Draft // of ReadSlots
}

// New compiles the map.
func New(config Config) (*Map, error) {
	if len(config.Fields)+len(config.Slots) == 0 {
		return nil, errors.New("the field map is empty")
	}
	c := compiler{
		config: &config, used: map[string]bool{},
		parser: &Map{provider: config.Provider, root: &node{}, decide: config.Decide, flat: config.Flat},
	}
	for _, m := range config.Fields {
		if err := c.addMapping(m); err != nil {
			return nil, err
		}
	}
	for i, path := range config.Slots {
		n := c.parser.growPath(path)
		n.targets = append(n.targets, target{purpose: toSlot, slot: i})
	}
	for _, constant := range config.Set {
		if err := c.addConstant(constant); err != nil {
			return nil, err
		}
	}
	for _, path := range config.Embedded {
		c.parser.growPath(path).embedded = true
	}
	m := c.finish()
	m.pass = pass{
		zone: config.Zone(), config: &config.Config, seen: make([]uint64, m.nodes/64+1), ranks: make([]uint8, c.groups+1), slots: make([][]byte, len(config.Slots)),
		noSystem: m.mapsSystem,
	}
	return m, nil
}

// Dropped returns how many source fields had no home in a record: not in the
// map, or with a value that their record field does not take.
func (m *Map) Dropped() uint64 { return m.dropped.Load() }

// Trace names the source field of each record field.
func (m *Map) Trace() map[audit.Field]string { return m.trace }

// Slot returns the value of a slot in the line in hand: the text of a string, a
// number or true and false as written, an object or array as the valid JSON it
// is. nil: the line has none. It is valid until the next line.
func (m *Map) Slot(i int) []byte { return m.pass.slots[i] }

// pass is the state of reading one line.
type pass struct {
	data   []byte
	cut    bool // the line is only the head of a longer one
	draft  *parsers.Draft
	zone   *time.Location
	config *parsers.Config
	now    time.Time // when the line was read, for times without a year
	seen   []uint64  // nodes met so far, by number

	scratch []byte // decoded strings
	list    []byte // an encoded array or object in the making
	extra   []byte // members of extra
	item    []byte // members of the only item of data

	target, method []byte // of the request; nil when not in the line
	status         int
	userAgent      []byte

	ranks     []uint8 // per field with several sources: 1 + the rank of the one used, 0: none
	slots     [][]byte
	met       []int // slots that the line filled with a scalar, in its order
	scalars   bool  // objects and arrays do not go into slots
	noSystem  bool  // system instructions are not looked for in what was entered
	filled    int   // values that found a home, times not counted
	dropped   int
	duplicate bool
	replaced  bool // bytes that are no UTF-8
}

// begin readies the pass for a line.
func (p *pass) begin(line *parsers.Line, d *parsers.Draft) {
	clear(p.seen)
	clear(p.ranks)
	clear(p.slots)
	*p = pass{
		data: line.Data, cut: line.Cut, draft: d, zone: p.zone, config: p.config, now: line.Seen, seen: p.seen, ranks: p.ranks,
		slots: p.slots, met: p.met[:0],
		scratch: p.scratch[:0], list: p.list, extra: p.extra[:0], item: p.item[:0], status: parsers.NoStatus, noSystem: p.noSystem,
	}
}

// ParseJSON makes the record of a line of JSON; it is what the Parse of a parser
// over a map does.
func (m *Map) ParseJSON(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	dst, d := parsers.Next(dst)
	m.pass.begin(line, d)
	if reason := m.pass.read(m.root); reason != "" {
		m.pass.forget()
		return dst[:len(dst)-1], parsers.Outcome{Rule: reason}
	}
	return m.end(dst)
}

// end completes the record of the line in hand.
func (m *Map) end(dst []parsers.Draft) ([]parsers.Draft, parsers.Outcome) {
	outcome := m.complete(&m.pass)
	m.pass.forget()
	if outcome.Verdict != parsers.Recorded {
		return dst[:len(dst)-1], outcome
	}
	return dst, outcome
}

// forget lets go of the line, and of memory that only a long line needs.
func (p *pass) forget() {
	p.data, p.draft, p.target, p.method, p.userAgent = nil, nil, nil, nil, nil
	for _, kept := range []*[]byte{&p.scratch, &p.list, &p.extra, &p.item} {
		if cap(*kept) > mostKept {
			*kept = nil
		}
	}
}

// mostKept is how much of its memory a buffer of a pass keeps between lines.
const mostKept = 64 << 10

// Facts is what ReadSlots says about a line.
type Facts struct {
	Met        []int // slots that have a value, in the order of the line; valid until the next line
	Dropped    int   // fields that no slot takes
	Truncated  bool  // the line is only the head of a longer one, and ended in the middle
	Duplicates bool  // a key on a path to a slot stood twice; the first one counts
	Replaced   bool  // bytes that are no UTF-8 were replaced
}

// ReadSlots reads a line of JSON for its slots alone; objects and arrays do not
// go into them. reason says why the line can not be understood, if so.
func (m *Map) ReadSlots(line *parsers.Line) (facts Facts, reason string) {
	s := &m.pass
	m.spare.Reset()
	s.begin(line, &m.spare)
	s.scalars = true
	reason = s.read(m.root)
	s.forget()
	return Facts{
		Met: s.met, Dropped: s.dropped, Duplicates: s.duplicate, Replaced: s.replaced,
		Truncated: m.spare.Record.Flags()&audit.Truncated != 0,
	}, reason
}

// read reads the whole line and returns why it can not be understood, if so.
func (p *pass) read(root *node) (reason string) {
	i := skipSpace(p.data, 0)
	if i >= len(p.data) || p.data[i] != '{' {
		return "not a JSON object"
	}
	end := p.object(i+1, root, maxDepth-1)
	switch {
	case end == cutShort && p.cut:
		p.draft.Record.Flag(audit.Truncated)
		return ""
	case end == cutShort:
		return "the JSON object does not end"
	case end == tooDeep:
		return "the JSON object nests too deeply"
	case end < 0:
		return "not valid JSON"
	case skipSpace(p.data, end) < len(p.data):
		return "something follows the JSON object"
	default:
		return ""
	}
}

// object reads the members of an object, from behind its brace, and takes the
// mapped ones.
func (p *pass) object(i int, n *node, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	i, done := openBracket(p.data, i, '}')
	for !done {
		end, value, style := scanKey(p.data, i)
		if end < 0 {
			return end
		}
		key := p.data[i+1 : end]
		if style.escaped {
			key = p.decode(key)
		}
		child := n.find(key)
		switch {
		case child == nil:
			p.dropped++
			i = skipValue(p.data, value, depth)
		case !p.first(child):
			p.duplicate = true
			i = skipValue(p.data, value, depth)
		default:
			i = p.value(value, child, depth)
		}
		if i < 0 {
			return i
		}
		i, done = nextElement(p.data, i, '}')
	}
	return i
}

// first reports whether a node is met for the first time in the line.
func (p *pass) first(n *node) bool {
	word, bit := n.number/64, uint64(1)<<(n.number%64)
	if p.seen[word]&bit != 0 {
		return false
	}
	p.seen[word] |= bit
	return true
}

// array reads the elements of an array and takes those whose index is a key of n.
func (p *pass) array(i int, n *node, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	var key [20]byte
	i, done := openBracket(p.data, i, ']')
	for index := 0; !done; index++ {
		child := n.find(appendIndex(key[:0], index))
		if child != nil && p.first(child) {
			i = p.value(i, child, depth)
		} else {
			p.dropped++
			i = skipValue(p.data, i, depth)
		}
		if i < 0 {
			return i
		}
		i, done = nextElement(p.data, i, ']')
	}
	return i
}

// value reads the value of a mapped key.
func (p *pass) value(i int, n *node, depth int) int {
	switch c := p.data[i]; c {
	case '{', '[':
		return p.composite(i, n, depth)
	case '"':
		end, s := scanString(p.data, i+1)
		if end < 0 {
			if end == cutShort && p.cut {
				p.cutContent(i, n, depth)
			}
			return end
		}
		if v := (scalar{kind: isString, text: p.data[i+1 : end], style: s}); !n.embedded || !p.embeddedValue(n, v, depth) {
			p.takeScalar(n, v)
		}
		return end + 1
	case 't':
		return p.takeLiteral(i, n, "true", isBool)
	case 'f':
		return p.takeLiteral(i, n, "false", isBool)
	case 'n':
		return scanLiteral(p.data, i, "null") // unknown, like an absent key
	default:
		if c != '-' && (c < '0' || c > '9') {
			return badSyntax
		}
		end := scanNumber(p.data, i)
		if end < 0 {
			return end
		}
		if end == len(p.data) {
			return cutShort // of a cut line: more digits may follow
		}
		p.takeScalar(n, scalar{kind: isNumber, text: p.data[i:end]})
		return end
	}
}

func (p *pass) takeLiteral(i int, n *node, literal string, kind scalarKind) int {
	end := scanLiteral(p.data, i, literal)
	if end >= 0 {
		p.takeScalar(n, scalar{kind: kind, text: p.data[i:end]})
	}
	return end
}

// embeddedValue reads a string that holds an object or array, as if that stood
// there itself. It reports false, and takes nothing, for any other string.
func (p *pass) embeddedValue(n *node, v scalar, depth int) bool {
	if len(v.text) == 0 || v.text[0] != '{' && v.text[0] != '[' {
		return false
	}
	outer := p.data
	p.data = v.text
	if v.style.escaped || v.style.wide {
		p.data = p.decode(v.text)
	}
	end := skipValue(p.data, 0, depth)
	whole := end >= 0 && skipSpace(p.data, end) == len(p.data)
	if whole {
		p.composite(0, n, depth)
	}
	p.data = outer
	return whole
}

// cutContent takes the beginning of a text that the end of a cut line interrupts.
func (p *pass) cutContent(i int, n *node, depth int) {
	for t := range n.targets {
		target := &n.targets[t]
		if c := p.contentOf(target.purpose); c != nil && p.wants(target) { // half an identity is none
			p.begun(target, c)
			p.collect(target, i, c, depth)
			p.used(target)
		}
	}
}

// composite reads an object or array: the keys mapped inside first, so that
// they are found even when a cut line interrupts the content, then the whole.
func (p *pass) composite(i int, n *node, depth int) int {
	if t, c := p.onlyContent(n); c != nil {
		end := p.collect(t, i, c, depth)
		p.count(c.Parts > 0)
		if c.Parts > 0 {
			p.used(t)
		}
		return end
	}
	end := 0
	switch {
	case len(n.children) == 0:
		end = skipValue(p.data, i, depth)
	case p.data[i] == '{':
		end = p.object(i+1, n, depth-1)
	default:
		end = p.array(i+1, n, depth-1)
	}
	if end < 0 && (end != cutShort || !p.cut) {
		return end
	}
	taken := len(n.targets) == 0
	for t := range n.targets {
		taken = p.takeComposite(&n.targets[t], i, end, depth) || taken
	}
	if len(n.targets) > 0 {
		p.count(taken)
	}
	return end
}

// onlyContent returns where the content goes when a node is mapped to nothing
// else, so that one reading of the value is enough.
func (p *pass) onlyContent(n *node) (*target, *parsers.Content) {
	if len(n.children) > 0 || len(n.targets) != 1 {
		return nil, nil
	}
	t := &n.targets[0]
	c := p.contentOf(t.purpose)
	if c == nil || !p.wants(t) {
		return nil, nil
	}
	p.begun(t, c)
	return t, c
}

// wants reports whether a target's value is still wanted: none of a source that
// is preferred to it was used.
func (p *pass) wants(t *target) bool {
	return t.group == 0 || p.ranks[t.group] == 0 || p.ranks[t.group] > t.rank+1
}

// used notes that the value of a target was taken.
func (p *pass) used(t *target) {
	if t.group != 0 {
		p.ranks[t.group] = t.rank + 1
	}
}

// begun empties content before a preferred source fills it again.
func (p *pass) begun(t *target, c *parsers.Content) {
	if t.group != 0 && p.ranks[t.group] != 0 {
		c.Reset()
		if t.purpose == toInput {
			p.draft.System.Reset()
		}
	}
}

func (p *pass) contentOf(use purpose) *parsers.Content {
	switch use {
	case toInput:
		return &p.draft.Input
	case toOutput:
		return &p.draft.Output
	case toSystem:
		return &p.draft.System
	case toArguments:
		return &p.draft.Arguments
	default:
		return nil
	}
}

// count counts a value that found its home, or did not.
func (p *pass) count(taken bool) {
	if taken {
		p.filled++
	} else {
		p.dropped++
	}
}
