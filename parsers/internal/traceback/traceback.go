// Package traceback tells the frames of Python tracebacks from other lines. A
// traceback stands in a log as many bare lines, of which the last carries the
// exception: that one is news and is left to the parser, the frames are not.
package traceback

import (
	"bytes"
	"errors"
	"slices"

	"github.com/auditail/auditail/parsers/internal/state"
)

// Rule is the name under which the lines of a traceback are ignored.
const Rule = "traceback"

// maxOpen bounds the logs of one input that are within a traceback at once.
const maxOpen = 256

// Tracker remembers which logs are within a traceback. The zero value is ready.
type Tracker struct {
	open []string // paths of logs, oldest first
}

// Frame tells whether a line of the log at path belongs to a traceback and is not
// its last one. Lines that the parser knows otherwise need not be asked for: they
// may stand between those of a traceback, written by another thread.
func (t *Tracker) Frame(path string, line []byte) bool {
	at := -1
	if len(t.open) > 0 {
		at = slices.Index(t.open, path)
	}
	frame := starts(line) || at >= 0 && continues(line)
	switch {
	case frame && at < 0:
		if len(t.open) == maxOpen {
			t.open = slices.Delete(t.open, 0, 1)
		}
		t.open = append(t.open, path)
	case !frame && at >= 0:
		t.open = slices.Delete(t.open, at, at+1)
	}
	return frame
}

// starts recognises lines that only a traceback has.
func starts(line []byte) bool {
	b := bytes.TrimLeft(line, " |+-")
	switch {
	case len(b) < len("Process a:"):
		return false
	case bytes.HasPrefix(b, []byte(`File "`)):
		return len(b) < len(line) && bytes.Contains(b, []byte(", line "))
	case bytes.HasPrefix(b, []byte("Process ")):
		return len(b) == len(line) && isProcess(b[len("Process "):])
	default:
		switch string(b) {
		case "Traceback (most recent call last):",
			"Exception Group Traceback (most recent call last):",
			"During handling of the above exception, another exception occurred:",
			"The above exception was the direct cause of the following exception:":
			return true
		}
		return false
	}
}

// continues recognises the other lines of a traceback: source text and the marks
// below it, and the frame that is drawn around grouped exceptions.
func continues(line []byte) bool {
	b := bytes.TrimLeft(line, " ")
	switch indent := len(line) - len(b); {
	case len(b) == 0:
		return false
	case b[0] == '|':
		return indent >= 2 && (len(b) == 1 || bytes.HasPrefix(b[1:], []byte("     ")) || bytes.HasPrefix(b[1:], []byte("   ^")))
	case b[0] == '+':
		return indent >= 2 && len(bytes.Trim(b, "+- 0123456789.")) == 0
	default:
		return indent >= 4 || bytes.HasPrefix(line, []byte("  [Previous line repeated "))
	}
}

// isProcess accepts "EngineCore_DP0:", as multiprocessing heads a traceback.
func isProcess(b []byte) bool {
	for _, c := range b[:len(b)-1] {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(b) > 1 && b[len(b)-1] == ':'
}

// Idle tells that no log is within a traceback.
func (t *Tracker) Idle() bool { return len(t.open) == 0 }

// errSnapshot is returned for bytes that no Snapshot wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// version is the first byte of a snapshot.
const version = 1

// Snapshot returns the state of a parser that remembers nothing else; nil when no
// log is within a traceback.
func (t *Tracker) Snapshot() []byte {
	if len(t.open) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: []byte{version}}
	t.Encode(&e)
	return e.Bytes
}

// Restore replaces the state by that of a snapshot. After an error it is as before.
func (t *Tracker) Restore(snapshot []byte) error {
	var fresh Tracker
	if len(snapshot) > 0 {
		d := state.NewDecoder(snapshot[1:])
		fresh.Decode(d)
		if snapshot[0] != version || !d.Done() {
			return errSnapshot
		}
	}
	*t = fresh
	return nil
}

// Encode appends the state to a snapshot.
func (t *Tracker) Encode(e *state.Encoder) {
	e.Number(int64(len(t.open)))
	for _, path := range t.open {
		e.Text(path)
	}
}

// Decode reads what Encode wrote.
func (t *Tracker) Decode(d *state.Decoder) {
	t.open = nil
	for range d.Count(maxOpen) {
		path := d.Text()
		if slices.Contains(t.open, path) {
			d.Fail()
		}
		t.open = append(t.open, path)
	}
}
