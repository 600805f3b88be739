package server

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Modes of what the server writes. Stored files are read-only for everyone: it
// keeps honest mistakes away, not root.
const (
	storeFileMode  fs.FileMode = 0o440
	storeDirMode   fs.FileMode = 0o750
	stateFileMode  fs.FileMode = 0o600
	stateDirMode   fs.FileMode = 0o700
	maxSyncedNames             = 10_000
)

// store is an archive in a directory. Its methods are safe for concurrent use,
// also by several processes: the link of a file to its name decides who was first.
type store struct {
	fs       durable.FS
	root     string
	incoming string // on the file system of root, outside of it

	mu     sync.Mutex
	synced map[string]struct{} // directories that this process knows to be durable
}

func newStore(fsys durable.FS, root, incoming string) *store {
	return &store{fs: fsys, root: root, incoming: incoming, synced: make(map[string]struct{})}
}

// open returns a stored file and its size; the caller closes it. path was
// accepted by seal.ParsePath, so it can not leave the store.
func (s *store) open(path string) (durable.File, int64, error) {
	f, err := s.fs.OpenFile(s.name(path), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
	}
	return f, info.Size(), nil
}

// read returns a stored file of at most maxSeal bytes.
func (s *store) read(path string) ([]byte, error) {
	data, err := durable.ReadFile(s.fs, s.name(path), maxSeal)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// exists tells whether a path is stored.
func (s *store) exists(path string) (bool, error) {
	_, err := s.fs.Stat(s.name(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return true, nil
}

// digest returns the SHA-256 of a stored file.
func (s *store) digest(path string) (seal.Digest, error) {
	f, _, err := s.open(path)
	if err != nil {
		return seal.Digest{}, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return seal.Digest{}, fmt.Errorf("read %s: %w", path, err)
	}
	return sum(h), nil
}

func (s *store) name(path string) string { return filepath.Join(s.root, filepath.FromSlash(path)) }

// write stores data under a path: durable when it returns nil. It fails with
// fs.ErrExist when the path is taken.
func (s *store) write(path string, data []byte) error {
	f, err := s.receive(storeFileMode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.discard())
	}
	return f.commit(path)
}

// incomingFile is a file without a name in the store yet. Either commit or
// discard ends it.
type incomingFile struct {
	durable.File
	store *store
	name  string
}

// receive opens a new incoming file.
func (s *store) receive(mode fs.FileMode) (*incomingFile, error) {
	name := filepath.Join(s.incoming, rand.Text()+durable.TempSuffix)
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, fmt.Errorf("create incoming file: %w", err)
	}
	return &incomingFile{File: f, store: s, name: name}, nil
}

// commit gives the file its name: when it returns nil both are durable, when it
// fails with fs.ErrExist the name was taken. After any other error the name may
// exist or not, durable or not; makeDurable settles it.
func (f *incomingFile) commit(path string) error {
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", path, err), f.discard())
	}
	err := f.store.makeDirs(filepath.Dir(f.store.name(path)))
	if err == nil {
		err = f.store.fs.Link(f.name, f.store.name(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("name %s: %w", path, err), f.discard())
	}
	return errors.Join(f.store.makeDurable(path), f.discard())
}

// discard closes the file and removes its temporary name.
func (f *incomingFile) discard() error {
	err := errors.Join(f.Close(), f.store.fs.Remove(f.name))
	if err != nil {
		return fmt.Errorf("discard incoming file: %w", err)
	}
	return nil
}

// makeDurable syncs the directory of a path that exists. It is called before
// success is answered for a file that an earlier request named, too: that
// request may have ended between the link and the sync.
func (s *store) makeDurable(path string) error {
	if err := s.fs.SyncDir(filepath.Dir(s.name(path))); err != nil {
		return fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return nil
}

// makeDirs makes a directory below the root durable. One that exists may have
// been made by a process that died before the sync, so every level is synced
// once by each process.
func (s *store) makeDirs(dir string) error {
	s.mu.Lock()
	_, done := s.synced[dir]
	s.mu.Unlock()
	if done {
		return nil
	}
	if err := s.fs.MkdirAll(dir, storeDirMode); err != nil {
		return err
	}
	if dir != s.root && strings.HasPrefix(dir, s.root) {
		parent := filepath.Dir(dir)
		if err := s.makeDirs(parent); err != nil {
			return err
		}
		if err := s.fs.SyncDir(parent); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.synced) >= maxSyncedNames {
		clear(s.synced)
	}
	s.synced[dir] = struct{}{}
	return nil
}

// clean removes what earlier processes were receiving when they ended. None of
// it was acknowledged.
func (s *store) clean() error {
	entries, err := s.fs.ReadDir(s.incoming)
	if err != nil {
		return fmt.Errorf("clean incoming files: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), durable.TempSuffix) {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.incoming, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clean incoming files: %w", err)
		}
	}
	return nil
}

// probeName is the only name that the server ever gives a file in the store
// outside the archive layout, and only for a moment.
const probeName = ".auditail-server-probe"

// probe proves that a file can be received and named in the store.
func (s *store) probe() error {
	if err := s.fs.Remove(s.name(probeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the probe of an earlier run: %w", err)
	}
	if err := s.write(probeName, []byte("probe\n")); err != nil {
		return err
	}
	if err := s.fs.Remove(s.name(probeName)); err != nil {
		return fmt.Errorf("remove the probe: %w", err)
	}
	return s.makeDurable(probeName)
}

func sum(h hash.Hash) (d seal.Digest) {
	h.Sum(d[:0])
	return d
}

// probeError says what is in the way of a probe in words that lead to the mending.
func probeError(err error, p *places) error {
	if errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("the state directory is not on the file system of the store %s: set --state to a directory there, outside the store", p.store.root)
	}
	return fmt.Errorf("the store is not writable: %w", err)
}
