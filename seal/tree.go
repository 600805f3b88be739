package seal

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 hash of an RFC 6962 tree. Its String is standard base64.
type Hash = tlog.Hash

// EmptyRoot is the root of a tree without leaves (RFC 6962, section 2.1).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash is the hash of a leaf (RFC 6962, section 2.1): of a record line
// without LF in a batch's tree, of a whole manifest file in an agent's log.
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// Tree computes the root of an RFC 6962 tree leaf by leaf in memory that grows
// with the logarithm of its size. The zero value is the empty tree.
type Tree struct {
	size  uint64
	stack []Hash // roots of the perfect subtrees, largest first: one per 1-bit of size
}

// Add appends a leaf by its leaf hash.
func (t *Tree) Add(leaf Hash) {
	t.stack = append(t.stack, leaf)
	for bit := uint64(1); t.size&bit != 0; bit <<= 1 {
		last := len(t.stack) - 1
		t.stack[last-1] = tlog.NodeHash(t.stack[last-1], t.stack[last])
		t.stack = t.stack[:last]
	}
	t.size++
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Root returns the root of the leaves added so far.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return EmptyRoot()
	}
	root := t.stack[len(t.stack)-1]
	for i := len(t.stack) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.stack[i], root)
	}
	return root
}

// Reset makes the tree empty and keeps its memory.
func (t *Tree) Reset() { t.size, t.stack = 0, t.stack[:0] }

// Clone returns a copy that shares no memory.
func (t *Tree) Clone() Tree { return Tree{size: t.size, stack: append([]Hash(nil), t.stack...)} }

// Frontier returns the roots of the perfect subtrees, largest first: what
// NewTree needs to go on. The caller owns the slice.
func (t *Tree) Frontier() []Hash { return append([]Hash(nil), t.stack...) }

// NewTree returns the tree that had the given size and frontier.
func NewTree(size uint64, frontier []Hash) (Tree, error) {
	ones := 0
	for n := size; n != 0; n &= n - 1 {
		ones++
	}
	if ones != len(frontier) {
		return Tree{}, fmt.Errorf("tree of size %d needs %d frontier hashes, has %d", size, ones, len(frontier))
	}
	return Tree{size: size, stack: append([]Hash(nil), frontier...)}, nil
}
