package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

func testDeps(disk *faulty.FS) buffer.Deps {
	d := deps(disk)
	d.Coverage = coverage
	return d
}

func open(t *testing.T, c buffer.Config, d buffer.Deps) *buffer.Buffer {
	t.Helper()
	b, err := buffer.Open(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// appendRead appends what an input read.
func appendRead(ctx context.Context, b *buffer.Buffer, e *buffer.Entry) error {
	if err := b.Admit(ctx); err != nil {
		return err
	}
	return b.Append(ctx, e)
}

// fill appends until it blocks, and returns what the blocked one answers.
func fill(ctx context.Context, t *testing.T, b *buffer.Buffer) <-chan error {
	t.Helper()
	for from := 0; ; from += 100 {
		if from > 100_000 {
			t.Fatal("the cap is never reached")
		}
		answer := make(chan error, 1)
		go func() { answer <- appendRead(ctx, b, entry(from, 100)) }()
		synctest.Wait()
		select {
		case err := <-answer:
			if err != nil {
				t.Fatal(err)
			}
		default:
			return answer
		}
	}
}

// take ships what an output has not got, and returns the numbers.
func take(t *testing.T, b *buffer.Buffer, output string) (numbers []uint64) {
	t.Helper()
	for b.Pending(output) > 0 {
		batch, err := b.Next(context.Background(), output)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range batch.Objects {
			if _, err := readObject(o); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Acknowledge(output, batch); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, batch.Manifest.Batch)
	}
	return numbers
}

func TestCapBlocksUntilEveryOutputAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(folder)
		c.MaxDisk, c.BatchSize = 64<<10, 2<<10
		b := open(t, c, testDeps(faulty.New()))
		ctx, cancel := context.WithCancel(t.Context())
		blocked := fill(ctx, t, b)
		cancel()
		if err := <-blocked; !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled Append answers %v", err)
		}
		blocked = fill(t.Context(), t, b)
		shipped := take(t, b, "a")
		synctest.Wait()
		if len(blocked) > 0 {
			t.Fatal("Append goes on although output b has acknowledged nothing")
		}
		// What b sets free lets Append go on, so that b may get more than a did.
		if got := take(t, b, "b"); len(got) < len(shipped) || !slices.Equal(got[:len(shipped)], shipped) || got[0] != 0 {
			t.Fatalf("output b got %d, output a %d", got, shipped)
		}
		if err := <-blocked; err != nil {
			t.Fatal(err)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSmallestCapDoesNotLock goes round often with the least that the
// configuration allows: what was shipped must make room again.
func TestSmallestCapDoesNotLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(folder)
		c.MaxDisk, c.BatchSize, c.BatchAge = 16<<10, 8<<10, time.Second
		c.Outputs = []string{"a"}
		b := open(t, c, testDeps(faulty.New()))
		var shipper sync.WaitGroup
		shipper.Go(func() {
			for {
				batch, err := b.Next(t.Context(), "a")
				if errors.Is(err, buffer.ErrClosed) {
					return
				}
				if err == nil {
					err = b.Acknowledge("a", batch)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for i := range 200 {
			if err := appendRead(ctx, b, entry(i*100, 100)); err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		shipper.Wait()
	})
}

func TestShutReleasesABlockedAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(folder)
		c.MaxDisk, c.BatchSize = 64<<10, 2<<10
		b := open(t, c, testDeps(faulty.New()))
		blocked := fill(t.Context(), t, b)
		if err := b.Shut(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if err := <-blocked; !errors.Is(err, buffer.ErrClosed) {
			t.Fatalf("the blocked Append answers %v", err)
		}
	})
}

// TestShutWhileAppending checks that every Append that races with the end is
// answered, and truly: those that were acknowledged are there.
func TestShutWhileAppending(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			disk := faulty.New()
			b := open(t, config(folder), testDeps(disk))
			const writers = 8
			acknowledged := make([]int, writers)
			var running sync.WaitGroup
			start := make(chan struct{})
			for i := range writers {
				running.Go(func() {
					<-start
					for n := 0; ; n++ {
						e := entry(n, 1)
						e.Input = fmt.Sprint(i)
						err := b.Append(context.Background(), e)
						if err != nil {
							if !errors.Is(err, buffer.ErrClosed) {
								t.Error(err)
							}
							return
						}
						acknowledged[i] = n + 1
					}
				})
			}
			close(start)
			if err := b.Append(t.Context(), ownEntry("x")); err != nil {
				t.Error(err)
			}
			if err := b.Shut(t.Context(), false); err != nil {
				t.Error(err)
			}
			running.Wait()
			b = open(t, config(folder), testDeps(disk))
			for i, n := range acknowledged {
				r := b.Resume(fmt.Sprint(i))
				if n > 0 && (len(r.Positions) != 1 || string(r.Positions[0].Token) != fmt.Sprint(n)) {
					t.Errorf("input %d: %d acknowledged, it resumes at %s", i, n, r.Positions)
				}
			}
			if err := b.Shut(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFailureEndsEverybody makes the disk fail under a Flush while an output
// waits: both are told, and the buffer can be shut.
func TestFailureEndsEverybody(t *testing.T) {
	for _, match := range []string{"segments", "spool"} {
		t.Run(match, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := faulty.New()
				b := open(t, config(folder), testDeps(disk))
				take(t, b, "a")
				if err := b.Append(t.Context(), entry(0, 10)); err != nil {
					t.Fatal(err)
				}
				next := make(chan error, 1)
				go func() {
					_, err := b.Next(t.Context(), "a")
					next <- err
				}()
				synctest.Wait()
				disk.Inject(faulty.Fault{Match: match, Err: syscall.EIO, Count: -1})
				if err := b.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
					t.Errorf("flush: %v", err)
				}
				if err := <-next; !errors.Is(err, syscall.EIO) {
					t.Errorf("next: %v", err)
				}
				if err := b.Append(t.Context(), entry(10, 10)); !errors.Is(err, syscall.EIO) {
					t.Errorf("append: %v", err)
				}
				<-b.Failed()
				if err := b.Shut(t.Context(), true); !errors.Is(err, syscall.EIO) {
					t.Errorf("shut: %v", err)
				}
			})
		})
	}
}

