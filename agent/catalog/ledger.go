package catalog

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// RuleOwnProbe is the rule under which the agent's own questions are ignored
// where a followed log shows them.
const RuleOwnProbe = "own_probe"

const (
	maxCalls = 512 // of the agent itself that are remembered
	// A server logs a call when it is answered, with a clock of seconds.
	callEarly = 1500 * time.Millisecond
	callLate  = probe.Timeout + 3*time.Second
	maxInputs = 64 // logs that may show one call
)

// ledger remembers the agent's own questions, so that the lines they leave in
// followed logs are not counted as use. Each call excuses one line of each log,
// so that nobody hides behind them.
type ledger struct {
	agent string // own User-Agent
	paths atomic.Pointer[map[string]struct{}]

	mu    sync.Mutex // guards what follows
	calls []call     // oldest first
	hosts []netip.Addr
}

type call struct {
	At     time.Time
	Method string
	Path   string
	Shown  uint64 `json:",omitempty"` // logs that showed it, by index
}

// called is probe.Config.Called.
func (s *Store) called(_ probe.Target, method, path string) {
	s.ledger.add(call{At: s.deps.Now(), Method: method, Path: path})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true // recorded with the answer
}

func (l *ledger) add(c call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) >= maxCalls {
		l.calls = slices.Delete(l.calls, 0, len(l.calls)-maxCalls+1)
	}
	l.calls = append(l.calls, c)
	l.know(c.Path)
}

// know makes a path one that is looked for. l.mu is held.
func (l *ledger) know(path string) {
	known := l.paths.Load()
	if known != nil {
		if _, there := (*known)[path]; there {
			return
		}
	}
	next := make(map[string]struct{})
	for i := range l.calls {
		next[l.calls[i].Path] = struct{}{}
	}
	l.paths.Store(&next)
}

// local takes the addresses of this host.
func (l *ledger) local(hosts []netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = hosts
}

// Own tells whether a record is of a call that the agent itself made to ask a
// model server. By its User-Agent, where the log has it; by the address of this
// host, where it has that; and by a call of that moment that no line of this
// log stood for yet. Of calls made before those that are remembered only the
// User-Agent tells.
func (c *Catalog) Own(r *audit.Record, seen Seen) bool {
	if c.store == nil || !c.store.ledger.own(r, seen, c.sights.index) {
		return false
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.kick() // a restart must not excuse another line for the same call
	return true
}

// own tells whether a record of the log with an index is of a call of our own.
func (l *ledger) own(r *audit.Record, seen Seen, index int) bool {
	paths := l.paths.Load()
	if paths == nil {
		return false
	}
	if _, asked := (*paths)[string(r.Text(audit.APIPath))]; !asked {
		return false
	}
	agent := r.Text(audit.ClientUserAgent)
	if agent != nil && string(agent) != l.agent {
		return false
	}
	low, high := period(r, seen)
	if low == math.MinInt64 {
		low = seen.At.Add(-callLate).UnixNano() // a line of a backlog is not of this moment, and is not taken for one
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if address, err := netip.ParseAddr(string(r.Text(audit.ClientIP))); err == nil {
		if address = address.Unmap(); !address.IsLoopback() && !slices.Contains(l.hosts, address) {
			return false
		}
	}
	if agent != nil && len(l.calls) > 0 && high < l.calls[0].At.Add(-callEarly).UnixNano() {
		return true
	}
	bit := uint64(1) << (index % maxInputs)
	for i := range l.calls {
		own := &l.calls[i]
		if own.Shown&bit == 0 && own.Path == string(r.Text(audit.APIPath)) && own.Method == string(r.Text(audit.APIMethod)) &&
			own.At.Add(-callEarly).UnixNano() <= high && low <= own.At.Add(callLate).UnixNano() {
			own.Shown |= bit
			return true
		}
	}
	return false
}

// hostAddresses returns the addresses of this host's interfaces.
func hostAddresses() (list []netip.Addr) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}
