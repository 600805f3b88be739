package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

// storage keeps named values: the objects of the archive in one, what the servers
// know of their agents in another. It is a directory or a bucket. Its methods are
// safe for concurrent use, also by several processes and hosts: who is first under
// a name, and whose change of a value counts, is decided there and not here.
type storage interface {
	// String says where it is.
	String() string
	// read returns a value of at most maxValue bytes and its tag, or fs.ErrNotExist.
	read(ctx context.Context, name string) (data []byte, tag string, err error)
	exists(ctx context.Context, name string) (bool, error)
	// open opens a value of any length, or fails with fs.ErrNotExist. It lives as
	// long as ctx.
	open(ctx context.Context, name string) (blob, error)
	// arrived returns when a value was stored, by the clock of the storage.
	arrived(ctx context.Context, name string) (time.Time, error)
	// write gives a free name its value for good, locked until keep where the
	// storage locks: durable when it returns nil. It fails with fs.ErrExist when
	// the name is taken. After any other error it may be stored or not, durable or
	// not; makeDurable settles it.
	write(ctx context.Context, name string, data []byte, keep time.Time) error
	// commit is write with what was received; held sets a legal hold with it where
	// the storage has such.
	commit(ctx context.Context, f *incomingFile, name string, keep time.Time, held bool) error
	// makeDurable is called before success is answered for a name that an earlier
	// request gave, too: that one may have ended before it was durable.
	makeDurable(name string) error
	// swap replaces the value that has the tag, "" for none: durably when it
	// returns nil. It fails with errSwapped when there is another value by now.
	swap(ctx context.Context, name, tag string, data []byte) error
	// remove removes a value. One that is not there is success.
	remove(ctx context.Context, name string) error
	// list returns at most limit values, no more than maxListed, whose names begin
	// with prefix, behind the name after, in the order of the names' bytes.
	list(ctx context.Context, prefix, after string, limit int) ([]ListedObject, error)
	// probe proves that the storage can be written, and does what it promises.
	probe(ctx context.Context) error
	// each calls f for 0 to n-1, several at a time where a look takes long, until
	// one fails.
	each(n int, f func(i int) error) error
	// healthy tells whether the storage is there.
	healthy(ctx context.Context) error
}

// blob is an open value.
type blob interface {
	io.ReadSeekCloser
	Size() int64
}

// errSwapped tells that a name does not hold the old value any more.
var errSwapped = errors.New("the value was changed by another request")

// maxValue is the most bytes of a value that is read whole.
const maxValue = 64 << 10

// maxListed is how many values a list has at most.
const maxListed = 1000

// readJSON reads a value strictly.
func readJSON(ctx context.Context, s storage, name string, into any) (tag string, err error) {
	data, tag, err := s.read(ctx, name)
	if err != nil {
		return "", err
	}
	if err := strictJSON(data, into); err != nil {
		return "", fmt.Errorf("read state %s: %w", name, err)
	}
	return tag, nil
}

// swapJSON is swap with a value as JSON.
func swapJSON(ctx context.Context, s storage, name, tag string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("change state %s: %w", name, err)
	}
	return s.swap(ctx, name, tag, append(data, '\n'))
}

// set gives a name a value, whatever it held before.
func set(ctx context.Context, s storage, name string, data []byte) error {
	for range maxSwaps {
		_, tag, err := s.read(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err = s.swap(ctx, name, tag, data); !errors.Is(err, errSwapped) {
			return err
		}
	}
	return fmt.Errorf("change state %s: %w", name, errSwapped)
}

// maxSwaps is how often a change is tried again because another request changed
// the same value meanwhile.
const maxSwaps = 3

// all visits every value below a folder, which ends in a slash.
func all(ctx context.Context, s storage, folder string, visit func(o ListedObject) error) error {
	for after := ""; ; {
		page, err := s.list(ctx, folder, after, maxListed)
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := visit(o); err != nil {
				return err
			}
		}
		if len(page) < maxListed {
			return nil
		}
		after = page[len(page)-1].Path
	}
}

// names lists the JSON values of a folder, without the folder and the suffix.
func names(ctx context.Context, s storage, folder string) ([]string, error) {
	var found []string
	err := all(ctx, s, folder+"/", func(o ListedObject) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Path, folder+"/"), registrySuffix)
		if ok && !strings.Contains(name, "/") {
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

// incoming is the directory of what is being received.
type incoming struct {
	fs  durable.FS
	dir string
}

// incomingFile is a file without a name in the store yet. discard ends it, also
// behind commit.
type incomingFile struct {
	durable.File
	fs   durable.FS
	name string
}

// receive opens a new incoming file.
func (i *incoming) receive(mode fs.FileMode) (*incomingFile, error) {
	name := filepath.Join(i.dir, rand.Text()+durable.TempSuffix)
	f, err := i.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, fmt.Errorf("create incoming file: %w", err)
	}
	return &incomingFile{File: f, fs: i.fs, name: name}, nil
}

// size returns how long the file is.
func (f *incomingFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at incoming file: %w", err)
	}
	return info.Size(), nil
}

// discard closes the file and removes its temporary name.
func (f *incomingFile) discard() error {
	err := errors.Join(f.Close(), f.fs.Remove(f.name))
	if err != nil {
		return fmt.Errorf("discard incoming file: %w", err)
	}
	return nil
}

// clean removes what earlier processes were receiving when they ended. None of
// it was acknowledged.
func (i *incoming) clean() error {
	entries, err := i.fs.ReadDir(i.dir)
	if err != nil {
		return fmt.Errorf("clean incoming files: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), durable.TempSuffix) {
			continue
		}
		if err := i.fs.Remove(filepath.Join(i.dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clean incoming files: %w", err)
		}
	}
	return nil
}
