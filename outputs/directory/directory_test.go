package directory_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/directory"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func epoch(t *testing.T) *sealtest.Epoch {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(3))
	e.Heartbeat()
	return e
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	return &archive{root: filepath.Join(t.TempDir(), "archive"), disk: new(disk)}
}

func (a *archive) open(t *testing.T, log io.Writer) *directory.Output {
	t.Helper()
	o, err := directory.New(directory.Config{Name: "local", Path: a.root},
		directory.Deps{FS: a.disk, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (a *archive) want(t *testing.T, want map[string][]byte) {
	t.Helper()
	got := a.Files(t)
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for path, content := range want {
		if !bytes.Equal(got[path], content) {
			t.Errorf("%s has other bytes", path)
		}
	}
}

// TestEveryStepFails: whatever step fails, once or for a while, the batch is
// complete in the end and nothing else is left.
func TestEveryStepFails(t *testing.T) {
	for _, operation := range []string{"open", "read", "flip", "write", "sync", "link", "linked", "remove", "mkdir", "syncdir"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArchive(t)
				var log bytes.Buffer
				o := a.open(t, &log)
				e := epoch(t)
				for i, b := range e.Batches {
					a.disk.fail(operation, 3*i+1, errBroken)
					if _, err := o.Ship(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					if i == 0 && a.disk.asked == 0 {
						t.Fatal("the step did not happen")
					}
				}
				a.want(t, e.Files)
			})
		})
	}
}

// TestFullDisk: nothing is discarded, the log says it once a minute and when it is over.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		var log bytes.Buffer
		o := a.open(t, &log)
		a.disk.fail("write", -1, &fs.PathError{Op: "write", Path: "somewhere", Err: syscall.ENOSPC})
		time.AfterFunc(time.Hour, func() { a.disk.fail("write", 0, nil) })
		e := epoch(t)
		for _, b := range e.Batches {
			if _, err := o.Ship(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		a.want(t, e.Files)
		delayed, over := strings.Count(log.String(), "trying again"), strings.Count(log.String(), "works again")
		if delayed == 0 || delayed > 61 || over != 1 || !strings.Contains(log.String(), "no space left") {
			t.Errorf("the log has %d lines of the delay, %d of its end:\n%s", delayed, over, log.String())
		}
	})
}

// TestDurableBeforeReturn: when Ship returns, the file and every directory up
// to the root were synced, also those that an earlier run made.
func TestDurableBeforeReturn(t *testing.T) {
	a := newArchive(t)
	e := epoch(t)
	for _, when := range []string{"new", "after a start"} {
		a.disk.synced = nil
		o := a.open(t, io.Discard)
		for _, b := range e.Batches {
			if _, err := o.Ship(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		for path := range e.Files {
			if !slices.ContainsFunc(a.disk.synced, func(name string) bool {
				return strings.HasPrefix(name, filepath.Join(a.root, path)) // or its temporary name
			}) {
				t.Errorf("%s: %s is not synced", when, path)
			}
			for dir := filepath.Dir(filepath.Join(a.root, path)); ; dir = filepath.Dir(dir) {
				if !slices.Contains(a.disk.synced, dir) {
					t.Errorf("%s: %s is not synced", when, dir)
				}
				if dir == a.root {
					break
				}
			}
		}
	}
}

// TestLeftovers: what a crash left is removed, and only that.
func TestLeftovers(t *testing.T) {
	a := newArchive(t)
	e := epoch(t)
	linked := e.Batches[1].Objects[0].Path // crashed between link and remove: two names of one file
	a.Plant(t, linked, e.Files[linked])
	if err := os.Link(filepath.Join(a.root, linked), filepath.Join(a.root, linked)+".ABC"+durable.TempSuffix); err != nil {
		t.Fatal(err)
	}
	a.Plant(t, e.Batches[2].Objects[0].Path+".DEF"+durable.TempSuffix, []byte("torn"))
	foreign := "seals/gpu-08/0001/000000000000.manifest.GHI" + durable.TempSuffix
	a.Plant(t, foreign, []byte("of another agent at work"))
	o := a.open(t, io.Discard)
	for _, b := range e.Batches {
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	e.Files[foreign] = []byte("of another agent at work")
	a.want(t, e.Files)
}

// TestTwoWriters: two processes that ship the same log do not harm each other.
func TestTwoWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		e := epoch(t)
		var shipping sync.WaitGroup
		var stored atomic.Int64
		for range 4 {
			o := a.open(t, io.Discard)
			shipping.Go(func() {
				for _, b := range e.Batches {
					receipt, err := o.Ship(t.Context(), b)
					if err != nil {
						t.Errorf("ship: %v", err)
					}
					stored.Add(int64(receipt.Stored))
				}
			})
		}
		shipping.Wait()
		a.want(t, e.Files)
		if int(stored.Load()) != len(e.Files) {
			t.Errorf("%d objects were acknowledged as new, %d exist", stored.Load(), len(e.Files))
		}
	})
}

