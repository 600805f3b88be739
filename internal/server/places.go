package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/version"
	"github.com/auditail/auditail/seal"
)

// places are where a server keeps things.
type places struct {
	store    storage // the archive
	state    storage // what the servers over one store know; never inside it
	registry *registry
	incoming *incoming
	dir      string         // of what is this server's alone: its log, what it receives, the witness's key
	bucket   *bucket.Bucket // nil when the store is a directory
	// maxSilence is how long an agent may be silent whatever its own word is; 0: so
	// long as it says.
	maxSilence time.Duration
}

// openPlaces checks the places. With create, directories of the state that are
// missing are made. The store itself is never made: where it is missing, it
// may be a file system that is not mounted.
func openPlaces(ctx context.Context, c Config, d Deps, create bool) (*places, error) {
	if !seal.ValidName(c.ID) || !seal.ValidOrganization(c.Organization) {
		return nil, fmt.Errorf("id %q or organization %q: every part between slashes is at most 63 of a-z, 0-9, dot, dash and underscore", c.ID, c.Organization)
	}
	p := new(places)
	var err error
	if p.maxSilence, err = config.ParseDuration(c.MaxSilence); err != nil {
		return nil, fmt.Errorf("max_silence: %w", err)
	}
	if c.inBucket() {
		return p, p.openBucket(ctx, c, d, create)
	}
	return p, p.openDirectory(c, d, create)
}

func (p *places) openDirectory(c Config, d Deps, create bool) error {
	root, err := existing(d.FS, "store", c.Store)
	if err != nil {
		return err
	}
	if err := p.openState(c, d, create, c.stateDir(), func(dir string) error { return outside(root, dir) }); err != nil {
		return err
	}
	if err := privateDirs(d, create, filepath.Join(p.dir, "agents"), filepath.Join(p.dir, "forks"), filepath.Join(p.dir, "owed")); err != nil {
		return err
	}
	p.store = newArchiveDirectory(d.FS, root, p.incoming)
	p.state = newStateDirectory(d.FS, p.dir, p.incoming, d.Lock)
	p.registry = &registry{state: p.state, now: d.Now}
	return nil
}

// maxConnections is how many connections to the bucket wait for the next request.
const maxConnections = 64

var errNoState = errors.New("a store in a bucket needs state: a directory for what is this server's alone, its log, the witness's key and what is being received; set --state")

func (p *places) openBucket(ctx context.Context, c Config, d Deps, create bool) error {
	if c.State == "" {
		return errNoState
	}
	if err := p.openState(c, d, create, c.State, func(string) error { return nil }); err != nil {
		return err
	}
	at, err := c.bucket()
	if err != nil {
		return err
	}
	p.bucket, err = bucket.Open(ctx, at, bucket.Deps{
		Now:    time.Now, // a lock ends by the store's clock
		Prober: c.ID, Version: version.String(), Transport: d.Transport, Connections: maxConnections,
	})
	if err != nil {
		return fmt.Errorf("open store %s: %w", c.Store, err)
	}
	p.store = &bucketStorage{bucket: p.bucket, accept: isObject}
	p.state = &bucketStorage{bucket: p.bucket.Below(at.Prefix + stateSuffix)}
	p.registry = &registry{state: p.state, now: d.Now, fresh: bucketFresh, known: make(map[string]knownEnrolment)}
	return nil
}

// incomingFolder is in the state directory, and is made by the server or by a command.
const incomingFolder = "incoming"

// openState opens the directory of what is this server's alone.
func (p *places) openState(c Config, d Deps, create bool, state string, check func(dir string) error) error {
	// Its parent is not made: it may be a file system that is not mounted.
	parent, err := existing(d.FS, "parent of the state directory", filepath.Dir(filepath.Clean(state)))
	if err != nil {
		return err
	}
	state = filepath.Join(parent, filepath.Base(state))
	if err := check(state); err != nil {
		return err
	}
	if create {
		if err := d.FS.MkdirAll(state, stateDirMode); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
	if state, err = existing(d.FS, "state directory", state); err != nil {
		return err
	}
	if err := check(state); err != nil { // it may be a link itself
		return err
	}
	p.dir, p.incoming = state, &incoming{fs: d.FS, dir: filepath.Join(state, incomingFolder, c.ID)}
	return privateDirs(d, create, state, p.incoming.dir)
}

// privateDirs makes directories, and refuses those that other users can write.
func privateDirs(d Deps, create bool, dirs ...string) error {
	for _, dir := range dirs {
		if create {
			if err := d.FS.MkdirAll(dir, stateDirMode); err != nil {
				return fmt.Errorf("make state directory: %w", err)
			}
		}
		info, err := d.FS.Stat(dir)
		if err == nil {
			err = checkPrivate(dir, info)
		}
		if err != nil {
			return fmt.Errorf("open state directory: %w", err)
		}
	}
	return nil
}

// existing returns the absolute path of a directory, links resolved.
func existing(fsys durable.FS, what, dir string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("no %s given; set --%s or --config", what, what)
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

// CheckUser refuses to run a command as another user than the server, who could not
// read then what the command wrote.
func CheckUser(c Config) error {
	state := c.stateDir()
	if state == "" {
		return nil
	}
	uid, other := durable.OtherOwner(filepath.Join(state, incomingFolder))
	if !other {
		return nil
	}
	name := fmt.Sprintf("#%d", uid)
	if found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		name = found.Username
	}
	return fmt.Errorf("the server over %s runs as %s, who could not read what you write there: sudo -u '%s' auditail-server …", state, name, name)
}

// stateDir is where the configuration leads to; "" when that is not said.
func (c Config) stateDir() string {
	if c.State == "" && c.Store != "" && !c.inBucket() {
		return filepath.Clean(c.Store) + ".state"
	}
	return c.State
}

// StateDir returns the directory of what is one server's alone, made where it is
// missing.
func StateDir(c Config, d Deps) (string, error) {
	p := new(places)
	if c.inBucket() {
		if c.State == "" {
			return "", errNoState
		}
		err := p.openState(c, d, true, c.State, func(string) error { return nil })
		return p.dir, err
	}
	err := p.openDirectory(c, d, true)
	return p.dir, err
}
