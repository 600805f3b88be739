package server

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal/sealtest"
)

// unsyncedFS is the real file system without the waiting for it: tests that do
// not cut the power need none.
type unsyncedFS struct{ durable.OS }

func (u unsyncedFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := u.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

func (unsyncedFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (unsyncedFS) SyncDir(string) error                         { return nil }

type unsyncedFile struct{ durable.File }

func (unsyncedFile) Sync() error { return nil }

// newFixtureInMemory returns a fixture over a disk whose power can be cut, and a
// log of three batches.
func newFixtureInMemory(t *testing.T) (*fixture, *faulty.FS, []request) {
	t.Helper()
	disk := faulty.New()
	if err := disk.MkdirAll("/srv/audit", storeDirMode); err != nil {
		t.Fatal(err)
	}
	f := newFixtureAt(t, disk, "/srv/audit")
	e := f.epoch
	all := append(f.uploads(e.Open()), f.checkpoint(e.Checkpoint()))
	all = append(all, f.uploads(e.Data(sealtest.Chat(), e.Records(1)))...)
	all = append(all, f.uploads(e.Heartbeat())...)
	return f, disk, append(all, f.checkpoint(e.Checkpoint()))
}

func files(all []request) map[string][]byte {
	m := make(map[string][]byte)
	for _, r := range all {
		m[r.path] = r.body
	}
	return m
}

// moment is what a crash finds.
type moment struct {
	image        *faulty.Image
	acknowledged int // objects
}

// moments stores a log and returns the moments behind every change of the disk.
func moments(t *testing.T) (f *fixture, all []request, found []moment) {
	t.Helper()
	f, disk, all := newFixtureInMemory(t)
	acknowledged := 0
	disk.Observe(func(_ faulty.Operation, image *faulty.Image) {
		found = append(found, moment{image, acknowledged})
	})
	for _, r := range all {
		f.want(http.StatusCreated, r)
		acknowledged++
	}
	disk.Observe(nil)
	if len(found) < 5*len(all) {
		t.Fatalf("only %d changes of the disk for %d objects", len(found), len(all))
	}
	return f, all, found
}

// resume starts a server over what a crash left, and repeats from an object on.
// What was acknowledged must be there.
func (f *fixture) resume(at string, disk *faulty.FS, all []request, from, acknowledged int) {
	f.t.Helper()
	f.deps.FS = disk
	f.start()
	for i, r := range all[from:] {
		got := f.do(r)
		switch {
		case got.status == http.StatusCreated && from+i < acknowledged:
			f.t.Fatalf("%s: %s was acknowledged and is gone", at, r.path)
		case got.status != http.StatusCreated && got.status != http.StatusOK:
			f.t.Fatalf("%s: repeat of %s: status %d: %s", at, r.path, got.status, got.body)
		}
	}
}

// losses are the ways in which a power cut is tried.
func losses() map[string]faulty.Loss {
	return map[string]faulty.Loss{"all": faulty.All, "none": faulty.None, "some": faulty.Some, "late": faulty.Late}
}

// TestPowerCutAnywhere cuts the power behind each change of the disk. The agent
// repeats from the very first object; what it had been told is stored, is.
func TestPowerCutAnywhere(t *testing.T) {
	f, all, found := moments(t)
	for i, m := range found {
		for name, loss := range losses() {
			disk := m.image.PowerCut(rand.New(rand.NewPCG(1, uint64(i))), loss)
			f.resume("change "+name, disk, all, 0, m.acknowledged)
			f.wantStore(files(all))
		}
	}
}

// TestPowerCutAfterKill kills the server behind each change of the disk, has a
// new one answer one object, and cuts the power then: what the second server
// only found there must be as durable as what it stored itself.
func TestPowerCutAfterKill(t *testing.T) {
	f, all, found := moments(t)
	for i, m := range found {
		if m.acknowledged == len(all) {
			continue
		}
		killed := m.image.Kill()
		f.resume("kill", killed, all[:m.acknowledged+1], m.acknowledged, m.acknowledged)
		disk := killed.Image().PowerCut(rand.New(rand.NewPCG(2, uint64(i))), faulty.All)
		f.resume("power cut after kill", disk, all, 0, m.acknowledged+1)
		f.wantStore(files(all))
	}
}

// TestOneFailureAnywhere lets each operation fail once: the agent is told to
// come again, the same server goes on, and nothing is lost in a power cut.
func TestOneFailureAnywhere(t *testing.T) {
	for name, fault := range diskFaults() {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for offset, reached := 0, true; reached; offset++ {
				f, disk, all := newFixtureInMemory(t)
				fault.fault.From = disk.Operations() + 1 + offset
				disk.Inject(fault.fault)
				for i, r := range all {
					got := f.do(r)
					if got.status == http.StatusCreated {
						continue
					}
					failed++
					if got.status != fault.status || got.header.Get("Retry-After") == "" {
						t.Fatalf("operation %d: %s: status %d, want %d: %s", offset, r.path, got.status, fault.status, got.body)
					}
					if strings.Contains(string(got.body), "/srv/") {
						t.Fatalf("operation %d: the answer names a local path: %s", offset, got.body)
					}
					if again := f.do(r); again.status != http.StatusCreated && again.status != http.StatusOK {
						t.Fatalf("operation %d: repeat of %s: status %d: %s", offset, r.path, again.status, again.body)
					}
					cut := disk.Image().PowerCut(rand.New(rand.NewPCG(3, 0)), faulty.All)
					f.resume("power cut", cut, all, 0, i+1)
					break
				}
				reached = disk.Operations() >= fault.fault.From
				disk.Heal()
				f.start() // removes what could not be removed
				f.wantStore(files(all))
			}
			if failed < 10 {
				t.Errorf("only %d failures were seen", failed)
			}
		})
	}
}

