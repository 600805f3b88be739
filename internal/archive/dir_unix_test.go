//go:build unix

package archive_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal/sealtest"
)

// Links are not followed, within the archive or out of it, and a pipe does not
// make the verifier wait.
func TestDirHoldsOnlyRegularFiles(t *testing.T) {
	e := build(t, sealtest.Config{})
	dir := t.TempDir()
	root := filepath.Join(dir, "archive")
	e.Write(root)
	outside := filepath.Join(dir, "outside")
	if err := os.Rename(filepath.Join(root, payload1), outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, payload1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, signature(2))); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, signature(2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, payload3), filepath.Join(root, payload3)+".away"); err != nil {
		t.Fatal(err)
	}
	source, err := archive.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var found []string
	_, err = archive.Verify(t.Context(), source, archive.Options{Trust: trust(e), Found: func(f archive.Finding) {
		found = append(found, string(f.Code)+" "+f.Path)
	}})
	want := []string{
		"unreadable " + payload1, "sshsig-missing " + signature(2), "payload-missing " + payload3,
		"gap " + payload4, "not-regular " + payload1, "unknown-file " + payload3 + ".away", "not-regular " + signature(2),
	}
	if diff := cmp.Diff(want, found); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestDirThatCanNotBeRead(t *testing.T) {
	if _, err := archive.OpenDir(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there opens")
	}
}
