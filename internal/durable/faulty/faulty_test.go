package faulty_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
)

func dice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) } //nolint:gosec // a test's dice

func newDisk(t *testing.T) *faulty.FS {
	t.Helper()
	d := faulty.New()
	if err := d.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// must is for steps that are not what a test is about.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d *faulty.FS, name string, data []byte) durable.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.Write(data)
	must(t, err)
	return f
}

func content(t *testing.T, d *faulty.FS, name string) (string, bool) {
	t.Helper()
	data, err := durable.ReadFile(d, name, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	must(t, err)
	return string(data), true
}

func TestUnsyncedIsLost(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "/d/f", []byte("one"))
	if _, there := content(t, d.Image().PowerCut(dice(1), faulty.All), "/d/f"); there {
		t.Fatal("a name is durable before SyncDir")
	}
	must(t, d.SyncDir("/d"))
	if got, there := content(t, d.Image().PowerCut(dice(1), faulty.All), "/d/f"); !there || got != "" {
		t.Fatalf("behind SyncDir only: %q, %t", got, there)
	}
	must(t, f.Sync())
	_, err := f.WriteAt([]byte("two"), 0)
	must(t, err)
	if got, _ := content(t, d.Image().PowerCut(dice(1), faulty.All), "/d/f"); got != "one" {
		t.Fatalf("%q is on the disk, %q was synced", got, "one")
	}
	if got, _ := content(t, d.Image().PowerCut(dice(1), faulty.None), "/d/f"); got != "two" {
		t.Fatalf("a quick disk holds %q", got)
	}
	if got, _ := content(t, d.Image().Kill(), "/d/f"); got != "two" {
		t.Fatalf("another process reads %q", got)
	}
	if got, _ := content(t, d.Image().Kill().Image().PowerCut(dice(1), faulty.All), "/d/f"); got != "one" {
		t.Fatalf("a killed process made %q durable", got)
	}
}

func TestRenameIsAtomicAndNotDurable(t *testing.T) {
	d := newDisk(t)
	must(t, durable.WriteFile(d, "/d/f", []byte("old"), 0o600))
	f := create(t, d, "/d/g", []byte("new"))
	must(t, f.Sync())
	must(t, d.Rename("/d/g", "/d/f"))
	seen := make(map[string]bool)
	for seed := range uint64(64) {
		cut := d.Image().PowerCut(dice(seed), faulty.Some)
		got, there := content(t, cut, "/d/f")
		if !there {
			t.Fatal("neither the old nor the new file is there")
		}
		_, temp := content(t, cut, "/d/g")
		seen[fmt.Sprintf("%s %t", got, temp)] = true
	}
	for _, want := range []string{"old false", "old true", "new false"} {
		if !seen[want] {
			t.Errorf("no power cut leaves %q: %v", want, seen)
		}
	}
}

func TestWriteFileHoldsInEveryPowerCut(t *testing.T) {
	d := newDisk(t)
	must(t, durable.WriteFile(d, "/d/f", bytes.Repeat([]byte("a"), 2000), 0o600))
	var images []*faulty.Image
	d.Observe(func(_ faulty.Operation, i *faulty.Image) { images = append(images, i) })
	must(t, durable.WriteFile(d, "/d/f", bytes.Repeat([]byte("b"), 3000), 0o600))
	both := make(map[int]bool)
	for _, i := range images {
		for seed := range uint64(50) {
			got, _ := content(t, i.PowerCut(dice(seed), faulty.Some), "/d/f")
			if got != string(bytes.Repeat([]byte("a"), 2000)) && got != string(bytes.Repeat([]byte("b"), 3000)) {
				t.Fatalf("a mixture of %d bytes", len(got))
			}
			both[len(got)] = true
		}
	}
	if len(both) != 2 {
		t.Fatalf("found only %v", both)
	}
}

// TestTearing checks that each sector of an unsynced write can be lost by itself.
func TestTearing(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "/d/f", make([]byte, 4*faulty.SectorSize))
	must(t, f.Sync())
	must(t, d.SyncDir("/d"))
	_, err := f.WriteAt(bytes.Repeat([]byte{1}, 3*faulty.SectorSize), 100)
	must(t, err)
	patterns := make(map[string]bool)
	for seed := range uint64(400) {
		got, _ := content(t, d.Image().PowerCut(dice(seed), faulty.Some), "/d/f")
		var pattern []byte
		for at := 0; at < len(got); at += faulty.SectorSize {
			sector := got[at:min(len(got), at+faulty.SectorSize)]
			pattern = append(pattern, '0'+sector[len(sector)/2])
		}
		patterns[string(pattern)] = true
	}
	// The fourth sector is written up to byte 99 only, which is not its middle.
	for _, want := range []string{"0000", "1110", "0100", "1010"} {
		if !patterns[want] {
			t.Errorf("no power cut leaves the sectors %s: %v", want, patterns)
		}
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	d := newDisk(t)
	for i := range 20 {
		create(t, d, fmt.Sprintf("/d/%d", i), bytes.Repeat([]byte{byte(i)}, 1500))
	}
	image := d.Image()
	listing := func(seed uint64) (text string) {
		cut := image.PowerCut(dice(seed), faulty.Some)
		entries, err := cut.ReadDir("/d")
		must(t, err)
		for _, e := range entries {
			got, _ := content(t, cut, "/d/"+e.Name())
			text += fmt.Sprintf("%s %x\n", e.Name(), got)
		}
		return text
	}
	if first, again := listing(1), listing(1); first != again {
		t.Error("the same seed gives another disk")
	}
	if listing(1) == listing(2) {
		t.Error("another seed gives the same disk")
	}
}

