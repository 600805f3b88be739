package agent

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// restEvery is how often an agent looks whether it is at rest; it is when
	// nothing was read for restTurns of it.
	restEvery, restTurns = 10 * time.Second, 3
	// A rest is worth its two collections after so many chunks.
	restWorth = 4
)

// rest gives memory back to the system once when a busy time is over. The runtime
// alone keeps what a backlog took for as long as nothing is allocated: an idle
// agent collects no garbage.
func (a *Agent) rest(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	var rested, last int64
	for quiet := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := a.chunks.Load()
		if now != last {
			quiet, last = 0, now
			continue
		}
		if quiet++; quiet >= restTurns && now-rested >= restWorth {
			debug.FreeOSMemory() // what pools keep outlives one collection
			debug.FreeOSMemory()
			rested = now
		}
	}
}
