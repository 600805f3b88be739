package web

import (
	"net/http"
	"sync/atomic"
)

// room is the memory that all requests of an input may take together.
type room struct {
	most int64
	used atomic.Int64
}

// Share is what one request has taken of the room.
type Share struct {
	room  *room
	taken int64
}

// NewShare returns a share of a room of most bytes with nobody else in it.
func NewShare(most int64) *Share { return &Share{room: &room{most: most}} }

// Take is asked before n bytes of memory are taken. What was taken stays with
// the request until its end. The error is a *RefusalError.
func (s *Share) Take(n int64) error {
	if s.taken+n > s.room.most {
		return Refuse(http.StatusRequestEntityTooLarge, "the request takes more memory than the input has: divide it")
	}
	if s.room.used.Add(n) > s.room.most {
		s.room.used.Add(-n)
		return later(http.StatusTooManyRequests, retrySoon, "too many requests wait: come again")
	}
	s.taken += n
	return nil
}

// Grow returns b with room for n more bytes, asking before it takes memory.
func (s *Share) Grow(b []byte, n int) ([]byte, error) {
	if cap(b)-len(b) >= n {
		return b, nil
	}
	size := max(2*cap(b), len(b)+n, leastBuffer)
	if err := s.Take(int64(size - cap(b))); err != nil {
		return nil, err
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown, nil
}

const leastBuffer = 4 << 10

func (s *Share) release() {
	s.room.used.Add(-s.taken)
	s.taken = 0
}
