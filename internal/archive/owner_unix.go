//go:build unix

package archive

import (
	"io/fs"
	"os"
	"syscall"
)

// withoutWaiting opens a pipe at once. To regular files it means nothing.
const withoutWaiting = syscall.O_NONBLOCK

// othersMayWrite tells whether anybody but the user may write a file.
func othersMayWrite(_ string, info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm()&0o022 != 0 || !ok || int(stat.Uid) != os.Geteuid()
}
