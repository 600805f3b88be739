package file

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

// TestReread asks for bytes that were read: they can be read again while the file
// holds what lies in front of both positions, under whatever name it has by now.
func TestReread(t *testing.T) {
	for name, test := range map[string]struct {
		change func(path string) error
		can    bool
	}{
		"untouched": {func(string) error { return nil }, true},
		"grown": {func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			if _, err := f.Write(data); err != nil {
				return err
			}
			return f.Close()
		}, true},
		"renamed":   {func(path string) error { return os.Rename(path, path+".1") }, true},
		"gone":      {os.Remove, false},
		"truncated": {func(path string) error { return os.Truncate(path, 3) }, false},
		"written anew": {func(path string) error {
			return os.WriteFile(path, make([]byte, 5000), 0o600)
		}, false},
		"another under its name": {func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path+".new", data, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.log")
			in, err := New(Config{Name: "in", Paths: []string{path}}, Deps{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			to := inputstest.NewRecorder(t)
			scan := func(content string) []inputs.Position {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := in.Scan(t.Context(), to.Resume(), to); err != nil {
					t.Fatal(err)
				}
				return to.Resume()
			}
			before := scan("one\ntwo\n")
			after := scan("one\ntwo\nthree\nfour\n")
			if len(before) != 1 || len(after) != 1 || before[0].Generation != after[0].Generation {
				t.Fatalf("positions %v and %v", before, after)
			}
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			for from, want := range map[string]int64{string(before[0].Token): 8, "": 0} {
				m := inputs.Moved{Generation: before[0].Generation, From: []byte(from), To: after[0].Token}
				if from == "" {
					m.From = nil
				}
				back, err := in.Reread([]inputs.Moved{m})
				if (err == nil) != test.can {
					t.Fatalf("from %q: %v", from, err)
				}
				if err != nil {
					continue
				}
				if at, err := decodeToken(back[0].Token); err != nil || at.Offset != want || back[0].Generation != m.Generation {
					t.Errorf("goes on at %d, want %d: %v", at.Offset, want, err)
				}
			}
			if _, err := in.Reread([]inputs.Moved{{Generation: before[0].Generation, From: before[0].Token}}); err == nil {
				t.Error("what was forgotten is read again")
			}
		})
	}
}
