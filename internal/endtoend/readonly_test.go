package endtoend

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// readOnly makes the file system of a folder read-only as a disk error does: at
// once, although files are open for writing (ext4: abort).
func (s *site) readOnly(folder string) { s.mustRun("mount", "-o", "remount,abort", s.path(folder)) }

// again mounts such a file system again, as an operator does who mended the disk:
// the kernel makes an aborted one writable in no other way.
func (s *site) again(folder string) {
	s.mustRun("umount", "--lazy", s.path(folder))
	s.mustRun("mount", "-o", "loop", s.path(folder+".ext4"), s.path(folder))
}

func (s *site) mustRun(command ...string) {
	s.t.Helper()
	if out, err := exec.CommandContext(s.t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		s.t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// TestReadOnlyDisk is promise 1 on a real file system that becomes read-only under
// the running agent, as the kernel makes it after an error. The agent waits; its
// disk is mended and mounted again, for which it is killed or stopped.
func TestReadOnlyDisk(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\nheartbeat = \"1s\"\n")
	s.mount("data", 64<<20)
	log := s.path("logs/access.log")
	lines := 0
	write := func(n int) {
		appendTo(t, log, accessLines(lines, n))
		lines += n
	}
	run := func() *process { return s.start("auditail", "run", "--config", s.path("auditail.toml")) }
	all := func() bool { return s.arrived() == uint64(lines) } //nolint:gosec // positive

	for i := range 4 {
		p := run()
		write(1000)
		await(t, "the lines written to a disk that can be written", all)
		s.readOnly("data")
		write(5000)
		p.logged("the disk is read-only: reading stops until it can be written")
		if i%2 == 0 {
			p.kill()
		} else if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		} else {
			<-p.done // it says that it could not seal
		}
		s.again("data")
	}
	s.once()
	c := s.read(s.path("archive"))
	wantLines(t, c, lines)
	for _, r := range c.records {
		if strings.HasPrefix(text(r, "event"), "agent.gap") {
			t.Errorf("a gap where nothing was lost: %v", r)
		}
	}
	s.verify(s.path("archive"))
}
