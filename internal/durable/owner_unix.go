//go:build unix

package durable

import (
	"os"
	"syscall"
)

// OtherOwner tells whether a file belongs to another user than the one who runs
// this program, and to whom.
func OtherOwner(name string) (uid uint32, other bool) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, int(stat.Uid) != os.Geteuid()
}
