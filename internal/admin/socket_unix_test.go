//go:build !windows

package admin_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/admin"
)

func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(shortDir(t), "admin.sock")
}

// shortDir is a folder with a path that leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin") //nolint:usetesting // t.TempDir has the name of the test in its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestSocketOfAKilledAgent is taken over, and is for its user alone.
func TestSocketOfAKilledAgent(t *testing.T) {
	socket := filepath.Join(shortDir(t), "admin.sock")
	if err := os.WriteFile(socket, []byte("left over"), 0o644); err != nil { //nolint:gosec // anybody could
		t.Fatal(err)
	}
	s, err := admin.Listen(t.Context(), admin.Settings{Socket: socket}, admin.Deps{Log: slog.New(slog.DiscardHandler), Status: sample, Tap: admin.NewTaps()})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestAddressTaken: what can be opened is.
func TestAddressTaken(t *testing.T) {
	_, url := start(t, admin.Settings{}, admin.Deps{Status: sample})
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 120))
	s, err := admin.Listen(t.Context(), admin.Settings{Socket: long, Listen: strings.TrimPrefix(url, "http://")}, admin.Deps{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "set admin.socket to a shorter one") || !strings.Contains(err.Error(), "choose a port that is free") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
}
