//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"syscall"
)

// Bits of a mode that give the file to people who are not its owner.
const (
	groupWrite  = 0o020
	othersWrite = 0o002
	othersRead  = 0o004
)

// checkConfigMode refuses a file or directory that somebody else could have
// written. The group may write when it is root's.
func checkConfigMode(path string, info fs.FileInfo) error {
	mend := "644"
	if info.IsDir() {
		mend = "755"
	}
	mode := info.Mode().Perm()
	if mode&othersWrite != 0 {
		return fmt.Errorf("%s: is writable by others; run chmod %s %[1]s", path, mend)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if mode&groupWrite != 0 && (!ok || stat.Gid != 0) {
		return fmt.Errorf("%s: is writable by its group; run chmod %s %[1]s", path, mend)
	}
	return nil
}

// checkSecretMode refuses a file that others can read, or that the group or
// others can write. The group may read: that is how a service gets its key.
func checkSecretMode(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	switch {
	case mode&othersWrite != 0:
		return fmt.Errorf("%s: is writable by others; run chmod 600 %[1]s", path)
	case mode&groupWrite != 0:
		return fmt.Errorf("%s: is writable by its group; run chmod 600 %[1]s", path)
	case mode&othersRead != 0:
		return fmt.Errorf("%s: is readable by others; run chmod 600 %[1]s", path)
	default:
		return nil
	}
}
