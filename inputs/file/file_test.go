package file

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

// TestMain lets more tests run at once than there are processors: they wait
// for files most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, *liveWorkers))); err != nil {
		panic(err)
	}
	m.Run()
}

// quick are limits under which a test need not wait long for what is over.
func quick() limits {
	l := defaultLimits()
	l.rest = 500 * time.Millisecond
	l.list, l.grace, l.deleted, l.retry, l.parked = 50*time.Millisecond, 150*time.Millisecond,
		300*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	l.listShare = 1
	return l
}

func newInput(t testing.TB, config Config) *Input {
	t.Helper()
	if config.Name == "" {
		config.Name = "test"
	}
	in, err := New(config, Deps{Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err != nil {
		t.Fatal(err)
	}
	in.limits = quick()
	return in
}

func TestConformance(t *testing.T) {
	inputstest.Test(t, func(t testing.TB) inputstest.Subject {
		dir := t.TempDir()
		return inputstest.Subject{
			New: func(t testing.TB) inputs.Input {
				return newInput(t, Config{Paths: []string{filepath.Join(dir, "*.log")}})
			},
			Feed: func(t testing.TB, lines []string) {
				appendTo(t, filepath.Join(dir, "x.log"), strings.Join(lines, "\n")+"\n")
			},
		}
	})
}

func appendTo(t testing.TB, name, data string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
