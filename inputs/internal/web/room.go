package web

import (
	"net/http"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/memory"
)

// Share is what one request has taken of the memory of all inputs: its body, its
// lines, and the records made of a chunk of them.
type Share struct {
	claim *memory.Claim
	room  int64 // of the claim
	taken int64 // of room
	most  int64 // that a request may ever take
}

// NewShare returns a share of a memory of most bytes with nobody else in it.
func NewShare(most int64) *Share {
	return &Share{claim: memory.New(most).Claim(0), most: most}
}

// Take is asked before n bytes of memory are taken. What was taken stays with
// the request until its end. The error is a *RefusalError.
func (s *Share) Take(n int64) error {
	if s.taken+n > s.most {
		return Refuse(http.StatusRequestEntityTooLarge, "the request takes more memory than the input has: divide it")
	}
	if more := s.taken + n - s.room; more > 0 {
		if !s.claim.Grow(more) {
			return later(http.StatusTooManyRequests, retrySoon, "too many requests wait: come again")
		}
		s.room += more
	}
	s.taken += n
	return nil
}

// Grow returns b with room for n more bytes, asking before it takes memory; at
// most limit bytes, where n allows.
func (s *Share) Grow(b []byte, n int) ([]byte, error) { return s.grow(b, n, int(s.most)) }

func (s *Share) grow(b []byte, n, limit int) ([]byte, error) {
	if cap(b)-len(b) >= n {
		return b, nil
	}
	size := max(min(max(2*cap(b), leastBuffer), limit), len(b)+n)
	if err := s.Take(int64(size - cap(b))); err != nil {
		return nil, err
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown, nil
}

const leastBuffer = 4 << 10

func (s *Share) release() { s.claim.Release() }

// What a request takes beside its body.
const (
	// lineMemory is what the feed and the agent take for a line beside its bytes.
	lineMemory = 160
	// recordFactor times its lines is what the records of a chunk take.
	recordFactor = 6
)

// recordMemory is what the records take that are made at a time of so many bytes
// of lines: a chunk of them.
func recordMemory(lines int64) int64 { return min(recordFactor*lines, inputs.ChunkCost) }

// expected is what a request with a body of so many bytes is likely to take: it
// is claimed at once, so that the request waits for its turn and not for luck. An
// unknown length is below zero.
func expected(body int64) int64 {
	body = max(body, readSize)
	return 3*body + recordMemory(body)
}
