package server

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// copyTree copies a folder, as a backup does. What is there already stays.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if _, err := os.Stat(target); err == nil {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopyOfTheStore: a store that was restored from an older copy does not
// wait for ever without a word: the answer says what is missing and what to do, and
// each of the two ways leads on.
func TestOlderCopyOfTheStore(t *testing.T) {
	older := func(t *testing.T) (f *fixture, whole string) {
		f = newFixture(t)
		e := f.epoch
		f.ship(e.Open(), e.Heartbeat())
		backup := t.TempDir()
		copyTree(t, f.config.Store, backup)
		for range 2 * headEvery { // so that a head is kept of what the copy lacks
			f.ship(e.Heartbeat())
		}
		whole = f.config.Store + ".whole"
		if err := os.Rename(f.config.Store, whole); err != nil {
			t.Fatal(err)
		}
		copyTree(t, backup, f.config.Store)
		f.start()
		beat := e.Heartbeat()
		p := f.want(http.StatusFailedDependency, f.uploads(beat)[0], "batch 2 is missing", "older copy", "auditail-server agents anchor gpu-07 --at 0001/130")
		if len(p.Detail) > 200 {
			t.Errorf("agents cut the detail, %d characters", len(p.Detail))
		}
		return f, whole
	}
	t.Run("another copy", func(t *testing.T) {
		f, whole := older(t)
		copyTree(t, whole, f.config.Store)
		f.ship(f.epoch.Batches[130], f.epoch.Heartbeat())
	})
	t.Run("hole", func(t *testing.T) {
		f, _ := older(t)
		if err := AddAnchor(t.Context(), f.config, f.deps, "gpu-07", Anchor{Epoch: 1, Batch: 130}); err != nil {
			t.Fatal(err)
		}
		f.ship(f.epoch.Batches[130], f.epoch.Heartbeat())
	})
}

// TestOlderCopyOfTheState: the witness does not go back with its state: the
// cosignatures in the archive say how far it was.
func TestOlderCopyOfTheState(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	one := e.Checkpoint()
	f.cosigned(e, 0, one)
	name := witnessCell(e.Origin)
	before, _, err := f.server.state.read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		f.ship(e.Heartbeat())
	}
	seven := e.Checkpoint()
	f.cosigned(e, 1, seven)
	for what, older := range map[string]func() error{
		"older": func() error { return set(t.Context(), f.server.state, name, before) },
		"gone":  func() error { return f.server.state.remove(t.Context(), name) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := older(); err != nil {
				t.Fatal(err)
			}
			f.start()
			f.refused(http.StatusConflict, addCheckpoint(t, e, 1, one), "7\n")
			f.refused(http.StatusConflict, addCheckpoint(t, e, 0, one), "7\n")
			f.cosigned(e, 7, seven)
		})
	}
}
