package seal

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"strings"
	"time"
)

// Chain checks the manifests of one epoch one after the other, as verifier,
// receiver and the agent's own start do. It holds what the next manifest is
// measured by. It is not safe for concurrent use.
type Chain struct {
	Origin   Origin
	identity ed25519.PublicKey

	next     uint64
	previous Digest
	ratchet  ed25519.PublicKey
	records  uint64
	sealed   time.Time
	nextBy   time.Time
	held     map[Stream]uint64
	tree     Tree
	last     *Manifest
	resumed  bool // some manifests are unknown: so are the tree, and what streams held before
}

// NewChain returns the empty chain of an epoch that the identity key opened.
func NewChain(origin Origin, identity ed25519.PublicKey) *Chain {
	return &Chain{Origin: origin, identity: identity, previous: IdentityDigest(origin.Log, identity), held: make(map[Stream]uint64)}
}

// NewChainAt returns a chain that goes on behind an anchor, for an archive
// that starts in the middle: the anchor manifest's own claims are trusted.
func NewChainAt(origin Origin, identity ed25519.PublicKey, anchor *Manifest, file []byte) *Chain {
	c := NewChain(origin, identity)
	c.resumed = anchor.Batch > 0
	c.advance(anchor, file)
	return c
}

// Resume takes a manifest that does not follow on the last one: the first of an
// archive that starts in the middle, or the first behind a hole. Its identity
// signature is checked; what ties it to the manifests that are not there
// (number, chain, ratchet, record and line counts) can not be. The chain goes
// on behind it, but Whole is false from then on. The manifest is nil when it
// does not parse or belongs to another origin, and then the chain stays as it was.
func (c *Chain) Resume(file []byte) (*Manifest, error) {
	m, err := verifyManifest(file, c.identity, nil, false)
	if m == nil {
		return nil, err
	}
	if m.Origin != c.Origin {
		return nil, fmt.Errorf("manifest of origin %s in the log %s", m.Origin, c.Origin)
	}
	c.resumed = true
	clear(c.held)
	c.advance(m, file)
	if err == nil {
		c.rotate(m)
	}
	return m, err
}

// rotate goes over to the key that a rotate manifest signed in, once its
// signatures are known to be good.
func (c *Chain) rotate(m *Manifest) {
	if m.Kind == Rotate {
		c.identity = m.Successor
	}
}

// Whole tells whether the chain has seen every manifest from batch 0 on, so
// that Tree is the log's tree.
func (c *Chain) Whole() bool { return !c.resumed }

// IdentityFile is the content of identity.vkey.
func IdentityFile(log Log, key ed25519.PublicKey) []byte {
	return []byte(VKey(log.String(), key) + "\n")
}

// IdentityDigest is the digest of IdentityFile, which an open manifest chains to.
func IdentityDigest(log Log, key ed25519.PublicKey) Digest { return DigestOf(IdentityFile(log, key)) }

// Next returns the number of the batch that the chain expects.
func (c *Chain) Next() uint64 { return c.next }

// Last returns the newest manifest, nil of an empty chain.
func (c *Chain) Last() *Manifest { return c.last }

// Tree returns a copy of the log's tree of manifests, which is meaningless
// unless Whole.
func (c *Chain) Tree() Tree { return c.tree.Clone() }

// Clone returns a copy that shares no state.
func (c *Chain) Clone() *Chain {
	d := *c
	d.tree = c.tree.Clone()
	d.held = maps.Clone(c.held)
	return &d
}

// Errors of Chain.Add that callers tell apart, beside ErrSignature and ErrRatchet.
var (
	ErrOrder   = errors.New("out of order")
	ErrChain   = errors.New("does not chain to the previous manifest")
	ErrRecords = errors.New("record count does not continue")
	ErrLines   = errors.New("line counts do not balance")
	ErrTime    = errors.New("time runs backwards")
)

// Add checks the next manifest file and takes it into the chain. All problems
// are returned, joined; the manifest is nil only when its text does not parse
// or belongs to another origin, and then the chain stays as it was. Otherwise
// the chain goes on behind the manifest also when there were problems, so that
// one wrong manifest is not reported again and again.
//
// A time that runs backwards (ErrTime) is the only problem that a host's clock
// alone can cause; all others mean that bytes were changed.
func (c *Chain) Add(file []byte) (*Manifest, error) {
	m, err := VerifyManifest(file, c.identity, c.ratchet)
	if m == nil {
		return nil, err
	}
	if m.Origin != c.Origin {
		return nil, fmt.Errorf("manifest of origin %s in the log %s", m.Origin, c.Origin)
	}
	problems, signed := []error{err}, err == nil
	if m.Batch != c.next {
		problems = append(problems, fmt.Errorf("%w: found batch %d, expected %d", ErrOrder, m.Batch, c.next))
	}
	if m.Previous != c.previous {
		problems = append(problems, fmt.Errorf("%w: it names %s, the file has %s", ErrChain, m.Previous, c.previous))
	}
	if m.RecordsFrom != c.records {
		problems = append(problems, fmt.Errorf("%w: %d before, but it starts at %d", ErrRecords, c.records, m.RecordsFrom))
	}
	if err := c.balance(m); err != nil {
		problems = append(problems, err)
	}
	if m.Sealed.Before(c.sealed) {
		problems = append(problems, fmt.Errorf("%w: sealed %s, the one before %s", ErrTime, formatTime(m.Sealed), formatTime(c.sealed)))
	}
	c.advance(m, file)
	if signed {
		c.rotate(m)
	}
	return m, errors.Join(problems...)
}