// TestShutDoesNotWaitForAFullDisk ends a buffer whose sealer waits for space.
func TestShutDoesNotWaitForAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(folder)
		c.BatchSize = 1 << 10
		disk := faulty.New()
		b := open(t, c, testDeps(disk))
		disk.Inject(faulty.Fault{Kinds: faulty.Write | faulty.Create, Match: "spool", Err: syscall.ENOSPC, Count: -1})
		for i := range 3 { // as many cut batches as the sealer's queue takes
			if err := b.Append(t.Context(), entry(i*100, 100)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if err := b.Shut(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("shut: %v", err)
		}
		disk.Heal()
		b = open(t, c, testDeps(disk))
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := take(t, b, "a"); len(got) < 2 {
			t.Fatalf("batches %d", got)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFullDiskIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.New()
		b := open(t, config(folder), testDeps(disk))
		disk.Inject(faulty.Fault{Kinds: faulty.Write | faulty.Create, Err: syscall.ENOSPC, Count: -1, Short: 100})
		answer := make(chan error, 1)
		go func() { answer <- b.Append(t.Context(), entry(0, 100)) }()
		time.Sleep(10 * time.Minute)
		if len(answer) > 0 {
			t.Fatalf("Append answers %v on a full disk", <-answer)
		}
		disk.Heal()
		healed := time.Now()
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(healed); waited > 5*time.Second { // of the bubble's clock
			t.Fatalf("Append goes on %s after there was space again", waited)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRemovedAndAddedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, c := faulty.New(), config(folder)
		b := open(t, c, testDeps(disk))
		if err := b.Append(t.Context(), entry(0, 10)); err != nil {
			t.Fatal(err)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := take(t, b, "a"); !slices.Equal(got, []uint64{0, 1, 2}) {
			t.Fatalf("output a got %d", got)
		}
		if n := spooled(t, disk); n == 0 {
			t.Fatal("batches were removed that output b has not acknowledged")
		}
		c.Outputs = []string{"a"} // b is gone: nobody needs them any more
		b = open(t, c, testDeps(disk))
		if n := spooled(t, disk); n != 0 {
			t.Fatalf("%d files that nobody needs are in the spool", n)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		c.Outputs = []string{"a", "new"}
		b = open(t, c, testDeps(disk))
		if got := take(t, b, "new"); !slices.Equal(got, []uint64{3}) {
			t.Fatalf("the new output got %d", got)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

func spooled(t *testing.T, disk *faulty.FS) int {
	t.Helper()
	entries, err := disk.ReadDir(filepath.Join(folder, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestOtherRun checks that what one process left open is sealed as its own.
func TestOtherRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, c := faulty.New(), config(folder)
		old, changed := testDeps(disk), testDeps(disk)
		changed.Run.Config = seal.DigestOf([]byte("changed"))
		b := open(t, c, old)
		if err := b.Append(t.Context(), entry(0, 10)); err != nil {
			t.Fatal(err)
		}
		if err := b.Shut(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		b = open(t, c, changed)
		if err := b.Append(t.Context(), entry(10, 10)); err != nil {
			t.Fatal(err)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		var runs []seal.Digest
		for {
			batch, err := b.Next(t.Context(), "a")
			if errors.Is(err, buffer.ErrClosed) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if batch.Manifest.Kind == seal.Data {
				runs = append(runs, batch.Manifest.Run.Config)
			}
			if err := b.Acknowledge("a", batch); err != nil {
				t.Fatal(err)
			}
		}
		if want := []seal.Digest{old.Run.Config, changed.Run.Config}; !slices.Equal(runs, want) {
			t.Fatalf("sealed under %s, want %s", runs, want)
		}
	})
}

// TestHole checks what a damaged frame costs: its lines become a hole, and all
// others are there. Damage in front of nothing that was synced is read again.
func TestHole(t *testing.T) {
	for _, test := range []struct {
		damaged  int // entry
		holes    []buffer.Hole
		resumeAt string
		recorded string
	}{
		{1, []buffer.Hole{{Stream: stream, Input: "in", Generation: "g", From: 10, To: 20}}, "40", "0 20 30"},
		{3, nil, "30", "0 10 20"},
	} {
		synctest.Test(t, func(t *testing.T) {
			disk, c := faulty.New(), config(folder)
			b := open(t, c, testDeps(disk))
			name := filepath.Join(folder, "segments", "000001.seg")
			var ends []int64
			for i := range 4 {
				if err := b.Append(t.Context(), entry(i*10, 10)); err != nil {
					t.Fatal(err)
				}
				info, err := disk.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, info.Size())
			}
			if err := b.Shut(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if !disk.Flip(name, (ends[test.damaged]-1)*8) {
				t.Fatal("nothing to flip")
			}
			b = open(t, c, testDeps(disk))
			if got := b.Holes(); !slices.Equal(got, test.holes) {
				t.Errorf("holes %+v, want %+v", got, test.holes)
			}
			if r := b.Resume("in"); string(r.Positions[0].Token) != test.resumeAt {
				t.Errorf("resumes at %s, want %s", r.Positions[0].Token, test.resumeAt)
			}
			if err := b.Shut(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			var first []string
			w := newWorkload(t)
			for b.Pending("a") > 0 {
				batch, err := b.Next(t.Context(), "a")
				if err != nil {
					t.Fatal(err)
				}
				if batch.Manifest.Kind == seal.Data {
					data, err := readObject(batch.Objects[0])
					if err != nil {
						t.Fatal(err)
					}
					plain, err := w.decoder.DecodeAll(data, nil)
					if err != nil {
						t.Fatal(err)
					}
					for line := range strings.Lines(string(plain)) {
						if rest, ok := strings.CutPrefix(line, `{"line":`); ok {
							if n, _, _ := strings.Cut(rest, ","); strings.HasSuffix(n, "0") {
								first = append(first, n)
							}
						}
					}
				}
				if err := b.Acknowledge("a", batch); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(first, " "); got != test.recorded {
				t.Errorf("recorded %s, want %s", got, test.recorded)
			}
		})
	}
}

// TestDamagedSnapshotCostsNothing flips a bit in the first frame of the newest
// segment: the segment before it says the same.
func TestDamagedSnapshotCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, c := faulty.New(), config(folder)
		b := open(t, c, testDeps(disk))
		if err := b.Append(t.Context(), entry(0, 10)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := b.Shut(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			take(t, b, "a")
			take(t, b, "b")
			b = open(t, c, testDeps(disk))
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		entries, err := disk.ReadDir(filepath.Join(folder, "segments"))
		if err != nil {
			t.Fatal(err)
		}
		newest := entries[len(entries)-1].Name()
		if !disk.Flip(filepath.Join(folder, "segments", newest), 8*100) {
			t.Fatal("nothing to flip")
		}
		b = open(t, c, testDeps(disk))
		if r := b.Resume("in"); len(r.Positions) != 1 || string(r.Positions[0].Token) != "10" {
			t.Errorf("resumes at %s", r.Positions)
		}
		if got := b.Holes(); len(got) > 0 {
			t.Errorf("holes %+v", got)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReserve fills the disk: what the agent needs to go on with (seals, cursors,
// close) is written out of the reserve, records are not, and the reserve is back
// before they are.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, c := faulty.New(), config(folder)
		c.Heartbeat, c.Outputs = time.Minute, []string{"a"}
		b := open(t, c, testDeps(disk))
		reserve := filepath.Join(folder, "reserve")
		size := func() int64 {
			if info, err := disk.Stat(reserve); err == nil {
				return info.Size()
			}
			return 0
		}
		if size() != 1<<20 {
			t.Fatalf("the reserve has %d bytes", size())
		}
		disk.Limit(0)
		answer := make(chan error, 1)
		go func() { answer <- b.Append(t.Context(), entry(0, 100)) }()
		time.Sleep(5*time.Minute + 30*time.Second) // a step that met another one waits a second
		if got := take(t, b, "a"); len(got) != 6 || len(answer) > 0 || size() != 0 {
			t.Fatalf("on the full disk: batches %d, %d answers to Append, a reserve of %d bytes", got, len(answer), size())
		}
		disk.Limit(512 << 10) // space for the records, not for the reserve
		time.Sleep(time.Minute)
		if len(answer) > 0 || size() != 0 {
			t.Fatal("records were written into the space of the reserve")
		}
		disk.Limit(2 << 20)
		time.Sleep(5 * time.Second)
		if len(answer) != 1 || size() != 1<<20 {
			t.Fatalf("with space again: %d answers to Append, a reserve of %d bytes", len(answer), size())
		}
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		disk.Limit(0)
		go func() { answer <- b.Append(t.Context(), entry(100, 100)) }()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Shut(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("shut: %v", err)
		}
		take(t, b, "a")
		disk.Limit(-1)
		b = open(t, c, testDeps(disk))
		if r := b.Resume("in"); string(r.Positions[0].Token) != "100" {
			t.Errorf("resumes at %s", r.Positions[0].Token)
		}
		if err := b.Shut(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}
