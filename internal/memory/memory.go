// Package memory is the one budget that the stages of an agent take memory from
// before they use it.
//
// Its promise is promise 11 of the README. Admission is by weight and in turn: a
// stage claims, before it reads, what a piece of work will take on its whole way
// to the disk, and gives it back when the answer is there. So back-pressure is
// that nobody reads, and a stage that holds a claim never waits for a second one:
// nothing can wait in a circle.
package memory

import (
	"context"
	"sync"
)

// Budget is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	size    int64
	free    int64
	waiting []*Claim // in the order they came: a large one is not overtaken
}

// New returns a budget of so many bytes.
func New(size int64) *Budget { return &Budget{size: size, free: size} }

// Claim is memory asked for. One goroutine owns it.
type Claim struct {
	budget  *Budget
	bytes   int64
	granted chan struct{} // closed when it is held
	over    bool
}

// Claim asks for so many bytes; more than the whole budget is taken for the
// whole budget. It does not wait: see [Claim.Granted].
func (b *Budget) Claim(bytes int64) *Claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &Claim{budget: b, bytes: min(bytes, b.size), granted: make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.grant()
	return c
}

// Take is Claim that waits, until ctx ends.
func (b *Budget) Take(ctx context.Context, bytes int64) (*Claim, error) {
	c := b.Claim(bytes)
	select {
	case <-c.granted:
		return c, nil
	case <-ctx.Done():
		c.Release()
		return nil, ctx.Err()
	}
}

// Size returns the bytes of the whole budget.
func (b *Budget) Size() int64 { return b.size }

// Free returns the bytes that nobody holds now.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// Granted returns a channel that is closed when the claim is held.
func (c *Claim) Granted() <-chan struct{} { return c.granted }

// Held tells whether the claim is held.
func (c *Claim) Held() bool {
	select {
	case <-c.granted:
		return true
	default:
		return false
	}
}

// Grow adds to a claim that is held, when as much is free now. It never waits.
func (c *Claim) Grow(bytes int64) bool {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes > b.free {
		return false
	}
	b.free -= bytes
	c.bytes += bytes
	return true
}

// Release gives back what is held, or stops waiting for it. A second call does
// nothing.
func (c *Claim) Release() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	if c.Held() {
		b.free += c.bytes
	} else {
		for i, other := range b.waiting {
			if other == c {
				b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
				break
			}
		}
	}
	b.grant()
}

// grant serves those who wait, in turn, while there is enough. b.mu is held.
func (b *Budget) grant() {
	for len(b.waiting) > 0 && b.waiting[0].bytes <= b.free {
		c := b.waiting[0]
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		b.free -= c.bytes
		close(c.granted)
	}
}

// Slices keeps slices for the next who needs one: as many as were in use at
// once, and none for long that nobody uses. The zero value is ready. It is safe
// for concurrent use.
type Slices[T any] struct{ pool sync.Pool }

// Get returns an empty slice with room for at least so many elements.
func (s *Slices[T]) Get(room int) []T {
	if kept, ok := s.pool.Get().(*[]T); ok && cap(*kept) >= room {
		return (*kept)[:0]
	}
	return make([]T, 0, room)
}

// Put keeps a slice, which the caller does not use any more, unless it has more
// room than most: one that grew for a rare case is not kept.
func (s *Slices[T]) Put(slice []T, most int) {
	if cap(slice) > 0 && cap(slice) <= most {
		s.pool.Put(&slice)
	}
}
