package directory_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/directory"
	"github.com/auditail/auditail/outputs/outputstest"
)

func TestConformance(t *testing.T) {
	outputstest.Run(t, func(t *testing.T) outputstest.Destination {
		return &archive{root: filepath.Join(t.TempDir(), "archive"), disk: new(disk)}
	})
}

// archive is a directory on a disk that fails when told to.
type archive struct {
	root string
	disk *disk
}

func (a *archive) Start(t *testing.T) outputs.Output {
	t.Helper()
	o, err := directory.New(directory.Config{Name: "local", Path: a.root}, directory.Deps{FS: a.disk})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (a *archive) Files(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(a.root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(a.root, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (a *archive) Order() (paths []string) {
	a.disk.mu.Lock()
	defer a.disk.mu.Unlock()
	for _, name := range a.disk.linked {
		path, _ := strings.CutPrefix(filepath.ToSlash(name), filepath.ToSlash(a.root)+"/")
		paths = append(paths, path)
	}
	return paths
}

func (a *archive) Plant(t *testing.T, path string, content []byte) {
	t.Helper()
	name := filepath.Join(a.root, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *archive) Break(f outputstest.Fault) {
	operation := "link"
	if f == outputstest.Unreported {
		operation = "linked"
	}
	a.disk.fail(operation, 1, errBroken)
}

func (a *archive) Away(away bool) {
	times := 0
	if away {
		times = -1
	}
	a.disk.fail("open", times, errBroken)
}

var errBroken = errors.New("input/output error")

// disk is the real file system with faults: an operation fails the next times
// that it is asked for, or until told otherwise when times is negative.
type disk struct {
	durable.OS

	mu     sync.Mutex
	faults map[string]*fault
	linked []string // names in the order they were made
	synced []string // files and directories
	asked  int
}

type fault struct {
	times int
	err   error
}

func (d *disk) fail(operation string, times int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults == nil {
		d.faults = make(map[string]*fault)
	}
	d.faults[operation] = &fault{times: times, err: err}
}

func (d *disk) ask(operation string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.faults[operation]
	if f == nil || f.times == 0 {
		return nil
	}
	f.times--
	d.asked++
	return f.err
}

func (d *disk) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	if err := d.ask("open"); err != nil {
		return nil, err
	}
	f, err := d.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{File: f, name: name, disk: d}, nil
}

func (d *disk) MkdirAll(name string, perm fs.FileMode) error {
	if err := d.ask("mkdir"); err != nil {
		return err
	}
	return d.OS.MkdirAll(name, perm)
}

func (d *disk) Link(from, to string) error {
	if err := d.ask("link"); err != nil {
		return err
	}
	if err := d.OS.Link(from, to); err != nil {
		return err
	}
	if !strings.HasSuffix(to, durable.TempSuffix) {
		d.mu.Lock()
		d.linked = append(d.linked, to)
		d.mu.Unlock()
	}
	return d.ask("linked")
}

func (d *disk) Remove(name string) error {
	if err := d.ask("remove"); err != nil {
		return err
	}
	return d.OS.Remove(name)
}

func (d *disk) SyncDir(name string) error {
	if err := d.ask("syncdir"); err != nil {
		return err
	}
	d.mu.Lock()
	d.synced = append(d.synced, name)
	d.mu.Unlock()
	return d.OS.SyncDir(name)
}

type file struct {
	durable.File
	name string
	disk *disk
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.disk.ask("read"); err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	if f.disk.ask("flip") != nil && n > 0 {
		p[0] ^= 1
	}
	return n, err
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.disk.ask("write"); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *file) Sync() error {
	if err := f.disk.ask("sync"); err != nil {
		return err
	}
	f.disk.mu.Lock()
	f.disk.synced = append(f.disk.synced, f.name)
	f.disk.mu.Unlock()
	return f.File.Sync()
}
