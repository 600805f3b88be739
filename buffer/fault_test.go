package buffer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable/faulty"
)

// faults are the ways in which an operation can go wrong. From is set by the sweep.
var faults = map[string]faulty.Fault{
	"EIO":                       {Err: syscall.EIO},
	"EIO, but done":             {Err: syscall.EIO, Done: true},
	"EIO from here on":          {Err: syscall.EIO, Count: -1},
	"short write":               {Err: syscall.EIO, Kinds: faulty.Write, Short: 600},
	"sync that loses":           {Err: syscall.EIO, Kinds: faulty.Sync, Lose: true},
	"too many files":            {Err: syscall.EMFILE, Kinds: faulty.Open | faulty.Create | faulty.ReadDir, Count: 3},
	"disk full":                 {Err: syscall.ENOSPC, Kinds: faulty.Write | faulty.Create, Count: 5, Short: 600},
	"disk full, but done":       {Err: syscall.ENOSPC, Kinds: faulty.Write | faulty.Create | faulty.Rename, Done: true},
	"disk full at a sync":       {Err: syscall.ENOSPC, Kinds: faulty.Sync | faulty.SyncDir},
	"disk full at a sync, done": {Err: syscall.ENOSPC, Kinds: faulty.Sync | faulty.SyncDir, Done: true},
}

// TestFaultAtEveryOperation makes each operation of a workload fail in each way.
// The buffer may stop with an error, but what it acknowledged and shipped holds
// for the next process, with and without a power cut in between. A full disk
// stops nothing: it is waited for.
func TestFaultAtEveryOperation(t *testing.T) {
	stride, nested := 17, 1
	switch {
	case testing.Short():
		stride = 61
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
				err := s.run(t)
				x.states++
				if err == nil {
					continue
				}
				stopped++
				// The first operations make the folders; behind Shut nothing waits any more.
				if strings.HasPrefix(name, "disk full") && fault.Kinds&faulty.Sync == 0 && n > 12 && !errors.Is(err, buffer.ErrClosed) {
					x.fail(fmt.Errorf("%s at operation %d stops the buffer: %w", name, n, err))
				}
				if !errors.Is(err, fault.Err) {
					x.fail(fmt.Errorf("%s at operation %d: %w", name, n, err))
				}
				x.after(moment{op: faulty.Operation{Number: n, Name: name}, image: s.disk.Image(), known: s.known}, uint64(n), nested, kill, cutAll, cutSome, cutLate) //nolint:gosec // positive
			}
			t.Logf("%d states, %d faults stopped the buffer", x.states, stopped)
		})
	}
}

func (x *explorer) faulted(f faulty.Fault) *session {
	s := &session{
		workload: x.workload, disk: faulty.New(), known: newArchive(),
		random: rand.New(rand.NewPCG(3, 0)), steps: 5, //nolint:gosec // a test's dice
	}
	s.disk.Inject(f)
	return s
}
