package catalog

import (
	"math"

	"github.com/auditail/auditail/audit"
)

// notes are the places in one entry of records that a later event may have to
// name: those without a version, and those whose version was not confirmed yet
// when they were written.
type notes struct {
	at    int // of the record in hand, from 0
	list  []note
	heads map[*subject]int // the newest note of a subject, in list
	names map[string]int   // and of a name that nothing is known of
}

type note struct {
	subject     *subject
	name        string // without a subject
	open        bool   // has no version
	first, last int
	low, high   int64
}

// maxNames bounds the names without a version that are kept: log lines choose them.
const maxNames = 256

func (n *notes) next() { n.at++ }

// Begin starts an entry: what was resolved since the last one and not committed
// is forgotten.
func (c *Catalog) Begin() {
	n := &c.notes
	n.at = -1
	n.list = n.list[:0]
	clear(n.heads)
	if len(n.names) >= maxNames {
		clear(n.names)
	}
	for name := range n.names {
		n.names[name] = -1
	}
}

// Passed counts a record of the entry that Resolve does not see.
func (c *Catalog) Passed() { c.notes.next() }

// Notes are what later events may have to name of one entry.
type Notes struct{ list []note }

// Take ends what Begin began: the entry is on its way.
func (c *Catalog) Take() Notes {
	taken := Notes{c.notes.list}
	c.notes.list = nil
	return taken
}

// Committed tells that the entry of the notes is durable, and the agent.seq of its
// first record. Entries are committed in the order in which they began. Safe for
// concurrent use with all others.
func (c *Catalog) Committed(n Notes, first uint64) {
	if len(n.list) > 0 {
		c.store.noted(c, n.list, first)
	}
}

// note remembers the record in hand when a later event may concern it.
func (c *Catalog) note(r *audit.Record, k *known, s *viewSpan, basis Basis, low, high int64) {
	if c.store == nil || !c.store.observes || low == math.MinInt64 {
		return // nothing will be known, or not for a time that is unknown itself
	}
	n := &c.notes
	switch {
	case basis == Unresolved && k != nil && k.subject != nil:
		n.add(k.subject, true, low, high)
	case basis == Unresolved:
		if name := r.Text(audit.ModelName); name != nil && len(name) <= maxNameLength {
			n.addName(name, low, high)
		}
	case s != nil && k.subject != nil && s == &k.spans[0] && high > s.confirmed:
		n.add(k.subject, false, low, high)
	}
}

// maxNameLength is what is kept of a name that nothing is known of.
const maxNameLength = 512

func (n *notes) add(of *subject, open bool, low, high int64) {
	if n.heads == nil {
		n.heads = make(map[*subject]int)
	}
	if at, found := n.heads[of]; found && n.list[at].open == open && near(n.list[at].low, n.list[at].high, low, high) {
		n.list[at].extend(n.at, low, high)
		return
	}
	n.heads[of] = len(n.list)
	n.list = append(n.list, note{subject: of, open: open, first: n.at, last: n.at, low: low, high: high})
}

func (n *notes) addName(name []byte, low, high int64) {
	at, found := n.names[string(name)]
	if found && at >= 0 && near(n.list[at].low, n.list[at].high, low, high) {
		n.list[at].extend(n.at, low, high)
		return
	}
	if !found && len(n.names) >= maxNames {
		return // it stays unresolved for good
	}
	if n.names == nil {
		n.names = make(map[string]int)
	}
	kept := string(name) // once a name and chunk, of names that nothing is known of
	n.names[kept] = len(n.list)
	n.list = append(n.list, note{name: kept, open: true, first: n.at, last: n.at, low: low, high: high})
}

func (n *note) extend(at int, low, high int64) {
	n.last, n.low, n.high = at, min(n.low, low), max(n.high, high)
}
