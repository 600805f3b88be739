//go:build !unix

package parsertest

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
