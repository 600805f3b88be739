package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// exhausted tells the test's second self, in a user namespace whose limits the
// kernel holds it to, that it is the one.
const exhausted = "AUDITAIL_TEST_INOTIFY_EXHAUSTED"

// The kernel refuses an inotify instance, or the second of two watches: what
// can not be watched is polled, and a line of the log says so.
func TestInotifyExhausted(t *testing.T) {
	if os.Getenv(exhausted) != "" {
		followExhausted(t)
		return
	}
	t.Parallel()
	for limit, says := range map[string]string{
		"max_inotify_instances=0": "no file-system events, polling instead",
		"max_inotify_watches=1":   "directory can not be watched, polling it",
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			name, value, _ := strings.Cut(limit, "=")
			c := exec.CommandContext(t.Context(), "/bin/sh", "-c",
				`echo "$1" > /proc/sys/user/"$2" && exec "$3" -test.run='^TestInotifyExhausted$' -test.v`, "sh", value, name, os.Args[0])
			c.Env = append(os.Environ(), exhausted+"=1")
			c.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			out, err := c.CombinedOutput()
			if errors.Is(err, syscall.EPERM) {
				t.Skip("nobody may make a user namespace here")
			}
			if err != nil || strings.Count(string(out), says) != 2 {
				t.Errorf("%v, and not once a start %q:\n%s", err, says, out)
			}
		})
	}
}

// followExhausted follows logs in two directories through rotations and a kill.
func followExhausted(t *testing.T) {
	s := newScene(t, killed)
	other := s.path("other/y.log")
	if err := os.Mkdir(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	s.config.Paths = append(s.config.Paths, other)
	appendTo(t, other, "first\n")
	s.expect("first")
	s.write(10)
	s.start()
	s.caughtUp()
	s.stream(5000, 2, func(int) { s.rotate() })
	appendTo(t, other, "second\n")
	s.expect("second")
	s.caughtUp()
	s.running.Kill(s.to)
	s.rotate()
	s.start()
	s.write(100)
	s.finish()
	s.noGaps()
}
