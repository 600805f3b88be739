package buffer_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
)

// rereads reads everything again.
func rereads(_ string, moved []buffer.Moved) ([]buffer.Position, error) {
	var back []buffer.Position
	for _, m := range moved {
		if m.To == nil {
			return nil, errors.New("forgotten")
		}
		at := buffer.Position{Generation: m.Generation, Token: m.From}
		if m.From == nil {
			at.Token = []byte("0")
		}
		back = append(back, at)
	}
	return back, nil
}

// place is a frame of one commit.
type place struct {
	file     string
	from, to int64
	input    string
}

// unsealed fills a buffer with commits of three inputs, over several segments,
// of which no batch is cut, and returns where they lie.
func (w *workload) unsealed(t *testing.T) (image *faulty.Image, known *archive, places []place) {
	t.Helper()
	w.config.MaxDisk, w.config.BatchSize = 40<<10, 1<<20
	disk := faulty.New()
	known = newArchive()
	synctest.Test(t, func(t *testing.T) {
		d := deps(disk)
		d.Log, d.Coverage = w.log, coverage
		b := open(t, w.config, d)
		sizes := segmentSizes(t, disk)
		for i := range 24 {
			x := w.sources[i%len(w.sources)]
			to := min(known.acked[x.name]+3+i%2, x.total)
			at := buffer.Resume{Positions: []buffer.Position{{Generation: generation, Token: fmt.Append(nil, known.acked[x.name])}}}
			if r := b.Resume(x.name); len(r.Positions) > 0 {
				at = r
			}
			if err := b.Append(t.Context(), x.read(at, to)); err != nil {
				t.Fatal(err)
			}
			known.acknowledged(x.name, to)
			for file, size := range segmentSizes(t, disk) {
				if before := sizes[file]; before < size {
					places = append(places, place{file: file, from: before, to: size, input: x.name})
					sizes[file] = size
				}
			}
		}
		if err := b.Shut(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	})
	if first, last := places[0].file, places[len(places)-1].file; first == last {
		t.Fatalf("all in %s", first)
	}
	return disk.Image(), known, places
}

func segmentSizes(t *testing.T, disk *faulty.FS) map[string]int64 {
	t.Helper()
	dir := filepath.Join(folder, "segments")
	entries, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(map[string]int64)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		sizes[filepath.Join(dir, e.Name())] = info.Size()
	}
	return sizes
}

// TestDamageIsReadAgain damages each commit of a buffer whose batches are open,
// and pairs of them. The inputs that lost one read again what they read since,
// the others do not move, and the archive has every line once, in order, with
// coverage that joins; also when the recovery is cut off in any moment.
func TestDamageIsReadAgain(t *testing.T) {
	w := newWorkload(t)
	w.reread = rereads
	image, before, places := w.unsealed(t)
	x := &explorer{workload: w, t: t}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's dice
	for i := range 2 * len(places) {
		hit := []place{places[i%len(places)]}
		if i >= len(places) {
			hit = append(hit, places[random.IntN(len(places))])
		}
		disk, known := image.Kill(), before.clone()
		for n, p := range hit {
			if n > 0 && p == hit[0] {
				continue
			}
			if !disk.Flip(p.file, (p.from+p.to)/2*8) {
				t.Fatal("nothing to flip")
			}
			delete(known.acked, p.input)
		}
		s := &session{workload: w, disk: disk, known: known.clone(), random: random, steps: 3, record: true}
		if err := s.run(t); err != nil {
			x.fail(fmt.Errorf("damage %+v: %w", hit, err))
			continue
		}
		stride := 1
		if i%len(places) != 7 {
			stride = 17
		}
		for n := i % stride; n < min(len(s.moments), 200); n += stride {
			x.after(s.moments[n], uint64(n), 0, kill, cutSome) //nolint:gosec // positive
		}
	}
	t.Logf("%d states", x.states)
}

// TestDamageIsRecordedOnce opens a damaged buffer twice, the second time behind a
// kill in front of the seal: what was found stands in one record, the damaged
// segment in quarantine, and the positions stay where the first start put them.
func TestDamageIsRecordedOnce(t *testing.T) {
	w := newWorkload(t)
	w.reread = rereads
	image, _, places := w.unsealed(t)
	for _, refuses := range []bool{false, true} {
		disk := image.Kill()
		if !disk.Flip(places[3].file, (places[3].from+places[3].to)/2*8) {
			t.Fatal("nothing to flip")
		}
		var told, gaps []string
		d := deps(disk)
		d.Log, d.Coverage, d.Reread = slog.New(slog.DiscardHandler), coverage, rereads
		if refuses {
			d.Reread = func(string, []buffer.Moved) ([]buffer.Position, error) { return nil, errors.New("gone") }
		}
		d.Damaged = func(f buffer.Damage) *buffer.Entry {
			told = append(told, fmt.Sprintf("%d again %v", f.Segment, f.ReadBack))
			return ownEntry("damage")
		}
		d.Gap = func(dst []byte, h buffer.Hole) []byte {
			gaps = append(gaps, fmt.Sprintf("%s %d-%d", h.Input, h.From, h.To))
			return append(dst, strings.TrimSuffix(string(ownEntry("gap").Records), "\n")...)
		}
		var at []string
		for start := range 3 {
			synctest.Test(t, func(t *testing.T) {
				var begun *faulty.Image // the new segment is durable, nothing is sealed
				created := false
				disk.Observe(func(op faulty.Operation, now *faulty.Image) {
					created = created || op.Kind == faulty.Create && strings.Contains(op.Name, "/segments/")
					if created && begun == nil && strings.Contains(op.Name, "/spool/") {
						begun = now
					}
				})
				d.FS = disk
				b, err := buffer.Open(w.config, d)
				if err != nil {
					t.Fatal(err)
				}
				at = append(at, position(b.Resume("a")))
				want := 1
				if start > 0 {
					want = 0
				}
				if got := b.Status().Damaged; got != want {
					t.Errorf("start %d found %d damaged stretches, want %d", start, got, want)
				}
				if err := b.Shut(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				if begun == nil {
					t.Fatal("nothing was sealed")
				}
				disk = begun.Kill()
			})
		}
		wantTold, wantGaps := []string{"1 again [a]"}, []string(nil)
		if refuses {
			wantTold, wantGaps = []string{"1 again []"}, []string{"a 3-7"}
		}
		if !slices.Equal(told, wantTold) || !slices.Equal(gaps, wantGaps) || at[0] != at[1] || at[1] != at[2] {
			t.Errorf("refuses %t: told %q, gaps %q, positions %q", refuses, told, gaps, at)
		}
		kept := filepath.Join(folder, "quarantine", filepath.Base(places[3].file)+".damaged")
		if _, err := durable.ReadFile(disk, kept, 1<<20); err != nil {
			t.Error(err)
		}
	}
}

func position(r buffer.Resume) string {
	if len(r.Positions) == 0 {
		return ""
	}
	return string(r.Positions[0].Token)
}
