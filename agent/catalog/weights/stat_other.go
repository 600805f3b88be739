//go:build !linux

package weights

import (
	"io/fs"
	"time"
)

// key names a content as well as the file system can tell.
type key struct {
	Path     string `json:"path,omitempty"`
	Device   uint64 `json:"dev,omitempty"`
	Inode    uint64 `json:"ino,omitempty"`
	Size     int64  `json:"size"`
	Modified int64  `json:"mtime"`
	Changed  int64  `json:"ctime,omitempty"`
}

func keyOf(path string, info fs.FileInfo) key {
	return key{Path: path, Size: info.Size(), Modified: info.ModTime().UnixNano()}
}

func changeTime(info fs.FileInfo) time.Time { return info.ModTime() }