// storedFiles reads a whole directory tree.
func storedFiles(t *testing.T, fsys durable.FS, root string) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	entries, err := fsys.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := root + "/" + entry.Name()
		if entry.IsDir() {
			for path, data := range storedFiles(t, fsys, name) {
				found[entry.Name()+"/"+path] = data
			}
			continue
		}
		data, err := durable.ReadFile(fsys, name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = data
	}
	return found
}

// wantStore wants the store to hold exactly these files, and nothing to be incoming.
func (f *fixture) wantStore(want map[string][]byte) {
	f.t.Helper()
	var got map[string][]byte
	if f.s3 != nil {
		got = f.s3.Files(f.t, strings.TrimSuffix(strings.TrimPrefix(f.config.Store, bucketScheme), "/v1"), "v1/")
	} else {
		got = storedFiles(f.t, f.deps.FS, f.config.Store)
	}
	if !maps.EqualFunc(want, got, func(a, b []byte) bool { return string(a) == string(b) }) {
		for path, data := range want {
			if have, ok := got[path]; !ok || string(have) != string(data) {
				f.t.Errorf("%s: stored %v, the same bytes %v", path, ok, string(have) == string(data))
			}
		}
		for path := range got {
			if _, ok := want[path]; !ok {
				f.t.Errorf("%s is stored and should not be", path)
			}
		}
	}
	if left := storedFiles(f.t, f.deps.FS, f.server.incoming.dir); len(left) != 0 {
		f.t.Errorf("%d incoming files are left", len(left))
	}
}

// TestRefusalIsRememberedOrNotGiven lets each operation behind a refusal fail:
// a refusal for good is answered only when a restart after a power cut still
// knows it.
func TestRefusalIsRememberedOrNotGiven(t *testing.T) {
	refused := 0
	for offset, reached := 0, true; reached; offset++ {
		f, disk, all := newFixtureInMemory(t)
		for _, r := range all[:4] {
			f.want(http.StatusCreated, r)
		}
		f.server.config.MaxPayload = 1
		disk.Inject(faulty.Fault{From: disk.Operations() + 1 + offset, Err: syscall.EIO})
		from := disk.Operations() + 1 + offset
		got := f.do(all[4])
		reached = disk.Operations() >= from
		if got.status != http.StatusRequestEntityTooLarge {
			if got.status != http.StatusServiceUnavailable {
				t.Fatalf("operation %d: status %d: %s", offset, got.status, got.body)
			}
			continue
		}
		refused++
		f.deps.FS = disk.Image().PowerCut(rand.New(rand.NewPCG(4, 0)), faulty.All)
		f.start()
		f.want(http.StatusCreated, all[5])
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
