package directory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/outputs/directory"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestPowerCut cuts the power, and kills the process, after every operation.
// What was acknowledged is there, what has its name is complete, and a new
// start finishes the rest and leaves nothing else.
func TestPowerCut(t *testing.T) {
	e := epoch(t)
	type moment struct {
		operation    faulty.Operation
		image        *faulty.Image
		acknowledged int // batches
	}
	var moments []moment
	acknowledged := 0
	disk := faulty.New()
	disk.Observe(func(operation faulty.Operation, image *faulty.Image) {
		moments = append(moments, moment{operation, image, acknowledged})
	})
	root := filepath.Join(string(filepath.Separator), "data", "archive")
	shipAll(t, disk, root, e, &acknowledged)
	if len(moments) < 5*len(e.Files) {
		t.Fatalf("only %d operations were seen for %d files", len(moments), len(e.Files))
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // chooses what is lost
	for _, m := range moments {
		left := map[string]*faulty.FS{"kill": m.image.Kill()}
		for _, loss := range []faulty.Loss{faulty.All, faulty.Late, faulty.Some, faulty.None} {
			left[fmt.Sprint("power cut ", loss)] = m.image.PowerCut(random, loss)
		}
		for how, after := range left {
			where := fmt.Sprintf("%s after operation %d on %s", how, m.operation.Number, m.operation.Name)
			checkLeft(t, where, after, root, e, m.acknowledged)
			var again int
			shipAll(t, after, root, e, &again)
			files := list(t, after, root)
			for name := range files {
				if _, ok := e.Files[name]; !ok {
					t.Errorf("%s: %s is left", where, name)
				}
			}
			checkLeft(t, where+", shipped again", after, root, e, len(e.Batches))
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}

func shipAll(t *testing.T, disk durable.FS, root string, e *sealtest.Epoch, acknowledged *int) {
	t.Helper()
	o, err := directory.New(directory.Config{Name: "local", Path: root}, directory.Deps{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range e.Batches {
		if _, err = o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		*acknowledged++
	}
}

func checkLeft(t *testing.T, where string, disk *faulty.FS, root string, e *sealtest.Epoch, acknowledged int) {
	t.Helper()
	files := list(t, disk, root)
	for name, content := range files {
		if !strings.HasSuffix(name, durable.TempSuffix) && !bytes.Equal(content, e.Files[name]) {
			t.Errorf("%s: %s has %d bytes that were never sealed", where, name, len(content))
		}
	}
	for _, b := range e.Batches[:acknowledged] {
		for _, object := range b.Objects {
			if _, ok := files[object.Path]; !ok {
				t.Errorf("%s: %s was acknowledged and is gone", where, object.Path)
			}
		}
	}
}

// list returns all files below root, by archive path.
func list(t *testing.T, disk *faulty.FS, root string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	var walk func(dir, path string)
	walk = func(dir, path string) {
		entries, err := disk.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			if entry.IsDir() {
				walk(name, path+entry.Name()+"/")
				continue
			}
			content, err := durable.ReadFile(disk, name, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			files[path+entry.Name()] = content
		}
	}
	walk(root, "")
	return files
}
