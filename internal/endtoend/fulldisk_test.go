package endtoend

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mount makes a file system of its own at a folder of the site. It needs root,
// which `.ci/run` has, and a loop device: a full disk can not be made up.
func (s *site) mount(folder string, size int64) {
	s.t.Helper()
	image := s.path(folder + ".ext4")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err == nil {
		err = os.Mkdir(s.path(folder), 0o750)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-m", "0", image},
		{"mount", "-o", "loop", image, s.path(folder)},
	} {
		if out, err := exec.CommandContext(s.t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the test's own
			s.t.Fatalf("this test mounts a file system of its own: run it as root, with loop devices: %s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
	s.t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", s.path(folder)).CombinedOutput(); err != nil {
			s.t.Errorf("umount: %v\n%s", err, out)
		}
	})
}

// fill takes all space of the file system that a folder is on; the returned
// function gives it back.
func fill(t *testing.T, folder string) (free func()) {
	t.Helper()
	name := filepath.Join(folder, "filler")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = io.CopyN(f, zeros{}, size)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() { remove(t, name) }
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Promise 1 on a real file system that is full: under a running agent, across
// kill -9, at a start and at a stop.
func TestFullDisk(t *testing.T) {
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

	p := run()
	write(1000)
	await(t, "the first lines", all)
	free := fill(t, s.path("data"))
	write(20_000)
	p.logged("the disk is full: reading stops until there is space")
	free()
	began := time.Now()
	await(t, "the lines written on the full disk", all)
	t.Logf("all lines were in the archive %s after there was space again", time.Since(began))
	p.logged("the disk has space again")

	free = fill(t, s.path("data"))
	write(20_000)
	p.kill()
	p = run().logged("the disk is full or read-only: the agent starts when that has passed")
	free()
	await(t, "the lines from before the kill", all)

	free = fill(t, s.path("data"))
	write(20_000)
	p.terminate(10 * time.Second)
	free()
	s.once()
	c := s.read(s.path("archive"))
	wantLines(t, c, lines)
	for _, r := range c.records {
		if text(r, "event") == "agent.gap" {
			t.Errorf("a gap where nothing was lost: %v", r)
		}
	}
	closes := 0
	for n := range c.batches {
		if s.manifest(filepath.Join(s.path("archive"), "seals", agentID, "0001", fmt.Sprintf("%012d.manifest", n))).Kind == "close" {
			closes++
		}
	}
	if closes != 2 {
		t.Errorf("the log was closed %d times, at the stop on the full disk and at the last one it should have been", closes)
	}
	s.verify(s.path("archive"))
}
