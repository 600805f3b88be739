package admin_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/admin"
)

func socketPath(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`\\.\pipe\auditail-%d-%s`, os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// TestAddressTaken: what can be opened is, and nobody shares the pipe of another.
func TestAddressTaken(t *testing.T) {
	_, url := start(t, admin.Settings{}, admin.Deps{Status: sample})
	settings := admin.Settings{Socket: socketPath(t), Listen: strings.TrimPrefix(url, "http://")}
	s, err := admin.Listen(t.Context(), settings, admin.Deps{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "admin pipe") || !strings.Contains(err.Error(), "choose a port that is free") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
}
