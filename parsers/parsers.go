// Package parsers is the contract between raw lines and audit records.
//
// A parser keeps two promises. Every line gets exactly one [Verdict], so that
// lines can be counted without remainder. And it works from an allow-list: it
// names the source fields it keeps, drops the rest, and never invents a value
// that the line does not carry.
package parsers

import (
	"time"

	"github.com/auditail/auditail/audit"
)

// Line is one physical line as a parser sees it. Data is valid until Parse
// returns and must not be changed.
type Line struct {
	Source     string // name of the input
	Path       string // for people
	Generation string
	Offset     int64
	Size       int64 // bytes in the source, terminator included
	Lines      int   // physical lines it stands for, when the input joined several; 0 means 1
	Data       []byte
	Seen       time.Time
	Cut        bool // Data is only the head of a longer line
}

// Ref names a physical line.
type Ref struct {
	Generation string
	Path       string
	Offset     int64
	Size       int64
	Lines      int // physical lines, at least 1
}

// Ref returns the name of the line.
func (l *Line) Ref() Ref {
	return Ref{Generation: l.Generation, Path: l.Path, Offset: l.Offset, Size: l.Size, Lines: max(1, l.Lines)}
}

// Content is what was entered or what came back, before the capture policy
// decides what of it is kept. It never reaches the disk as it is.
type Content struct {
	Text      []byte // decoded text of all message parts, joined by LF
	Parts     int    // number of parts; 0: the line carried no content
	Truncated bool   // the source itself shows only a part of the text

	// Model is the record's model.name, for Config.Capture, when a parser that
	// holds the content knows it already; empty: not known yet.
	Model string

	// Applied is what the capture policy made of the content (see
	// Config.Capture), for a parser that held it across lines; Text is empty then.
	Applied []byte
}

// Reset empties the content and keeps its memory.
func (c *Content) Reset() { *c = Content{Text: c.Text[:0], Applied: c.Applied[:0]} }

// Draft is a record in the making. The parser fills what the line says; the
// agent adds the envelope (id, host, service, retention, agent), the model's
// exact version and what the capture policy keeps of the content.
//
// A parser sets at least event, outcome, actor.* (see [Draft.SetActor]) and
// time with time_basis where the line has a time; action follows from event.
type Draft struct {
	Record audit.Record
	Input  Content
	Output Content

	// Of these at most a keyed hash is kept: the system instructions, when the
	// line gives them by themselves, and the arguments of a tool call.
	System    Content // prompt.system_hmac
	Arguments Content // tool.hmac

	Held []Ref // earlier lines, held until now, that this record was made from; oldest first
	Sub  int   // which record of the same first line: 0, 1, …
}

// Reset empties the draft and keeps its memory.
func (d *Draft) Reset() {
	d.Record.Reset()
	d.Input.Reset()
	d.Output.Reset()
	d.System.Reset()
	d.Arguments.Reset()
	d.Held = d.Held[:0]
	d.Sub = 0
}

// Next grows dst by one empty draft, reusing memory of earlier ones.
func Next(dst []Draft) ([]Draft, *Draft) {
	if len(dst) < cap(dst) {
		dst = dst[:len(dst)+1]
	} else {
		dst = append(dst, Draft{})
	}
	d := &dst[len(dst)-1]
	d.Reset()
	return dst, d
}

// Verdict says what became of a line.
type Verdict uint8

// The verdicts.
const (
	Unparsed Verdict = iota // nothing known fits; it becomes part of an agent.unparsed record
	Recorded                // it went into a record that is complete
	Ignored                 // a named rule knows it as noise
	Held                    // it waits for the rest of a joined record
)

// Outcome is a verdict with its reason.
type Outcome struct {
	Verdict Verdict
	Rule    string // of Ignored: the rule's name; of Unparsed: why, for people
	// ReleasedIgnored counts physical lines held earlier that turned out to make no
	// record. (Those that did stand in Draft.Held.)
	ReleasedIgnored int
}

