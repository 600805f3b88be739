package ollama

import (
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/parsers/internal/state"
)

// A snapshot is, in the encoding of package state: version 1; per server path,
// version, lines of an example, whether it loads a model, and that load.
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

const (
	maxHeld    = 2  // lines of one load
	maxExample = 64 // lines of a printed chat template
)

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: []byte{snapshotVersion}}
	e.Number(int64(len(p.servers)))
	for _, s := range p.servers {
		e.Text(s.path)
		e.Text(s.version)
		e.Number(int64(s.example))
		e.Flags(s.load != nil)
		if l := s.load; l != nil {
			e.Refs(l.held)
			e.Time(l.seen)
			e.Text(l.at)
			e.Text(l.digest)
			e.Flags(l.ready)
			e.Number(l.ms)
		}
	}
	return e.Bytes
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	var servers []*server
	if len(snapshot) > 0 {
		if snapshot[0] != snapshotVersion {
			return fmt.Errorf("restore ollama state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		paths := map[string]bool{}
		for range d.Count(maxServers) {
			s := &server{path: d.Text(), version: d.Text(), example: d.Count(maxExample)}
			if paths[s.path] || s.version != "" && !isVersion([]byte(s.version)) {
				d.Fail()
			}
			paths[s.path] = true
			var loads bool
			if d.Flags(&loads); loads {
				s.load = decodeLoad(d)
			}
			servers = append(servers, s)
		}
		if !d.Done() {
			return fmt.Errorf("restore ollama state: %w", errSnapshot)
		}
	}
	p.servers, p.last = servers, nil
	return nil
}

func decodeLoad(d *state.Decoder) *load {
	l := &load{held: d.Refs(maxHeld), seen: d.Time(), at: d.Text(), digest: d.Text()}
	d.Flags(&l.ready)
	l.ms = d.Number()
	if _, err := time.Parse(time.RFC3339Nano, l.at); err != nil || len(l.held) == 0 || l.ms < 0 {
		d.Fail()
	}
	return l
}
