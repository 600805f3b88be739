package directory_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs/directory"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestImmutable: a stored file can not be written, renamed or removed, by its
// owner nor by a second run, until the attribute is taken off.
func TestImmutable(t *testing.T) {
	root := t.TempDir()
	t.Cleanup(func() { clearAll(t, root) })
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(20))
	var log bytes.Buffer
	newOutput := func() *directory.Output {
		o, err := directory.New(directory.Config{Name: "local", Path: root, Immutable: true},
			directory.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := newOutput()
	if err := o.Probe(t.Context()); err != nil {
		t.Fatalf("the tests need a file system with the immutable attribute, and root: %v", err)
	}
	first := filepath.Join(root, filepath.FromSlash(e.Batches[0].Objects[0].Path))
	for range 2 { // the second run finds everything there, once without its attribute
		for _, b := range e.Batches {
			if _, err := o.Ship(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		for path, content := range e.Files {
			wantImmutable(t, filepath.Join(root, filepath.FromSlash(path)), content)
		}
		// As if the run before had been killed between the link and the attribute.
		if err := (durable.OS{}).ClearImmutable(first); err != nil {
			t.Fatal(err)
		}
		o = newOutput()
	}
	if log.Len() > 0 {
		t.Errorf("log:\n%s", log.String())
	}
}

func wantImmutable(t *testing.T, name string, content []byte) {
	t.Helper()
	if f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		f.Close()
		t.Errorf("%s can be opened for writing", name)
	}
	if os.Remove(name) == nil || os.Rename(name, name+".moved") == nil || os.Truncate(name, 0) == nil || os.Chmod(name, 0o600) == nil {
		t.Errorf("%s can be changed", name)
	}
	if stored, err := os.ReadFile(name); err != nil || !bytes.Equal(stored, content) {
		t.Errorf("%s: %d bytes, %v, want the %d sealed", name, len(stored), err, len(content))
	}
}

func clearAll(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return durable.OS{}.ClearImmutable(name)
	})
	if err != nil {
		t.Errorf("clear the immutable attribute: %v", err)
	}
}

// readOnly is a file system whose files can not be made immutable.
type readOnly struct {
	durable.OS
	why error
}

func (f readOnly) SetImmutable(string) error { return f.why }

// TestNotImmutable: where the attribute can not be had, batches are stored, and
// both the log and the probe say so.
func TestNotImmutable(t *testing.T) {
	for name, why := range map[string]error{"unsupported": errors.ErrUnsupported, "forbidden": fs.ErrPermission} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o, err := directory.New(directory.Config{Name: "local", Path: t.TempDir(), Immutable: true},
				directory.Deps{FS: readOnly{why: why}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			e := sealtest.New(t, sealtest.Config{})
			if _, err = o.Ship(t.Context(), e.Open()); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "read-only, not immutable"); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("said %d times, want once:\n%s", n, log.String())
			}
			if err = o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "CAP_LINUX_IMMUTABLE") {
				t.Errorf("probe: %v", err)
			}
		})
	}
}