// RuleStartBanner is the rule of ignored lines by which a server tells that it
// starts: whatever it serves may be another version from there on.
const RuleStartBanner = "start_banner"

// Parser turns lines into records. One parser serves one input; it is called
// from one goroutine at a time.
type Parser interface {
	// Parse appends the records that the line completes or sets free. The line
	// itself belongs to drafts without Held, and to the last one when the
	// verdict is Recorded; others are made from held lines alone. It must not retain
	// line.Data. An error is a defect of the parser or its configuration, not
	// of the line, and stops the agent.
	Parse(dst []Draft, line Line) ([]Draft, Outcome, error)
}

// Stateful is implemented by parsers that join lines. The snapshot is
// committed with the positions of the lines it was made from.
type Stateful interface {
	// Flush appends what has waited longer than the parser's window at now; the
	// zero time flushes everything. What was seen as long after now was before the
	// clock was set back, and has waited too. released counts physical lines, held
	// until now, that made no record.
	Flush(now time.Time, dst []Draft) (out []Draft, released int)
	// Held returns the number of physical lines held now.
	Held() int
	// Snapshot returns the state; nil when nothing is held or remembered. The
	// caller owns the bytes.
	Snapshot() []byte
	// Restore replaces the state by a snapshot of the same parser version; an
	// empty one is that of a new parser.
	Restore(snapshot []byte) error
}

// Traced is implemented by parsers that can name, for each record field they
// fill, the source field it comes from (for `auditail try`).
type Traced interface {
	Trace() map[audit.Field]string
}

// Explainer is implemented by parsers that can say more about an unparsed line
// than the rule of its outcome (for `auditail try --explain`). It may be slow,
// and its answer holds parts of the line.
type Explainer interface {
	Explain(line []byte) string
}

// Dropper is implemented by parsers that leave out source fields without a home
// in the record. Dropped counts them; it is safe for concurrent use with Parse.
type Dropper interface {
	Dropped() uint64
}

// Config is what every parser is told about its input.
type Config struct {
	Name     string         // of the input
	Provider string         // model.provider for records that carry none; may be empty
	Location *time.Location // for lines without a zone; nil: the host's zone

	// Capture applies the capture policy to content and appends the result to
	// dst, an encoding of its own that only the agent reads. A parser that
	// joins lines calls it before it holds content, because what is held is
	// written to the agent's disk with the snapshot, and nothing may get there
	// that the policy does not keep. It is never nil in the agent.
	Capture func(dst []byte, c *Content, direction Direction) []byte

	// KeyID appends actor.key_id for an API key that a line shows: a fingerprint
	// that tells keys apart and does not give them away. Parsers ask through
	// Fingerprint. nil: none is made. It is used by one goroutine at a time.
	KeyID func(dst, key []byte) []byte
}

// Mapping says where a record field comes from, for parsers with a field map.
type Mapping struct {
	Field  string   // path of a record field, "input", "output", "extra.NAME" or "data.ITEM"
	Path   []string // keys from the line's object down; a decimal number is also an index into an array. Of formats without nesting: one key
	Layout string   // of a time: rfc3339, unix, unix_ms, unix_us, unix_ns or one of Go's; of usage.duration_ms: s, ms, us, ns

	// Or are further sources, in falling order of preference. Each is used when
	// the line has no value that the field takes in one before it.
	Or []Source

	Values map[string]string // when not nil: what the record says for each value of the source; others are dropped
}

// Source is another place, or another way of writing, for a field's value.
type Source struct {
	Path   []string
	Layout string
}

// Constant is a value that every record gets.
type Constant struct {
	Field string // path of a record field, or "extra.NAME"
	Value any    // string, integer, float64, bool or a list of strings, as the field takes it
}

// Direction tells what was entered from what came back.
type Direction uint8

// The directions.
const (
	Entered Direction = iota
	Returned
)

// Zone returns the zone to assume for times that carry none.
func (c *Config) Zone() *time.Location {
	if c.Location != nil {
		return c.Location
	}
	return time.Local
}
