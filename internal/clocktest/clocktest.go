// Package clocktest is a wall clock that jumps, as one does that somebody sets:
// what the clock on the wall says changes, what the monotonic clock measures
// does not.
package clocktest

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Clock is [time.Now] with a wall clock that can be set. The zero value is right.
// It is safe for concurrent use.
type Clock struct{ ahead atomic.Int64 } // seconds

// Now returns the time with both of its readings.
func (c *Clock) Now() time.Time { return jumped(time.Now(), c.ahead.Load()) }

// Set makes the wall clock go d ahead of the real one, to the second.
func (c *Clock) Set(d time.Duration) { c.ahead.Store(int64(d / time.Second)) }

// Year is as good as a year for clocks that jump.
const Year = 365 * 24 * time.Hour

// jumped changes the wall clock's reading of t alone. No function of package
// time does: [time.Time.Add] moves both readings. The layout is that of a
// time.Time with a monotonic reading: a flag, 33 bits of seconds since 1885 and
// 30 of nanoseconds, then the monotonic clock's nanoseconds. A test holds it to
// that. In a bubble of testing/synctest time has no monotonic reading: it gets
// one here, of the same clock.
func jumped(t time.Time, seconds int64) time.Time {
	type layout struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}
	since := t.Unix() + seconds - time.Date(1885, time.January, 1, 0, 0, 0, 0, time.UTC).Unix()
	wall := 1<<63 | uint64(since)<<30 | uint64(t.Nanosecond()) //nolint:gosec // for as long as tests run
	p := (*layout)(unsafe.Pointer(&t))                         //nolint:gosec // see above
	if p.wall>>63 == 0 {
		p.ext = t.UnixNano()
	}
	p.wall = wall
	return t
}
