package archive

import (
	"maps"
	"math/bits"
	"slices"
)

// numberSet is a set of batch numbers or tree sizes. A dense set takes a
// fraction of a byte per number, so a log of many years fits in memory. The
// zero value is empty.
type numberSet struct {
	chunks map[uint64]*[8]uint64 // 512 numbers each
	keys   []uint64              // of chunks, sorted, when not stale
	stale  bool
	size   int
}

// budget bounds the memory of many sets together. Numbers of logs are dense;
// names that somebody made up need not be.
type budget struct{ chunks, numbers int }

const (
	freeChunks  = 1 << 17 // about 14 MB, for any numbers
	leastFilled = 16      // numbers a chunk, on average, beyond
)

// add adds n to a set. It fits unless the numbers of all sets are too scattered.
func (b *budget) add(s *numberSet, n uint64) (isNew, fits bool) {
	chunks := len(s.chunks)
	if s.chunks[n>>9] == nil && b.chunks >= freeChunks && b.numbers < leastFilled*b.chunks {
		return false, false
	}
	isNew = s.add(n)
	b.chunks += len(s.chunks) - chunks
	if isNew {
		b.numbers++
	}
	return isNew, true
}

// add tells whether n is new.
func (s *numberSet) add(n uint64) bool {
	chunk := s.chunks[n>>9]
	if chunk == nil {
		if s.chunks == nil {
			s.chunks = make(map[uint64]*[8]uint64)
		}
		chunk = new([8]uint64)
		s.chunks[n>>9] = chunk
		s.stale = true
	}
	word, bit := &chunk[n>>6&7], uint64(1)<<(n&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.size++
	return true
}

func (s *numberSet) has(n uint64) bool {
	chunk := s.chunks[n>>9]
	return chunk != nil && chunk[n>>6&7]&(1<<(n&63)) != 0
}

// next returns the smallest member that is at least n.
func (s *numberSet) next(n uint64) (uint64, bool) {
	s.sort()
	at, _ := slices.BinarySearch(s.keys, n>>9)
	for _, key := range s.keys[at:] {
		chunk := s.chunks[key]
		first := uint64(0)
		if key == n>>9 {
			first = n & 511
		}
		for i := first >> 6; i < 8; i++ {
			word := chunk[i]
			if i == first>>6 {
				word &= ^uint64(0) << (first & 63)
			}
			if word != 0 {
				return key<<9 | i<<6 | uint64(bits.TrailingZeros64(word)), true //nolint:gosec // at most 64
			}
		}
	}
	return 0, false
}

// last returns the largest member.
func (s *numberSet) last() (uint64, bool) {
	if s.size == 0 {
		return 0, false
	}
	s.sort()
	key := s.keys[len(s.keys)-1]
	for i := uint64(7); ; i-- {
		if word := s.chunks[key][i]; word != 0 {
			return key<<9 | i<<6 | uint64(bits.Len64(word)-1), true //nolint:gosec // at most 63
		}
	}
}

func (s *numberSet) sort() {
	if s.stale {
		s.keys = slices.Sorted(maps.Keys(s.chunks))
		s.stale = false
	}
}
