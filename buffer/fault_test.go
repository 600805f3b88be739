package buffer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/auditail/auditail/internal/durable/faulty"
)

// faults are the ways in which an operation can go wrong. From is set by the sweep.
var faults = map[string]faulty.Fault{
	"EIO":                           {Err: syscall.EIO},
	"EIO, but done":                 {Err: syscall.EIO, Done: true},
	"EIO from here on":              {Err: syscall.EIO, Count: -1},
	"short write":                   {Err: syscall.EIO, Kinds: faulty.Write, Short: 600},
	"sync that loses":               {Err: syscall.EIO, Kinds: faulty.Sync, Lose: true},
	"syncs that lose from here on":  {Err: syscall.EIO, Kinds: faulty.Sync, Lose: true, Count: -1},
	"sync, but done":                {Err: syscall.EIO, Kinds: faulty.Sync | faulty.SyncDir, Done: true},
	"syncs, but done, from here on": {Err: syscall.EIO, Kinds: faulty.Sync | faulty.SyncDir, Done: true, Count: -1},
	"neither sync nor truncation":   {Err: syscall.EIO, Kinds: faulty.Sync | faulty.Truncate, Lose: true, Count: 2},
	"too many files":                {Err: syscall.EMFILE, Kinds: faulty.Open | faulty.Create | faulty.ReadDir, Count: 3},
	"disk full":                     {Err: syscall.ENOSPC, Kinds: faulty.Write | faulty.Create, Count: 5, Short: 600},
	"disk full, but done":           {Err: syscall.ENOSPC, Kinds: faulty.Write | faulty.Create | faulty.Rename, Done: true},
	"disk full at a sync":           {Err: syscall.ENOSPC, Kinds: faulty.Sync | faulty.SyncDir},
	"disk full at a sync, done":     {Err: syscall.ENOSPC, Kinds: faulty.Sync | faulty.SyncDir, Done: true},
	"disk full at syncs that lose":  {Err: syscall.ENOSPC, Kinds: faulty.Sync, Lose: true, Count: 6},
}

// TestFaultAtEveryOperation makes each operation of a workload fail in each way.
// What passes does not end the process: a full disk is waited for, and a buffer
// that failed is opened again. What lasts does, and what was acknowledged and
// shipped holds for the next process, with and without a power cut in between;
// so it does when the power is cut while the buffer is opened again.
func TestFaultAtEveryOperation(t *testing.T) {
	stride, nested := 61, 0
	switch {
	case testing.Short():
		stride = 97
	case os.Getenv("AUDITAIL_TORTURE") != "":
		stride, nested = 1, 2
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &explorer{workload: newWorkload(t), t: t}
			reference := x.faulted(faulty.Fault{From: 1 << 30, Err: syscall.EIO})
			if err := reference.run(t); err != nil {
				t.Fatal(err)
			}
			stopped := 0
			for n := 1 + len(name)%stride; n <= reference.disk.Operations(); n += stride {
				fault.From = n
				s := x.faulted(fault)
				s.record = true
				err := s.run(t)
				x.states++
				where := moment{op: faulty.Operation{Number: n, Name: name}, image: s.disk.Image(), known: s.known}
				if err == nil {
					where = s.soonAfter(n)
				} else if stopped++; fault.Count >= 0 && !s.ending || !errors.Is(err, fault.Err) {
					x.fail(fmt.Errorf("%s at operation %d stops the process: %w", name, n, err))
				}
				if where.image != nil {
					x.after(where, uint64(n), nested, kill, cutAll, cutSome, cutLate) //nolint:gosec // positive
				}
			}
			t.Logf("%d states, %d faults stopped the process", x.states, stopped)
		})
	}
}

// soonAfter returns one of the next moments behind an operation: of the buffer
// being opened again, where it was.
func (s *session) soonAfter(n int) (m moment) {
	ahead := 1 + s.random.IntN(30)
	for _, m = range s.moments {
		if m.op.Number >= n+ahead {
			break
		}
	}
	return m
}

func (x *explorer) faulted(f faulty.Fault) *session {
	s := &session{
		workload: x.workload, disk: faulty.New(), known: newArchive(),
		random: rand.New(rand.NewPCG(3, 0)), steps: 5, //nolint:gosec // a test's dice
	}
	s.disk.Inject(f)
	return s
}
