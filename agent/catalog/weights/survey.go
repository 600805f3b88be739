package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/probe"
)

// Bounds of one folder of weights.
const (
	maxFiles = 4096
	maxDepth = 8
	maxLinks = 40 // as in the kernel's path walk
)

// found is what was seen under a path, nothing of it read yet.
type found struct {
	root    string // with symbolic links resolved
	asked   string // as configured
	single  bool   // the path is one file
	files   []file // those that hold weights, by name
	changed time.Time
}

// file is one that holds weights.
type file struct {
	rel     string // from the root, with slashes
	path    string
	size    int64
	key     key
	claimed string // SHA-256 that its name claims; empty: none
}

// extensions of files that hold weights. A folder without any of them is one of
// a format of its own: all its files count.
var extensions = []string{ //nolint:gochecknoglobals // a constant
	".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".pb", ".h5", ".hdf5", ".keras", ".tflite", ".engine", ".plan",
	".mar", ".npz", ".npy", ".msgpack", ".pkl", ".joblib", ".model", ".ubj", ".params", ".trt", ".llamafile",
}

// survey looks at a file or folder without reading its content.
func survey(path string) (*found, error) {
	f := &found{asked: path}
	root, err := f.resolve(path)
	if err != nil {
		return nil, fmt.Errorf("find weights: %w", err)
	}
	if snapshot := cachedSnapshot(root); snapshot != "" {
		if root, err = f.resolve(snapshot); err != nil {
			return nil, fmt.Errorf("find weights: %w", err)
		}
	}
	f.root = root
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("find weights: %w", err)
	}
	f.touch(info)
	if !info.IsDir() {
		f.single = true
		f.add(filepath.Base(path), path, root, info)
		return f, nil
	}
	if err := f.walk(root, "", 0); err != nil {
		return nil, fmt.Errorf("look at weights: %w", err)
	}
	weights := slices.DeleteFunc(slices.Clone(f.files), func(one file) bool {
		return !slices.Contains(extensions, strings.ToLower(filepath.Ext(one.rel)))
	})
	if len(weights) > 0 {
		f.files = weights
	}
	return f, nil
}

// touch takes the time of a change.
func (f *found) touch(info fs.FileInfo) {
	if t := changeTime(info); t.After(f.changed) {
		f.changed = t
	}
}

// resolve follows symbolic links by hand: one that was changed changes what
// the path means, though nothing of the files has.
func (f *found) resolve(path string) (string, error) {
	path = filepath.Clean(path)
	for range maxLinks {
		link, info := firstLink(path)
		if info == nil {
			return path, nil
		}
		f.touch(info)
		to, err := os.Readlink(link)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(link), to)
		}
		path = filepath.Join(to, strings.TrimPrefix(path, link))
	}
	return "", errors.New(path + ": too many symbolic links")
}

// firstLink returns the first part of a path that is a symbolic link.
func firstLink(path string) (string, fs.FileInfo) {
	volume := filepath.VolumeName(path)
	for at := len(volume) + 1; at <= len(path); at++ {
		if at < len(path) && !os.IsPathSeparator(path[at]) {
			continue
		}
		info, err := os.Lstat(path[:at])
		if err != nil {
			return "", nil // the caller finds out
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return path[:at], info
		}
	}
	return "", nil
}

// walk adds the files below a folder. Hidden ones are no weights.
func (f *found) walk(dir, rel string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders are nested deeper than %d", dir, maxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if err := f.visit(dir, rel, entry, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f *found) visit(dir, rel string, entry fs.DirEntry, depth int) error {
	named := filepath.Join(dir, entry.Name())
	path, err := f.resolve(named)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a dangling link holds nothing
	}
	if err != nil {
		return err
	}
	f.touch(info)
	name := rel + entry.Name()
	switch {
	case info.IsDir():
		return f.walk(path, name+"/", depth+1)
	case !info.Mode().IsRegular():
		return nil
	case len(f.files) >= maxFiles:
		return fmt.Errorf("more than %d files", maxFiles)
	}
	f.add(name, named, path, info)
	return nil
}

func (f *found) add(rel, named, path string, info fs.FileInfo) {
	f.files = append(f.files, file{
		rel: rel, path: path, size: info.Size(), key: keyOf(path, info), claimed: claimed(named, path),
	})
}

// claimed returns the SHA-256 that a blob is named by: in the cache of the
// Hugging Face hub ("blobs/<hex>") and in Ollama's ("blobs/sha256-<hex>").
func claimed(named, path string) string {
	dir, base := filepath.Split(path)
	if filepath.Base(dir) != "blobs" {
		return ""
	}
	if hex, ollama := strings.CutPrefix(base, "sha256-"); ollama {
		base = hex
	} else if named == path {
		return ""
	}
	if !probe.IsSHA256(base) {
		return ""
	}
	return base
}
