//go:build unix

package file

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/auditail/auditail/inputs/inputstest"
)

func TestNoRegularFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	if err := os.Mkdir(s.path("directory.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(s.path("fifo.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path("s.log"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.Symlink(s.path("loop.log"), s.path("loop.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.path("nowhere"), s.path("dangling.log")); err != nil {
		t.Fatal(err)
	}
	s.write(10)
	s.start()
	s.caughtUp()
	s.remove(s.path("directory.log"))
	appendTo(t, s.path("directory.log"), "a file now\n")
	s.expect("a file now")
	s.finish()
	s.noGaps()
}

func TestWithoutEvents(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	in := newInput(t, s.config)
	in.events = func() (*fsnotify.Watcher, error) { return nil, unix.EMFILE }
	s.running = inputstest.Start(t, in, s.to)
	s.write(10)
	s.caughtUp()
	s.stream(10_000, 3, func(int) { s.rotate() })
	s.finish()
	s.noGaps()
}

func TestScanReportsWhatItCanNotRead(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	s.write(5)
	if err := os.Symlink("loop.log", s.path("loop.log")); err != nil {
		t.Fatal(err)
	}
	err := newInput(t, s.config).Scan(t.Context(), nil, s.to)
	if !errors.Is(err, unix.ELOOP) {
		t.Errorf("Scan returned %v, want the loop", err)
	}
	s.to.Same(s.want)
}
