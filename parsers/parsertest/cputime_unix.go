//go:build unix

package parsertest

import (
	"syscall"
	"time"
)

// cpuTime returns the processor time of the process, which a busy machine does
// not stretch as it does wall time.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
