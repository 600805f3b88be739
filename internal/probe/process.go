package probe

import "time"

// Process is who answers at a port of this host.
type Process struct {
	// Identity changes when another process answers; empty when nobody can be
	// named.
	Identity string
	// First and Last are when those that hold the port were started, which is
	// one moment unless a server has workers. Weights that were loaded by any
	// of them were loaded after First; all of them serve what was there at Last.
	First, Last time.Time
}
