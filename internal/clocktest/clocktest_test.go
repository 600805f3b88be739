package clocktest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestJumps(t *testing.T) {
	testJumps(t)
	synctest.Test(t, testJumps)
}

func testJumps(t *testing.T) {
	var c Clock
	began := c.Now()
	<-time.After(time.Millisecond)
	for _, by := range []time.Duration{0, 10 * Year, -10 * Year, 90 * time.Second, -time.Second} {
		before := time.Now()
		c.Set(by)
		now := c.Now()
		if d := now.Sub(began); d < time.Millisecond || d > time.Minute {
			t.Errorf("%s: the monotonic clock went by %s", by, d)
		}
		if d := now.Round(0).Sub(before.Round(0)) - by; d < 0 || d > time.Minute {
			t.Errorf("%s: the wall clock is %s off", by, d)
		}
	}
}