// balance checks that every line of a data batch is accounted for: held before +
// read = recorded + unparsed + ignored + held. Lines that a parser holds when an
// epoch is left are read in that epoch and recorded in the next one, whose first
// batch of the stream thus has more to account for than it read, never less.
func (c *Chain) balance(m *Manifest) error {
	held, known := c.held[m.Stream]
	if m.Kind != Data || c.resumed && !known {
		return nil
	}
	l := m.Lines
	order := l.compare(held)
	if carried := !known && c.Origin.Epoch > 1; order == 0 || carried && order < 0 {
		return nil
	}
	return fmt.Errorf("%w: held before %d + read %d ≠ recorded %d + unparsed %d + ignored %d + held %d", ErrLines,
		held, l.Read, l.Recorded, l.Unparsed, l.Ignored, l.Held)
}

// compare compares the lines that came in with those accounted for. The sums are
// made with their carries, so that none can be made to fit by wrapping around.
func (l Lines) compare(held uint64) int {
	var in, out, inCarry, outCarry uint64
	for _, n := range []uint64{held, l.Read} {
		sum, carry := bits.Add64(in, n, 0)
		in, inCarry = sum, inCarry+carry
	}
	for _, n := range []uint64{l.Recorded, l.Unparsed, l.Ignored, l.Held} {
		sum, carry := bits.Add64(out, n, 0)
		out, outCarry = sum, outCarry+carry
	}
	return cmp.Or(cmp.Compare(inCarry, outCarry), cmp.Compare(in, out))
}

// Identity returns the key that signs the next manifest and checkpoint: the one
// that opened the epoch, or the one that the last rotate manifest signed in.
func (c *Chain) Identity() ed25519.PublicKey { return c.identity }

func (c *Chain) advance(m *Manifest, file []byte) {
	c.next = m.Batch + 1
	c.previous = DigestOf(file)
	c.ratchet = m.Ratchet
	c.records = m.RecordsTo
	c.sealed, c.nextBy = m.Sealed, m.NextBy
	if m.Kind == Data {
		c.held[m.Stream] = m.Lines.Held
	}
	c.tree.Add(LeafHash(file))
	c.last = m
}

// ChainState is what a chain knows that its last manifest does not say. A receiver
// keeps it, so that it need not read a long log again from its first manifest.
type ChainState struct {
	Next     uint64            `json:"next"`
	Last     string            `json:"last"`     // SHA-256 of the file of manifest Next-1
	Identity string            `json:"identity"` // verifier key of the next manifest, under the name of the log
	Held     map[string]uint64 `json:"held,omitempty"`
	Frontier []Hash            `json:"frontier,omitempty"`
	Resumed  bool              `json:"resumed,omitempty"` // not Whole
}

// State returns what RestoreChain needs beside the file of the last manifest.
func (c *Chain) State() ChainState {
	s := ChainState{
		Next: c.next, Last: c.previous.String(), Identity: VKey(c.Origin.Log.String(), c.identity), Held: make(map[string]uint64, len(c.held)),
		Resumed: c.resumed,
	}
	if !c.resumed {
		s.Frontier = c.tree.Frontier()
	}
	for stream, lines := range c.held {
		s.Held[stream.String()] = lines
	}
	return s
}

// RestoreChain returns the chain whose State was kept, by the file of its last
// manifest. Whoever can change the state can change what the chain accepts: it is
// trusted as the stored manifests are.
func RestoreChain(origin Origin, s ChainState, file []byte) (*Chain, error) {
	name, identity, err := ParseVKey(s.Identity)
	if err != nil {
		return nil, fmt.Errorf("restore chain: %w", err)
	}
	text, err := SplitNote(file)
	if err != nil {
		return nil, fmt.Errorf("restore chain: %w", err)
	}
	m, err := ParseText(text)
	if err != nil {
		return nil, fmt.Errorf("restore chain: %w", err)
	}
	if name != origin.Log.String() || m.Origin != origin || m.Batch+1 != s.Next || DigestOf(file).String() != s.Last {
		return nil, fmt.Errorf("restore chain: the state is not that behind manifest %d of %s", m.Batch, m.Origin)
	}
	c := NewChain(origin, identity)
	c.advance(m, file)
	clear(c.held)
	for text, lines := range s.Held {
		names := strings.Split(text, " ")
		if len(names) != 3 || !ValidName(names[0]) || !ValidName(names[1]) || !ValidName(names[2]) {
			return nil, fmt.Errorf("restore chain: %q is no stream", text)
		}
		c.held[Stream{names[0], names[1], names[2]}] = lines
	}
	if c.resumed = s.Resumed; !c.resumed {
		c.tree, err = NewTree(s.Next, s.Frontier)
	}
	return c, err
}
