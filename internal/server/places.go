package server

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// places are the directories of a server.
type places struct {
	store    *store
	registry *registry
	forks    string // evidence, by agent
	owed     string // payloads that were refused, by agent
	state    string
	cells    *cells
}

// openPlaces checks the directories. With create, those of the state that are
// missing are made. The store itself is never made: where it is missing, it
// may be a file system that is not mounted.
func openPlaces(c Config, d Deps, create bool) (*places, error) {
	if !seal.ValidName(c.ID) || !seal.ValidOrganization(c.Organization) {
		return nil, fmt.Errorf("id %q or organization %q: every part between slashes is at most 63 of a-z, 0-9, dot, dash and underscore", c.ID, c.Organization)
	}
	root, err := existing(d.FS, "store", c.Store)
	if err != nil {
		return nil, err
	}
	state := c.State
	if state == "" {
		state = filepath.Clean(c.Store) + ".state"
	}
	// Its parent is not made, for the same reason.
	parent, err := existing(d.FS, "parent of the state directory", filepath.Dir(filepath.Clean(state)))
	if err != nil {
		return nil, err
	}
	state = filepath.Join(parent, filepath.Base(state))
	if err := outside(root, state); err != nil {
		return nil, err
	}
	if create {
		if err := d.FS.MkdirAll(state, stateDirMode); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	if state, err = existing(d.FS, "state directory", state); err != nil {
		return nil, err
	}
	if err := outside(root, state); err != nil { // it may be a link itself
		return nil, err
	}
	p := &places{store: newStore(d.FS, root, filepath.Join(state, "incoming", c.ID)), forks: filepath.Join(state, "forks"), owed: filepath.Join(state, "owed")}
	p.state, p.cells = state, &cells{fs: d.FS, dir: state, incoming: p.store.incoming, lock: d.Lock}
	p.registry = &registry{fs: d.FS, dir: filepath.Join(state, "agents"), cells: p.cells}
	for _, dir := range []string{state, p.registry.dir, p.store.incoming, p.forks, p.owed} {
		if create {
			if err := d.FS.MkdirAll(dir, stateDirMode); err != nil {
				return nil, fmt.Errorf("make state directory: %w", err)
			}
		}
		info, err := d.FS.Stat(dir)
		if err == nil {
			err = checkPrivate(dir, info)
		}
		if err != nil {
			return nil, fmt.Errorf("open state directory: %w", err)
		}
	}
	return p, nil
}

// existing returns the absolute path of a directory, links resolved.
func existing(fsys durable.FS, what, dir string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("no %s given; set --%s", what, what)
	}
	info, err := fsys.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("open %s: %s does not exist; if it should, run: mkdir -m 0750 %s", what, dir, dir)
	case err != nil:
		return "", fmt.Errorf("open %s: %w", what, err)
	case !info.IsDir():
		return "", fmt.Errorf("open %s: %s is not a directory", what, dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("open %s: %w", what, err)
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		return resolved, nil
	}
	return dir, nil // a file system of fsys' own, without links
}

// outside refuses a state directory within the store. Both are absolute, links
// resolved.
func outside(root, state string) error {
	if state == root || strings.HasPrefix(state, root+string(filepath.Separator)) {
		return fmt.Errorf("state directory %s lies inside the store %s, which holds nothing but the archive; set state to a directory beside it", state, root)
	}
	return nil
}
