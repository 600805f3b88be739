package sdnotify

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Reloading returns the message that the service loads its configuration again.
// Ready has to follow, whatever came of it: until then the manager shows the
// service as reloading. With Type=notify-reload the manager tells by the time
// (CLOCK_MONOTONIC, microseconds) whether this answers the signal that it sent.
func Reloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return reloading // what Type=notify needs
	}
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", reloading, now.Nano()/1000)
}
