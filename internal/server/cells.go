package server

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

// cells are small values in the state directory that several servers may change:
// a value is replaced only by whoever knows the one before.
type cells struct {
	fs       durable.FS
	dir      string
	incoming string // for files without a name yet
	// lock keeps other processes out; nil where there is only this one.
	lock func(name string) (unlock func() error, err error)

	mu sync.Mutex
}

// errSwapped tells that a cell does not hold the old value any more.
var errSwapped = errors.New("the value was changed by another request")

// read returns a cell's value, or fs.ErrNotExist.
func (c *cells) read(name string) ([]byte, error) {
	data, err := durable.ReadFile(c.fs, filepath.Join(c.dir, filepath.FromSlash(name)), maxSeal)
	if err != nil {
		return nil, fmt.Errorf("read state %s: %w", name, err)
	}
	return data, nil
}

// Another process holds the lock for one small write.
const (
	lockTries = 200
	lockPause = 10 * time.Millisecond
)

// acquire waits for other processes, for about two seconds.
func (c *cells) acquire() (unlock func() error, err error) {
	for range lockTries {
		unlock, err = c.lock(filepath.Join(c.dir, "lock"))
		if !errors.Is(err, durable.ErrLocked) {
			return unlock, err
		}
		time.Sleep(lockPause)
	}
	return nil, err
}

// swap replaces the value old, nil for none, by data: durably when it returns
// nil. It fails with errSwapped when the cell holds another value.
func (c *cells) swap(name string, old, data []byte) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	file := filepath.Join(c.dir, filepath.FromSlash(name))
	if err := c.fs.MkdirAll(filepath.Dir(file), stateDirMode); err != nil {
		return fmt.Errorf("change state %s: %w", name, err)
	}
	if old == nil {
		return c.create(name, file, data)
	}
	if c.lock != nil {
		unlock, err := c.acquire()
		if err != nil {
			return fmt.Errorf("change state %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	have, err := c.read(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, old) {
		return fmt.Errorf("change state %s: %w", name, errSwapped)
	}
	if err := durable.WriteFile(c.fs, file, data, stateFileMode); err != nil {
		return fmt.Errorf("change state %s: %w", name, err)
	}
	return nil
}

// create gives a cell its first value. The link decides who was first, also
// where nothing locks.
func (c *cells) create(name, file string, data []byte) error {
	temp := filepath.Join(c.incoming, rand.Text()+durable.TempSuffix)
	f, err := c.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, stateFileMode)
	if err != nil {
		return fmt.Errorf("make state %s: %w", name, err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.fs.Link(temp, file)
	}
	removeErr := c.fs.Remove(temp)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make state %s: %w", name, errSwapped)
	}
	if err = errors.Join(err, removeErr); err == nil {
		err = c.fs.SyncDir(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("make state %s: %w", name, err)
	}
	return nil
}
