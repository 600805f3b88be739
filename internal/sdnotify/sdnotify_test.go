package sdnotify_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/sdnotify"
)

func environment(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

func TestSend(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no datagram sockets of this kind, and no systemd
	}
	names := map[string]string{"path": filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names["abstract"] = fmt.Sprintf("@auditail-test-%d", os.Getpid())
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = manager.Close() }()
			n := sdnotify.FromEnvironment(environment(map[string]string{"NOTIFY_SOCKET": name}), 1)
			if !n.Enabled() {
				t.Fatal("a socket is named, and nothing is enabled")
			}
			if err := n.Send(sdnotify.Ready, sdnotify.Status("3 inputs\nREADY=1\x1b[0m"), sdnotify.Watchdog); err != nil {
				t.Fatal(err)
			}
			if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4096)
			size, err := manager.Read(got)
			if err != nil {
				t.Fatal(err)
			}
			if want := "READY=1\nSTATUS=3 inputs READY=1 [0m\nWATCHDOG=1"; string(got[:size]) != want {
				t.Errorf("the manager reads %q, want %q", got[:size], want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	n := sdnotify.FromEnvironment(environment(map[string]string{"NOTIFY_SOCKET": gone}), 1)
	if err := n.Send(sdnotify.Ready); err == nil || !strings.Contains(err.Error(), "service manager") {
		t.Errorf("a socket that nobody reads: %v", err)
	}
}

func TestFromEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env      map[string]string
		enabled  bool
		interval time.Duration
	}{
		"no manager":              {nil, false, 0},
		"not a local socket":      {map[string]string{"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "60000000"}, false, 0},
		"no watchdog":             {map[string]string{"NOTIFY_SOCKET": "/run/n"}, true, 0},
		"watchdog":                {map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, true, 30 * time.Second},
		"watchdog of the parent":  {map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, true, 0},
		"watchdog that is no one": {map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "-3"}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := sdnotify.FromEnvironment(environment(c.env), 7)
			if n.Enabled() != c.enabled || n.Interval() != c.interval {
				t.Errorf("enabled %v every %v, want %v every %v", n.Enabled(), n.Interval(), c.enabled, c.interval)
			}
			if !c.enabled && n.Send(sdnotify.Ready) != nil {
				t.Error("without a manager there is nothing to fail")
			}
		})
	}
}

func TestStatusIsBounded(t *testing.T) {
	got := sdnotify.Status(strings.Repeat("ä", 1000))
	if len(got) > 420 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes, ends in %q", len(got), got[len(got)-6:])
	}
}

// A service manager that is no systemd hears the same messages.
func TestNewContext(t *testing.T) {
	var heard []string
	n := sdnotify.ForProcess(sdnotify.NewContext(t.Context(), func(messages ...string) { heard = append(heard, messages...) }))
	if !n.Enabled() || n.Interval() != 0 {
		t.Errorf("enabled %v, watchdog %s", n.Enabled(), n.Interval())
	}
	if err := n.Send(sdnotify.Ready, sdnotify.Status("running")); err != nil || strings.Join(heard, " ") != "READY=1 STATUS=running" {
		t.Errorf("heard %q, %v", heard, err)
	}
}
