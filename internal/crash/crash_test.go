package crash_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/durable"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func report(t *testing.T, fsys durable.FS, dir, text string, at time.Time) string {
	t.Helper()
	var said strings.Builder
	if err := (&crash.Reporter{Program: "auditail", Report: "with what it says", FS: fsys, Dir: dir, Now: func() time.Time { return at }}).Run(strings.NewReader(text), &said); err != nil {
		t.Fatal(err)
	}
	return said.String()
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a panic":         {"panic: runtime error: index out of range [3] with length 3\n\ngoroutine 7 [running]:\n", "auditail stopped by a defect: runtime error: index out of range [3] with length 3; the stack is in "},
		"a fatal error":   {"runtime: goroutine stack exceeds 1000000000-byte limit\nfatal error: stack overflow\n\n", "auditail stopped by a defect: stack overflow; the stack is in "},
		"a signal":        {"SIGABRT: abort\nPC=0x48 m=0 sigcode=0\n", "auditail was ended by the signal SIGABRT; the stack is in "},
		"hostile text":    {"panic: \x1b[2Jgone\n", "auditail stopped by a defect:  [2Jgone; "},
		"nothing":         {"", ""},
		"other text":      {"somebody prints\n", "somebody prints\n"},
		"very many lines": {"panic: much\n" + strings.Repeat("goroutine 8 [select]:\n", 200_000), "auditail stopped by a defect: much; "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got := report(t, durable.OS{}, dir, c.text, start)
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("said %q, want %q", got, c.want)
			}
			files, err := crash.Files(durable.OS{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			if isCrash := strings.Contains(c.want, "auditail"); isCrash != (len(files) == 1) {
				t.Fatalf("files %v", files)
			}
			for _, name := range files {
				kept, err := os.ReadFile(name)
				if err != nil || !strings.Contains(string(kept), c.text[:min(40, len(c.text))]) || len(kept) > 2<<20 {
					t.Errorf("%d bytes are kept, %v", len(kept), err)
				}
			}
		})
	}
}

func TestOldFilesGo(t *testing.T) {
	dir := t.TempDir()
	for i := range 9 {
		report(t, durable.OS{}, dir, "panic: again\n", start.Add(time.Duration(i)*time.Second))
	}
	files, err := crash.Files(durable.OS{}, dir)
	if err != nil || len(files) != 5 || filepath.Base(files[0]) != "crash-20260701T120008.000Z.txt" {
		t.Errorf("kept %v, %v", files, err)
	}
}

// fullDisk refuses what would write.
type fullDisk struct{ durable.OS }

func (fullDisk) OpenFile(string, int, fs.FileMode) (durable.File, error) {
	return nil, errors.New("no space left on device")
}

// What can not be kept is not lost.
func TestFullDisk(t *testing.T) {
	got := report(t, fullDisk{}, t.TempDir(), "panic: now\n\ngoroutine 7 [running]:\n", start)
	if !strings.Contains(got, "could not be kept (") || !strings.HasSuffix(got, "goroutine 7 [running]:\n") {
		t.Errorf("said %q", got)
	}
}

func TestHowTheLastRunEnded(t *testing.T) {
	dir := t.TempDir()
	begin := func(want crash.End, at time.Time) *crash.Run {
		t.Helper()
		r, err := crash.Begin(durable.OS{}, dir, at)
		if err != nil || r.Last != want {
			t.Fatalf("the last run %q, want %q: %v", r.Last, want, err)
		}
		return r
	}
	if err := begin(crash.None, start).Finish(); err != nil {
		t.Fatal(err)
	}
	begin(crash.Stopped, start.Add(time.Minute))
	report(t, durable.OS{}, dir, "panic: now\n", start.Add(2*time.Minute))
	if r := begin(crash.Crashed, start.Add(3*time.Minute)); !strings.HasSuffix(r.File, "crash-20260701T120200.000Z.txt") {
		t.Errorf("its file is %s", r.File)
	}
	begin(crash.Killed, start.Add(4*time.Minute)) // the crash file is of an older run
}
