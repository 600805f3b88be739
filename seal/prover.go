package seal

// Prover computes the RFC 6962 audit path of one leaf (section 2.1.1) while the
// leaves of a tree pass by once, in memory that grows with the logarithm of the
// tree. It is not safe for concurrent use.
type Prover struct {
	index, size uint64
	next        uint64
	parts       []part // the siblings on the way up, lowest first
}

// part is the subtree over the leaves from to to.
type part struct {
	from, to uint64
	tree     Tree
}

// NewProver returns the prover of leaf index of a tree with size leaves; index
// is below size.
func NewProver(index, size uint64) *Prover {
	return &Prover{index: index, size: size, parts: siblings(nil, 0, size, index)}
}

// siblings appends the subtrees whose roots make the audit path of leaf index in
// the tree over the leaves from to to.
func siblings(parts []part, from, to, index uint64) []part {
	if to-from == 1 {
		return parts
	}
	half := uint64(1)
	for half*2 < to-from {
		half *= 2
	}
	middle := from + half
	if index < middle {
		return append(siblings(parts, from, middle, index), part{from: middle, to: to})
	}
	return append(siblings(parts, middle, to, index), part{from: from, to: middle})
}

// Add takes the next leaf's hash.
func (p *Prover) Add(leaf Hash) {
	for i := range p.parts {
		if p.parts[i].from <= p.next && p.next < p.parts[i].to {
			p.parts[i].tree.Add(leaf)
			break
		}
	}
	p.next++
}

// Path returns the audit path once all leaves were added.
func (p *Prover) Path() (path []Hash, complete bool) {
	for i := range p.parts {
		path = append(path, p.parts[i].tree.Root())
	}
	return path, p.next == p.size
}
