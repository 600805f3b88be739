package traceback_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/auditail/auditail/parsers/internal/traceback"
)

// plain is a chained traceback; "!" marks the lines that are no frames.
const plain = `Traceback (most recent call last):
  File "/srv/app.py", line 3, in app
    a = await b(
        ^^^^^^^^
  [Previous line repeated 9 more times]
!ValueError: first
!
During handling of the above exception, another exception occurred:
!
Traceback (most recent call last):
  File "/srv/app.py", line 23, in app
    raise RuntimeError("a\nb")
!RuntimeError: a
!b
!    not a frame any more
`

// group is how an ExceptionGroup is printed.
const group = `  + Exception Group Traceback (most recent call last):
  |   File "/srv/x.py", line 411, in run_asgi
  |     result = await app(
  |              ^^^^^^^^^^
!  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
!  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/y.py", line 76, in collapse
    |     yield
!    | ValueError: boom
!    +------------------------------------
`

const process = `Process EngineCore_DP0:
Traceback (most recent call last):
  File "/usr/lib/python3.12/multiprocessing/process.py", line 314, in _bootstrap
    self.run()
!torch.OutOfMemoryError: CUDA out of memory.
!Process this please
!    indented
`

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func TestFrames(t *testing.T) {
	for _, text := range []string{plain, group, process} {
		var tracker traceback.Tracker
		for _, line := range lines(text) {
			line, last := strings.CutPrefix(line, "!")
			if got := tracker.Frame("/log", []byte(line)); got == last {
				t.Errorf("%q: %t", line, got)
			}
		}
		if !tracker.Idle() {
			t.Error("not idle at the end")
		}
	}
}

// TestLogs: a traceback of one log says nothing of the lines of another, and a
// restart changes nothing.
func TestLogs(t *testing.T) {
	var tracker traceback.Tracker
	for _, line := range lines(process) {
		line, last := strings.CutPrefix(line, "!")
		if tracker.Frame("/other", []byte("    indented")) {
			t.Errorf("a line of another log counts as a frame behind %q", line)
		}
		if got := tracker.Frame("/log", []byte(line)); got == last {
			t.Errorf("%q: %t", line, got)
		}
		var next traceback.Tracker
		snapshot := tracker.Snapshot()
		if err := next.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(next.Snapshot(), snapshot) || (snapshot == nil) != tracker.Idle() {
			t.Errorf("snapshot %q of %q", snapshot, next.Snapshot())
		}
		tracker = next
	}
}

// TestBound: no more than 256 logs are remembered; the oldest is forgotten.
func TestBound(t *testing.T) {
	var tracker traceback.Tracker
	for i := range 257 {
		tracker.Frame(fmt.Sprint(i), []byte("Traceback (most recent call last):"))
	}
	if tracker.Frame("0", []byte("    x")) || !tracker.Frame("1", []byte("    x")) || !tracker.Frame("256", []byte("    x")) {
		t.Error("not the oldest was forgotten")
	}
}

func TestRestoreDamage(t *testing.T) {
	var tracker traceback.Tracker
	tracker.Frame("/log", []byte("Traceback (most recent call last):"))
	good := tracker.Snapshot()
	for _, bad := range [][]byte{good[:1], good[:len(good)-1], append(bytes.Clone(good), 0), {9, 0}, {1, 4, 2, 'a', 2, 'a'}} {
		if tracker.Restore(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if !bytes.Equal(tracker.Snapshot(), good) {
		t.Error("the state changed")
	}
}
