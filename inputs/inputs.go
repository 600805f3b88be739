// Package inputs is the contract between what reads a source and what makes
// its lines durable.
//
// An input keeps one promise: every byte of its source is handed over exactly
// once, in order within a generation, or reported as a [Gap]. It can keep it
// because the position it resumes from is committed in the same write as the
// records made from the lines: what Append has not acknowledged was not read.
package inputs

import (
	"context"
	"time"
)

// Line is one physical line, or several that an input was told to join, of
// which other lines may stand between. Data and all strings are owned by the
// input; Data is valid until Append returns and must not be changed.
type Line struct {
	Source     string    // name of the input in the configuration
	Path       string    // what was read, for people: a file, a unit, a connection
	Generation string    // assigned at first sight of a file's content, committed, never recomputed
	Offset     int64     // of the first byte, within the generation
	Size       int64     // bytes the line takes in the source, terminators included, all of its parts
	Data       []byte    // without its terminator (LF or CR LF); LF between joined lines
	Seen       time.Time // when it was read
	NotBefore  time.Time // it was certainly not written before; zero: nobody knows
	Cut        *Cut      // set when Data is only the head of a line longer than max_line
	Physical   int       // physical lines it stands for; 0 means 1
	Partial    bool      // the line goes on in the source, in a later Line or nowhere: a limit or a timeout ended it
}

// Cut describes a line that was longer than max_line. Line.Data is its head.
// Of a line that was too long even to be decoded or taken out of its wrapper,
// it describes the bytes in the source.
type Cut struct {
	Length int64    // bytes of the whole line, without its terminator
	SHA256 [32]byte // of the whole line, without its terminator
}

// Position says where an input goes on. The token is opaque outside its input.
// The newest committed token of a generation wins; a nil token forgets the
// generation, because its source is gone and was read to its end.
type Position struct {
	Generation string
	Token      []byte
}

// Units of a Range.
const (
	UnitBytes = "bytes"
	UnitLines = "lines"
)

// Range is what a chunk read of one generation: half-open, in Unit. The ranges
// of successive chunks of a generation join without holes; a hole is a Gap.
type Range struct {
	Generation string
	Unit       string // UnitBytes, or UnitLines for pushed inputs
	From, To   int64
	Lines      int64 // physical ones
}

// Gap is what can not be read any more, or was skipped by configuration. It
// becomes a signed agent.gap record. An empty one (From == To) says that bytes
// may be missing there which nobody saw; it becomes an agent.source record.
type Gap struct {
	Generation string
	Path       string
	From, To   int64 // half-open, bytes of the generation
	Cause      string
}

// Causes of a Gap.
const (
	CauseTruncated = "truncated"  // the file shrank below the position
	CauseRemoved   = "removed"    // the file went away before its end was read
	CauseReplaced  = "replaced"   // other content under the same identity
	CauseStartEnd  = "start_end"  // start = "end": existing content skipped on request
	CauseReadError = "read_error" // the source's own storage could not return the bytes
)

// Chunk is what one commit makes durable.
type Chunk struct {
	Lines     []Line
	Ranges    []Range
	Gaps      []Gap
	Positions []Position
}

// Appender makes chunks durable. It is safe for concurrent use; two chunks of
// one generation must be appended one after the other.
type Appender interface {
	// Append returns nil when the lines' records and the positions are durable
	// together. It blocks when the buffer is full. Any error but ctx's is
	// fatal: stop, restart, recover.
	Append(ctx context.Context, c Chunk) error
}

// Submitter is implemented by appenders that take a chunk while the one in front of
// it is on its way to the disk.
type Submitter interface {
	Appender
	// Submit is the first half of Append: it returns when the chunk has its place
	// behind all that were submitted before. The chunk and its memory are the
	// input's again, but for the tokens. wait, the second half, returns what Append
	// returns. It has to be called; of several, in the order of Submit.
	Submit(ctx context.Context, c Chunk) (wait func() error, err error)
}

// Input reads one kind of source.
type Input interface {
	// Run reads until ctx ends and then returns nil, or returns what stopped
	// it for good. resume holds the newest committed position of each of its
	// generations, in no particular order.
	Run(ctx context.Context, resume []Position, to Appender) error
}

// Scanner is implemented by inputs whose sources have an end: `run --once`
// reads them to the size seen at the call, an unterminated last line included.
type Scanner interface {
	Scan(ctx context.Context, resume []Position, to Appender) error
}

// Moved is how far an input went in a generation since its last commit in front
// of one that the buffer lost to damage on the disk.
type Moved struct {
	Generation string
	From       []byte // token of its position then; nil: first seen since
	To         []byte // token of its newest position; nil: forgotten since
}

// Rereader is implemented by inputs whose sources can be read twice.
type Rereader interface {
	// Reread returns the positions to resume from so that all of it is read again,
	// byte for byte and under the same generations, or why that can not be. It is
	// called while neither Run nor Scan works.
	Reread(moved []Moved) ([]Position, error)
}

// Lag tells how far an input is behind, for status and metrics.
type Lag struct {
	Sources    int          // sources followed now
	Bytes      int64        // read from none of them yet
	Unreadable []Unreadable // not to be changed by who asks
}

// Unreadable is a source that is there and can not be read now: nobody knows what it
// holds.
type Unreadable struct {
	Path   string
	Reason string // without the path
}

// Lagger is implemented by inputs that know their lag. Safe for concurrent use with Run.
type Lagger interface{ Lag() Lag }
