package agent

import "runtime/debug"

// restWorth is after how many chunks a rest is worth its two collections.
const restWorth = 4

// rest gives memory back to the system when the buffer says that a busy time is
// over: what a backlog took is not kept for the next one. The runtime alone keeps
// it for as long as nothing is allocated: an idle agent collects no garbage.
func (a *Agent) rest() {
	now := a.chunks.Load()
	if now-a.rested < restWorth {
		return
	}
	debug.FreeOSMemory() // what pools keep outlives one collection
	debug.FreeOSMemory()
	a.rested = now
}
