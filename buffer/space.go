package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

const (
	// spaceRetry is how often a step that found the disk full is tried again.
	spaceRetry = time.Second
	// reserveSize is far more than the agent's own state takes: an intent, a
	// key, a manifest with its signature, the seal state and cursors, each once
	// more beside the old one while it is replaced.
	reserveSize  = 1 << 20
	reserveShare = 64 // … but not more than this part of MaxDisk
	// spaceQuiet is how long after a full disk was logged the next time is not:
	// a disk at its limit is full and not full in turn.
	spaceQuiet = time.Minute
)

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// NoSpace tells whether an error of this package says that the disk is full.
func NoSpace(err error) bool { return noSpace(err) }

// ReadOnly tells whether an error of this package says that the file system is
// read-only, as the kernel makes it after an error of the disk.
func ReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// space is what the buffer does about a full disk: reading waits, and the
// agent's own state is written into the room of a file that was kept for it.
type space struct {
	fs   durable.FS
	log  *slog.Logger
	now  func() time.Time
	path string
	size int64

	scarce atomic.Bool // the disk was full, and the reserve is not known to be there since

	mu      sync.Mutex // guards what follows
	held    bool       // the reserve is there
	blocked int        // steps that wait for space beside the reserve
	using   int        // steps that need its space: nobody takes it from them
	told    bool       // the present shortage was logged
	toldAt  time.Time
	waiting string    // file that could not be written
	since   time.Time // of the shortage
}

func newSpace(dir string, maxDisk int64, deps Deps) space {
	return space{
		fs: deps.FS, log: deps.Log, now: deps.Now,
		path: filepath.Join(dir, "reserve"), size: min(reserveSize, maxDisk/reserveShare),
	}
}

// open takes the reserve that an earlier process left, or makes it. Where that
// can not be done now, it is done later.
func (s *space) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.fs.Stat(s.path)
	if err == nil && info.Size() == s.size {
		s.held = true
		return
	}
	if err := s.make(); err != nil {
		s.log.Warn("space for the agent's own state can not be reserved now", "path", s.path, "reserve_bytes", s.size, "error", err)
		s.scarce.Store(true)
	}
}

// make takes the space of the reserve. s.mu is held.
func (s *space) make() error {
	f, err := s.fs.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.Allocate(s.size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeIfThere(s.fs, s.path))
	}
	s.held = true
	return nil
}

// inherit goes on with what a buffer that failed knew.
func (s *space) inherit(old *space) {
	old.mu.Lock()
	defer old.mu.Unlock()
	s.scarce.Store(old.scarce.Load())
	s.told, s.toldAt, s.waiting, s.since = old.told, old.toldAt, old.waiting, old.since
}

// use gives the reserve's space to a step, until done. False: it was given before.
func (s *space) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.using++
	if !s.held {
		return false
	}
	s.held = false
	// File systems may free blocks only when the removal is on the disk.
	return errors.Join(removeIfThere(s.fs, s.path), s.fs.SyncDir(filepath.Dir(s.path))) == nil
}

func (s *space) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.using--
}

// restore takes the reserve back; nil when it is there.
func (s *space) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restoreLocked()
}

// beside runs a step that writes records when the reserve is there, or nobody
// knows. Nobody can free it meanwhile: its space is not for records.
func (s *space) beside(step func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restoreLocked(); noSpace(err) {
		return err
	}
	return step()
}

func (s *space) restoreLocked() error {
	switch {
	case s.using > 0:
		return fmt.Errorf("the reserve is in use: %w", syscall.ENOSPC)
	case s.held:
		return nil
	}
	return s.make()
}

// block notes that a step begins to wait for space, or with -1 that it waits no more.
func (s *space) block(steps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked += steps
}

// relieved notes that a step found space, and that there is some beside the
// reserve when no other step waits.
func (s *space) relieved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held && s.blocked == 0 && s.scarce.Swap(false) && s.told {
		s.told = false
		s.log.Info("the disk has space again: reading goes on",
			"path", s.waiting, "reserve_bytes", s.size, "waited", s.now().Sub(s.since).Round(time.Second))
	}
}

// shortage notes that a step found the disk full: bytes are what it was to write.
func (s *space) shortage(cause error, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scarce.Swap(true) {
		return
	}
	now := s.now()
	s.since = now
	if !s.toldAt.IsZero() && now.Sub(s.toldAt) < spaceQuiet {
		return
	}
	s.told, s.toldAt, s.waiting = true, now, s.path
	if at, ok := errors.AsType[*fs.PathError](cause); ok {
		s.waiting = at.Path
	}
	s.log.Error("the disk is full: reading stops until there is space; the agent's own state has a reserve",
		"path", s.waiting, "needed_bytes", bytes, "error", cause)
}

// keepState repeats a step that writes the agent's own state until the disk has
// space for it, and gives it the reserve. Each such step ends in the same bytes
// however often it is repeated, or leaves nothing.
func (b *Buffer) keepState(step func() error) error {
	err := step()
	if noSpace(err) {
		err = b.fromReserve(err, step)
	}
	if err == nil && b.space.scarce.Load() && !b.isClosing() && b.space.restore() == nil {
		b.space.relieved()
	}
	return err
}

func (b *Buffer) fromReserve(err error, step func() error) error {
	b.space.shortage(err, b.space.size)
	released := b.space.use()
	defer b.space.done()
	if released {
		err = step()
	}
	for noSpace(err) {
		if err := b.waitForDisk(err, b.space.size); err != nil {
			return err
		}
		err = step()
	}
	return err
}

// untilSpace repeats a step that writes bytes of records until the disk has
// space for them beside the reserve. Each such step can be repeated.
func (b *Buffer) untilSpace(bytes int64, step func() error) error {
	if !b.space.scarce.Load() {
		if err := b.space.beside(step); !noSpace(err) {
			return err
		}
	}
	b.space.block(1)
	err := b.waitForSpaceFor(bytes, step)
	b.space.block(-1)
	if err == nil {
		b.space.relieved()
	}
	return err
}

func (b *Buffer) waitForSpaceFor(bytes int64, step func() error) error {
	for {
		err := b.space.beside(step)
		if !noSpace(err) {
			return err
		}
		if err := b.waitForDisk(err, bytes); err != nil {
			return err
		}
	}
}

// waitForDisk waits a moment for space. It returns an error when there is no
// time to wait: the buffer is being opened or closed.
func (b *Buffer) waitForDisk(cause error, bytes int64) error {
	if !b.opened {
		return cause
	}
	b.space.shortage(cause, bytes)
	if err := b.release(); err != nil {
		return err
	}
	select {
	case <-b.closing:
		return errors.Join(ErrClosed, cause)
	case <-time.After(spaceRetry):
		return nil
	}
}

func (b *Buffer) isClosing() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}
