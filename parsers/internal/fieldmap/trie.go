package fieldmap

import "github.com/auditail/auditail/audit"

// node is one key on the way to a mapped field. The field map becomes a tree of
// them, so that one pass over a line finds everything.
type node struct {
	key      string
	number   int  // index into pass.seen
	embedded bool // a string of JSON counts as the object or array it holds
	targets  []target
	children []*node // by length of key

	// first[n] is the index of the first child whose key has n bytes or more,
	// the last one of those too long to be told apart by length.
	first [maxKey + 2]uint16
	lasts []byte // the last byte of each child's key, which tells most keys of one length apart
}

// maxKey is the length up to which keys are told apart by length alone.
const maxKey = 40

// find returns the child for a key, or nil.
func (n *node) find(key []byte) *node {
	length := min(len(key), maxKey)
	if length == 0 {
		return nil // no path has an empty key
	}
	last := key[len(key)-1]
	from, to := n.first[length], n.first[length+1]
	for i, b := range n.lasts[from:to] {
		if b == last {
			if child := n.children[int(from)+i]; child.key == string(key) {
				return child
			}
		}
	}
	return nil
}

// purpose says what a mapped value is for.
type purpose uint8

const (
	toField     purpose = iota // a field of the record
	toInput                    // what was entered
	toOutput                   // what came back
	toSystem                   // the system instructions, of which a keyed hash is kept
	toArguments                // the arguments of a tool call, of which a keyed hash is kept
	toExtra                    // a member of extra
	toData                     // a member of the only item of data
	toSlot                     // looked at by a preset
)

// target is one use of a mapped value.
type target struct {
	purpose purpose
	field   audit.Field
	def     audit.Def
	member  string // of extra or data, with quotes and colon
	integer bool   // of data: the member is a number
	layout  layout // of times
	unit    int64  // of usage.duration_ms: nanoseconds
	slot    int    // of toSlot
	group   int    // index into pass.ranks when the field has several sources, else 0
	rank    uint8  // among these: 0 is the preferred one
	values  map[string][]byte
}