func TestFaults(t *testing.T) {
	t.Run("not done", func(t *testing.T) {
		d := newDisk(t)
		d.Inject(faulty.Fault{Kinds: faulty.Rename, Err: syscall.EIO})
		create(t, d, "/d/f", nil)
		if err := d.Rename("/d/f", "/d/g"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("rename: %v", err)
		}
		if _, there := content(t, d, "/d/f"); !there {
			t.Fatal("it was done")
		}
		must(t, d.Rename("/d/f", "/d/g"))
	})
	t.Run("done", func(t *testing.T) {
		d := newDisk(t)
		d.Inject(faulty.Fault{Kinds: faulty.Rename, Err: syscall.EIO, Done: true})
		create(t, d, "/d/f", nil)
		if err := d.Rename("/d/f", "/d/g"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("rename: %v", err)
		}
		if _, there := content(t, d, "/d/g"); !there {
			t.Fatal("it was not done")
		}
	})
	t.Run("short write", func(t *testing.T) {
		d := newDisk(t)
		f := create(t, d, "/d/f", nil)
		d.Inject(faulty.Fault{Kinds: faulty.Write, Err: syscall.ENOSPC, Short: 2})
		if n, err := f.Write([]byte("four")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d, %v", n, err)
		}
		if got, _ := content(t, d, "/d/f"); got != "fo" {
			t.Fatalf("%q", got)
		}
	})
	t.Run("sync that loses", func(t *testing.T) {
		d := newDisk(t)
		f := create(t, d, "/d/f", []byte("lost"))
		must(t, d.SyncDir("/d"))
		d.Inject(faulty.Fault{Kinds: faulty.Sync, Err: syscall.EIO, Lose: true})
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		must(t, f.Sync())
		for name, disk := range map[string]*faulty.FS{"the same process": d, "another process": d.Image().Kill()} {
			if got, _ := content(t, disk, "/d/f"); got != "lost" {
				t.Errorf("%s reads %q", name, got)
			}
		}
		if got, _ := content(t, d.Image().PowerCut(dice(1), faulty.None), "/d/f"); got != "" {
			t.Errorf("the disk holds %q", got)
		}
	})
	t.Run("from the n-th on, by name", func(t *testing.T) {
		d := newDisk(t)
		d.Inject(faulty.Fault{From: d.Operations() + 2, Count: -1, Match: "bad", Err: syscall.EMFILE})
		create(t, d, "/d/good", nil)
		for range 2 {
			if _, err := d.OpenFile("/d/bad", os.O_RDONLY, 0); !errors.Is(err, syscall.EMFILE) {
				t.Fatalf("open: %v", err)
			}
		}
		d.Heal()
		if _, err := d.OpenFile("/d/bad", os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open: %v", err)
		}
	})
}

// TestLikeTheRealOne does the same on both file systems and compares the answers.
func TestLikeTheRealOne(t *testing.T) {
	answers := func(fsys durable.FS, dir string) (said []string) {
		say := func(what string, err error) {
			said = append(said, fmt.Sprintf("%s: exist %t, not exist %t, error %t", what, errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist), err != nil))
		}
		say("mkdir", fsys.MkdirAll(dir+"/a/b", 0o700))
		say("mkdir again", fsys.MkdirAll(dir+"/a/b", 0o700))
		_, err := fsys.OpenFile(dir+"/a/f", os.O_RDONLY, 0)
		say("open", err)
		say("create", durable.CreateFile(fsys, dir+"/a/f", []byte("hello"), 0o600))
		say("create again", durable.CreateFile(fsys, dir+"/a/f", nil, 0o600))
		_, err = fsys.OpenFile(dir+"/a/f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		say("exclusive", err)
		f, err := fsys.OpenFile(dir+"/a/f", os.O_RDWR, 0)
		say("open", err)
		_, err = f.WriteAt([]byte("HE"), 8)
		say("write", err)
		say("truncate", f.Truncate(9))
		b := make([]byte, 20)
		n, err := f.ReadAt(b, 3)
		said = append(said, fmt.Sprintf("%q %v", b[:n], err))
		info, err := f.Stat()
		said = append(said, fmt.Sprint(info.Size(), info.Name(), info.IsDir(), err))
		say("close", f.Close())
		say("close again", f.Close())
		_, err = f.WriteAt([]byte("x"), 0)
		say("write behind close", err)
		say("link", fsys.Link(dir+"/a/f", dir+"/a/g"))
		say("link again", fsys.Link(dir+"/a/f", dir+"/a/g"))
		say("remove", fsys.Remove(dir+"/a/f"))
		say("remove again", fsys.Remove(dir+"/a/f"))
		say("rename", fsys.Rename(dir+"/a/g", dir+"/a/h"))
		say("rename again", fsys.Rename(dir+"/a/g", dir+"/a/h"))
		say("no folder", fsys.Rename(dir+"/a/h", dir+"/z/h"))
		say("sync folder", fsys.SyncDir(dir+"/a"))
		say("sync no folder", fsys.SyncDir(dir+"/z"))
		entries, err := fsys.ReadDir(dir + "/a")
		for _, e := range entries {
			said = append(said, fmt.Sprint(e.Name(), e.IsDir(), err))
		}
		return said
	}
	real, twin := answers(durable.OS{}, t.TempDir()), answers(faulty.New(), "/x")
	for i := range max(len(real), len(twin)) {
		if real[i] != twin[i] {
			t.Errorf("real: %s\ntwin: %s", real[i], twin[i])
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	d := newDisk(t)
	d.Observe(func(faulty.Operation, *faulty.Image) {})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if err := durable.WriteFile(d, fmt.Sprintf("/d/%d", i), []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
				d.Image().PowerCut(dice(1), faulty.Some)
			}
		})
	}
	all.Wait()
}
