package endtoend

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ways are what happens to the agent in the middle of a case.
var ways = map[string]func(p *process){
	"kill -9":       func(p *process) { p.kill() },
	"clean restart": func(p *process) { p.terminate(10 * time.Second) },
}

// Logs on a file system that fills, goes read-only, and is unmounted and
// mounted again under another device number while the agent runs and while it
// does not: every line once, and no gap.
func TestLogsOnATroubledFileSystem(t *testing.T) {
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			input := strings.Replace(accessInput, "DIR/logs/", "DIR/disk/", 1)
			s := newSite(t, input, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
			s.mount("disk", 16<<20)
			log, lines := s.path("disk/access.log"), 0
			write := func(n int) {
				appendTo(t, log, accessLines(lines, n))
				lines += n
			}
			run := func() *process { return s.start("auditail", "run", "--config", s.path("auditail.toml")) }
			all := func() bool { return s.arrived() == uint64(lines) } //nolint:gosec // positive
			p := run()
			write(1000)
			await(t, "the first lines", all)

			free := fill(t, s.path("disk"))
			end(p)
			p = run().logged("msg=running")
			free()
			write(1000)
			await(t, "the lines after the file system was full", all)

			write(500)
			s.mounts("mount", "-o", "remount,ro", s.path("disk"))
			end(p)
			p = run()
			await(t, "the lines of a read-only file system", all)
			s.mounts("mount", "-o", "remount,rw", s.path("disk"))
			write(500)
			await(t, "the lines after it", all)

			s.mounts("umount", "--lazy", s.path("disk"))
			end(p) // until then it holds the file open
			p = run().logged("followed file is not found, position kept")
			s.mounts("mount", "-o", "loop", s.path("disk.ext4"), s.path("disk"))
			write(500)
			await(t, "the lines after it was mounted again", all)
			p.terminate(10 * time.Second)
			s.wantAllWithoutGap(lines)
		})
	}
}

// mounts runs a command that changes mounts.
func (s *site) mounts(command ...string) {
	s.t.Helper()
	if out, err := exec.CommandContext(s.t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		s.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// wantAllWithoutGap checks that each line is in the archive once, and that no
// record says that something is missing.
func (s *site) wantAllWithoutGap(lines int) {
	s.t.Helper()
	c := s.read(s.path("archive"))
	wantLines(s.t, c, lines)
	for _, r := range c.records {
		if text(r, "event") == "agent.gap" {
			s.t.Errorf("a gap where nothing was lost: %v", r)
		}
	}
	s.verify(s.path("archive"))
}

// nobody is the user and group that owns nothing.
const nobody = 65534

// An agent that is not root loses the right to read a log and gets it back: it
// waits, says so, and reads every line once. The log is rotated meanwhile.
func TestPermissionLostAndRegained(t *testing.T) {
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
			for _, dir := range []string{filepath.Dir(s.dir), binaries, s.path("logs")} {
				if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // for another user
					t.Fatal(err)
				}
			}
			for _, name := range []string{s.dir, s.path("archive"), s.path("auditail.toml")} {
				if err := os.Chown(name, nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			log, lines := s.path("logs/access.log"), 0
			write := func(mode os.FileMode, n int) {
				appendTo(t, log, accessLines(lines, n))
				lines += n
				if err := os.Chmod(log, mode); err != nil {
					t.Fatal(err)
				}
			}
			all := func() bool { return s.arrived() == uint64(lines) } //nolint:gosec // positive
			p := s.startAs(nobody)
			write(0o644, 1000)
			await(t, "the first lines", all)
			write(0, 1000)
			end(p)
			p = s.startAs(nobody).logged("file can not be opened, trying again")
			unreadable := func() bool {
				out, code := s.try("auditail", "status", "--config", s.path("auditail.toml"))
				return code == 1 && strings.Contains(out, "access.log can not be read: permission denied")
			}
			await(t, "the alert", unreadable)
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
			write(0, 1000)
			for _, name := range []string{log, log + ".1"} {
				if err := os.Chmod(name, 0o644); err != nil { //nolint:gosec // for another user
					t.Fatal(err)
				}
			}
			await(t, "the lines that could not be read", all)
			await(t, "the end of the alert", func() bool { return !unreadable() })
			p.terminate(10 * time.Second)
			s.wantAllWithoutGap(lines)
		})
	}
}

// startAs starts the agent as another user.
func (s *site) startAs(user uint32) *process {
	s.t.Helper()
	p := &process{t: s.t, command: s.command("auditail", "run", "--config", s.path("auditail.toml")), done: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	p.command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if err := p.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.done <- p.command.Wait() }()
	return p
}