// TestModes: auditors read by group; others do not.
func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no modes
	}
	a := newArchive(t)
	o := a.open(t, io.Discard)
	if _, err := o.Ship(t.Context(), epoch(t).Batches[0]); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(a.root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if info.Mode().Perm()&^0o750 != 0 || info.Mode().Perm()&0o400 == 0 || !entry.IsDir() && info.Mode().Perm()&0o111 != 0 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHeadMidChain: an output that was added later.
func TestHeadMidChain(t *testing.T) {
	a := newArchive(t)
	o := a.open(t, io.Discard)
	e := epoch(t)
	if _, err := o.Ship(t.Context(), e.Batches[2]); err != nil {
		t.Fatal(err)
	}
	if head, err := o.Head(t.Context(), e.Origin.String()); err != nil || head != (seal.Head{Size: 3}) {
		t.Errorf("head %+v, %v, want size 3 and no root", head, err)
	}
	c := e.Checkpoint()
	if err := o.Publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if head, err := o.Head(t.Context(), e.Origin.String()); err != nil || head != (seal.Head{Size: 3, Root: c.Root}) {
		t.Errorf("head %+v, %v, want size 3 and the checkpoint's root", head, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	whole := newArchive(t)
	o = whole.open(t, io.Discard)
	for _, b := range e.Batches {
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Head(ctx, e.Origin.String()); !errors.Is(err, context.Canceled) {
		t.Errorf("head with an ended context: %v", err)
	}
}

// TestProbe: one sentence for what is wrong, and nothing left behind.
func TestProbe(t *testing.T) {
	for operation, text := range map[string]string{
		"open": "write to archive directory", "sync": "probe archive directory", "link": "hard links", "linked": "hard links", "syncdir": "probe archive directory",
	} {
		t.Run(operation, func(t *testing.T) {
			a := newArchive(t)
			o := a.open(t, io.Discard)
			a.disk.fail(operation, 1, errBroken)
			err := o.Probe(t.Context())
			if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("probe: %v, want %q", err, text)
			}
			a.want(t, nil)
		})
	}
}

// TestNew: a wrong configuration is one sentence at the start.
func TestNew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"":                           "not absolute",
		"archive":                    "not absolute",
		file:                         "is not a directory",
		filepath.Join(file, "below"): "not a directory",
	} {
		_, err := directory.New(directory.Config{Name: "local", Path: path}, directory.Deps{})
		if err == nil || !strings.HasPrefix(err.Error(), "output local: ") || !strings.Contains(err.Error(), text) {
			t.Errorf("new with path %q: %v, want %q", path, err, text)
		}
	}
}

// TestObjectError: callers learn which file it is.
func TestObjectError(t *testing.T) {
	a := newArchive(t)
	o := a.open(t, io.Discard)
	b := epoch(t).Batches[1]
	a.Plant(t, b.Objects[0].Path, []byte("other"))
	_, err := o.Ship(t.Context(), b)
	var object *outputs.ObjectError
	if !errors.As(err, &object) || object.Kind != seal.PayloadObject || !strings.Contains(err.Error(), "ship records/env=prod/") {
		t.Errorf("ship: %v", err)
	}
}
