package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/auditail/auditail/seal"
)

// list returns at most limit objects whose paths begin with prefix, behind after,
// in the order of their paths' bytes. What is no object of the layout is left out.
func (s *store) list(ctx context.Context, prefix, after string, limit int) ([]ListedObject, error) {
	found := []ListedObject{}
	err := s.walk(ctx, "", prefix, after, func(path string, info fs.FileInfo) bool {
		found = append(found, ListedObject{Path: path, Size: info.Size()})
		return len(found) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("list the store: %w", err)
	}
	return found, nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// walk visits objects until visit returns false.
func (s *store) walk(ctx context.Context, dir, prefix, after string, visit func(path string, info fs.FileInfo) bool) error {
	err := s.walkDir(ctx, dir, prefix, after, visit)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// walkDir visits what lies below dir, which is "" or ends in a slash.
func (s *store) walkDir(ctx context.Context, dir, prefix, after string, visit func(path string, info fs.FileInfo) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.fs.ReadDir(filepath.Join(s.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) { // it vanished with the last payload in it
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	byName := make(map[string]fs.DirEntry, len(entries))
	for _, entry := range entries {
		name := dir + entry.Name()
		if entry.IsDir() {
			name += "/" // as it stands in the paths below, for the order
		}
		names = append(names, name)
		byName[name] = entry
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if !overlaps(name, prefix) || name < after && !strings.HasPrefix(after, name) {
				continue
			}
			if err := s.walkDir(ctx, name, prefix, after, visit); err != nil {
				return err
			}
			continue
		}
		if name <= after || !strings.HasPrefix(name, prefix) {
			continue
		}
		if _, err := seal.ParsePath(name); err != nil {
			continue
		}
		info, err := byName[name].Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !visit(name, info) {
			return errEnough
		}
	}
	return nil
}

// overlaps tells whether paths below dir can begin with prefix.
func overlaps(dir, prefix string) bool {
	return strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir)
}
