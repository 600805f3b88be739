package server

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/auditail/auditail/internal/durable"
)

// stoppingFS fails every change to the disk from a given one on, as if the
// process had been killed there: what was done stays, nothing more happens.
// With once it fails that one only. What a kill leaves does not depend on the
// disk, so it does not wait for it: Sync and SyncDir only count.
type stoppingFS struct {
	durable.OS
	left  atomic.Int64 // changes until the stop; negative after it
	once  bool
	error error
}

func newStoppingFS(changes int64, once bool, err error) *stoppingFS {
	s := &stoppingFS{once: once, error: err}
	s.left.Store(changes)
	return s
}

func (s *stoppingFS) change() error {
	if left := s.left.Add(-1); left == -1 || left < -1 && !s.once {
		return s.error
	}
	return nil
}

func (s *stoppingFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := s.change(); err != nil {
			return nil, err
		}
	}
	f, err := s.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &stoppingFile{File: f, fs: s}, nil
}

func (s *stoppingFS) MkdirAll(name string, perm fs.FileMode) error {
	if info, err := s.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := s.change(); err != nil {
		return err
	}
	return os.MkdirAll(name, perm)
}

func (s *stoppingFS) Link(from, to string) error {
	if err := s.change(); err != nil {
		return err
	}
	return s.OS.Link(from, to)
}

func (s *stoppingFS) Remove(name string) error {
	if err := s.change(); err != nil {
		return err
	}
	return s.OS.Remove(name)
}

func (s *stoppingFS) SyncDir(string) error { return s.change() }

type stoppingFile struct {
	durable.File
	fs *stoppingFS
}

func (f *stoppingFile) Write(p []byte) (int, error) {
	if err := f.fs.change(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *stoppingFile) Sync() error { return f.fs.change() }

// neverStopping is a stoppingFS that only saves the time of syncing.
func neverStopping() *stoppingFS { return newStoppingFS(1<<62, true, nil) }

func files(all []request) map[string][]byte {
	m := make(map[string][]byte)
	for _, r := range all {
		m[r.path] = r.body
	}
	return m
}

var errStopped = errors.New("the process was killed")

// TestStopAnywhere kills the server before each of its changes to the disk,
// starts a new one and has the agent repeat from the object that was not
// acknowledged, or from the very first one.
func TestStopAnywhere(t *testing.T) {
	for stop := int64(0); ; stop++ {
		f := newFixture(t)
		all := buildLog(f)[:10] // open, data, heartbeat
		f.server.store.fs = newStoppingFS(stop, false, errStopped)
		acknowledged := 0
		for _, r := range all {
			if got := f.do(r); got.status != http.StatusCreated {
				if got.status != http.StatusServiceUnavailable {
					t.Fatalf("stop %d: %s: status %d", stop, r.path, got.status)
				}
				break
			}
			acknowledged++
		}
		whole := acknowledged == len(all)
		f.start()
		repeatFrom := acknowledged
		if stop%2 == 1 {
			repeatFrom = 0
		}
		for i, r := range all[repeatFrom:] {
			got := f.do(r)
			stored := got.status == http.StatusCreated
			if !stored && got.status != http.StatusOK {
				t.Fatalf("stop %d: repeat of %s: status %d", stop, r.path, got.status)
			}
			if stored && repeatFrom+i < acknowledged {
				t.Fatalf("stop %d: %s was acknowledged and is gone", stop, r.path)
			}
		}
		f.wantStore(files(all))
		if t.Failed() || whole {
			if stop < 60 {
				t.Fatalf("only %d changes to the disk were seen", stop)
			}
			return
		}
	}
}

// TestDiskFullOnce lets one change fail for want of space: the agent is told to
// come again, the same server goes on, and nothing is lost.
func TestDiskFullOnce(t *testing.T) {
	for fail := int64(0); ; fail++ {
		f := newFixture(t)
		all := buildLog(f)[:10] // open, data, heartbeat
		full := newStoppingFS(fail, true, &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
		f.server.store.fs = full
		for _, r := range all {
			got := f.do(r)
			if got.status == http.StatusCreated {
				continue
			}
			if got.status != http.StatusInsufficientStorage || got.header.Get("Retry-After") == "" {
				t.Fatalf("failure %d: %s: status %d, want 507", fail, r.path, got.status)
			}
			if again := f.do(r); again.status != http.StatusCreated && again.status != http.StatusOK {
				t.Fatalf("failure %d: repeat of %s: status %d", fail, r.path, again.status)
			}
		}
		f.start() // removes what could not be removed
		f.wantStore(files(all))
		if t.Failed() || full.left.Load() >= 0 {
			if fail < 60 {
				t.Fatalf("only %d changes to the disk were seen", fail)
			}
			return
		}
	}
}

func TestServerFaultTellsNoPaths(t *testing.T) {
	f := newFixture(t)
	r := f.uploads(f.epoch.Open())[0]
	f.server.store.fs = newStoppingFS(0, false, &fs.PathError{Op: "open", Path: f.config.Store, Err: syscall.EIO})
	if p := f.want(http.StatusServiceUnavailable, r); strings.Contains(p.Detail, f.config.Store) {
		t.Errorf("the answer names a local path: %s", p.Detail)
	}
	if !strings.Contains(f.log.String(), "input/output error") {
		t.Error("the log does not name the fault")
	}
}
