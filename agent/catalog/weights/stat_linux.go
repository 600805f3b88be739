package weights

import (
	"io/fs"
	"syscall"
	"time"
)

// key names a content as well as the file system can tell: any write changes
// size, time of modification or, where that was set back, time of change.
type key struct {
	Path     string `json:"path,omitempty"` // where there is no inode
	Device   uint64 `json:"dev,omitempty"`
	Inode    uint64 `json:"ino,omitempty"`
	Size     int64  `json:"size"`
	Modified int64  `json:"mtime"`
	Changed  int64  `json:"ctime,omitempty"`
}

func keyOf(path string, info fs.FileInfo) key {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return key{Path: path, Size: info.Size(), Modified: info.ModTime().UnixNano()}
	}
	return key{
		Device: uint64(st.Dev), Inode: st.Ino, Size: info.Size(), //nolint:unconvert // other widths on other systems
		Modified: info.ModTime().UnixNano(), Changed: st.Ctim.Nano(),
	}
}

// changeTime is when an inode changed last, which nobody can set.
func changeTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}
