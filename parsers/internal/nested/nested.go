// Package nested is the part that parsers of a server have in common when an
// engine runs inside it and writes to the same log: the engine's parser is handed
// the lines that are not the server's, and its state is kept with the server's.
package nested

import (
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/state"
	"github.com/auditail/auditail/parsers/internal/traceback"
)

// Engine is a parser for the lines of what runs inside.
type Engine interface {
	parsers.Parser
	parsers.Stateful
}

// Host holds an engine, which may be nil, and the tracebacks of the server's own
// log. It implements [parsers.Stateful] for both.
type Host struct {
	Engine    Engine
	Traceback traceback.Tracker
}

// Flush implements [parsers.Stateful].
func (h *Host) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	if h.Engine == nil {
		return dst, 0
	}
	return h.Engine.Flush(now, dst)
}

// Held implements [parsers.Stateful].
func (h *Host) Held() int {
	if h.Engine == nil {
		return 0
	}
	return h.Engine.Held()
}

// A snapshot is:
//
//	version 1
//	logs that are within a traceback
//	the engine's snapshot
const version = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (h *Host) Snapshot() []byte {
	var inner []byte
	if h.Engine != nil {
		inner = h.Engine.Snapshot()
	}
	if inner == nil && h.Traceback.Idle() {
		return nil
	}
	e := state.Encoder{Bytes: append(make([]byte, 0, len(inner)+64), version)}
	h.Traceback.Encode(&e)
	e.Data(inner)
	return e.Bytes
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (h *Host) Restore(snapshot []byte) error {
	var tracker traceback.Tracker
	var inner []byte
	if len(snapshot) > 0 {
		if snapshot[0] != version {
			return fmt.Errorf("restore state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		tracker.Decode(d)
		inner = d.Data()
		if !d.Done() || h.Engine == nil && inner != nil {
			return fmt.Errorf("restore state: %w", errSnapshot)
		}
	}
	if h.Engine != nil {
		if err := h.Engine.Restore(inner); err != nil {
			return fmt.Errorf("restore state of the engine: %w", err)
		}
	}
	h.Traceback = tracker
	return nil
}

// Trace adds what the engine's parser says of its fields to what the server's says.
func (h *Host) Trace(own map[audit.Field]string) map[audit.Field]string {
	engine, ok := h.Engine.(parsers.Traced)
	if !ok {
		return own
	}
	for field, source := range engine.Trace() {
		source = "engine: " + source
		if own[field] != "" {
			source = own[field] + "; " + source
		}
		own[field] = source
	}
	return own
}
