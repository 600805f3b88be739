package buffer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

// builtSegment is a segment made for a test and where its frames begin.
type builtSegment struct {
	data   []byte
	starts []int64
}

func (s *builtSegment) add(t testing.TB, h frameHeader, meta any, body []byte) {
	t.Helper()
	s.starts = append(s.starts, int64(len(s.data)))
	at := len(s.data)
	var err error
	if s.data, err = beginFrame(s.data, &h, meta); err != nil {
		t.Fatal(err)
	}
	s.data = append(s.data, body...)
	if err := endFrame(s.data[at:], &h); err != nil {
		t.Fatal(err)
	}
}

// buildSegment makes a segment of at least size bytes in groups of one, two and
// three frames.
func buildSegment(t testing.TB, size int) *builtSegment {
	t.Helper()
	s := &builtSegment{data: []byte(segmentMagic)}
	s.add(t, frameHeader{kind: snapshotFrame, first: true, commit: 1}, snapshotMeta{}, nil)
	for commit := uint64(2); len(s.data) < size; commit++ {
		meta := entryMeta{Stream: seal.Stream{Environment: "test", Service: "chat", Class: "standard"}, Input: "in", At: int64(commit)}
		body := bytes.Repeat([]byte{byte(commit)}, int(commit%7)*40)
		s.add(t, frameHeader{kind: dataFrame, first: s.begins(len(s.starts)), commit: commit, count: 1, plain: 1}, meta, body)
	}
	return s
}

// begins tells whether the frame with this index begins a group.
func (s *builtSegment) begins(frame int) bool {
	return frame == 0 || slices.Contains([]int{1, 3, 0}, frame%6) // groups of 2, 3 and 1 frames
}

// frameAt returns the index of the frame that a byte belongs to, -1 of the magic.
func (s *builtSegment) frameAt(offset int64) int {
	i, found := slices.BinarySearch(s.starts, offset)
	if found {
		return i
	}
	return i - 1
}

func unproven(uint64) bool { return false }

// read returns the commits that a reader finds and the damage.
func read(t *testing.T, data []byte) (commits []uint64, bad []damage) {
	t.Helper()
	bad, err := readSegment(bytes.NewReader(data), int64(len(data)), unproven, func(f *frame) error {
		commits = append(commits, f.commit)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return commits, bad
}

// expected returns the commits that are to be found when one frame is damaged:
// all others, but behind damage in the last group none.
func (s *builtSegment) expected(damaged int) (commits []uint64, torn bool) {
	torn = true
	for i := damaged + 1; i < len(s.starts); i++ {
		torn = torn && !s.begins(i)
	}
	for i := range s.starts {
		if i != damaged && (!torn || i < damaged) {
			commits = append(commits, uint64(i)+1)
		}
	}
	return commits, torn
}

func damagedSize(t *testing.T) int {
	t.Helper()
	switch {
	case os.Getenv("AUDITAIL_TORTURE") != "":
		return 64 << 10
	case testing.Short():
		return 6 << 10
	}
	return 16 << 10
}

// TestEveryBitFlipped flips every bit of a segment: the frame it hits is
// damaged, and only that one.
func TestEveryBitFlipped(t *testing.T) {
	s := buildSegment(t, damagedSize(t))
	for bit := range len(s.data) * 8 {
		s.data[bit>>3] ^= 1 << (bit & 7)
		commits, bad := read(t, s.data)
		s.data[bit>>3] ^= 1 << (bit & 7)
		damaged := s.frameAt(int64(bit >> 3))
		want, torn := s.expected(damaged)
		if damaged < 0 {
			want, _ = s.expected(len(s.starts))
			torn = false
		}
		if !slices.Equal(commits, want) || len(bad) != 1 || bad[0].torn != torn {
			t.Fatalf("bit %d in frame %d: damage %+v, %d commits, want %d", bit, damaged, bad, len(commits), len(want))
		}
	}
}

// TestEveryTruncation cuts a segment at every length: what is whole in front of
// the cut is found, and the rest was never acknowledged.
func TestEveryTruncation(t *testing.T) {
	s := buildSegment(t, damagedSize(t))
	for size := range s.data {
		commits, bad := read(t, s.data[:size])
		whole := max(0, s.frameAt(int64(size)))
		if len(commits) != whole {
			t.Fatalf("cut at %d: %d commits, want %d", size, len(commits), whole)
		}
		onBorder := slices.Contains(s.starts, int64(size))
		if onBorder != (len(bad) == 0) || !onBorder && size > len(segmentMagic) && !bad[len(bad)-1].torn {
			t.Fatalf("cut at %d: damage %+v", size, bad)
		}
	}
}

func FuzzFrameHeader(f *testing.F) {
	var b [frameHeaderSize]byte
	(&frameHeader{kind: dataFrame, first: true, commit: 7, meta: 1, body: 2, plain: 3, count: 4, seq: 5, sum: 6}).put(b[:])
	f.Add(b[:])
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseFrameHeader(data)
		if err != nil {
			return
		}
		var again [frameHeaderSize]byte
		h.put(again[:])
		if !bytes.Equal(again[:], data[:frameHeaderSize]) {
			t.Fatalf("%x parses, but is written as %x", data[:frameHeaderSize], again)
		}
	})
}

func FuzzReadSegment(f *testing.F) {
	s := buildSegment(f, 2<<10)
	f.Add(s.data)
	f.Add(s.data[:len(s.data)-1])
	f.Add(append(slices.Clone(s.data[:s.starts[2]]), s.data[s.starts[3]:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		end := int64(0)
		bad, err := readSegment(bytes.NewReader(data), int64(len(data)), unproven, func(fr *frame) error {
			if fr.at < end || fr.at+fr.size() > int64(len(data)) {
				t.Fatalf("frame at %d behind %d", fr.at, end)
			}
			end = fr.at + fr.size()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range bad {
			if d.from > d.to || d.to > int64(len(data)) {
				t.Fatalf("damage %+v of %d bytes", d, len(data))
			}
		}
	})
}

// FuzzRecover lets frames with valid checksums say anything: the buffer opens
// without them, or refuses, but does not panic and can be shut.
func FuzzRecover(f *testing.F) {
	meta, err := json.Marshal(entryMeta{
		Stream: seal.Stream{Environment: "test", Service: "chat", Class: "standard"}, Input: "in",
		Lines: seal.Lines{Read: 1, Recorded: 1}, Ranges: []Range{{Generation: "g", Unit: "bytes", To: 9, Lines: 1}},
		Positions: []Position{{Generation: "g", Token: []byte("9")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	encoder, err := newZstdEncoder()
	if err != nil {
		f.Fatal(err)
	}
	body := encoder.EncodeAll([]byte("{\"seq\":1}\n"), nil)
	f.Add(byte(dataFrame), meta, body, uint32(10), uint32(1))
	f.Add(byte(cutFrame), meta, body, uint32(10), uint32(1))
	f.Add(byte(snapshotFrame), []byte(`{"inputs":{"in":null}}`), []byte{}, uint32(0), uint32(0))
	f.Add(byte(snapshotFrame), []byte(`{"inputs":{"in":{"ends":{"g":3}}}}`), []byte{}, uint32(0), uint32(0))
	f.Add(byte(dataFrame), []byte(`{"stream":{}}`), []byte{}, uint32(9), uint32(9))
	f.Fuzz(func(t *testing.T, kind byte, meta, body []byte, plain, count uint32) {
		disk := faulty.New()
		if err := disk.MkdirAll("/b", 0o700); err != nil {
			t.Fatal(err)
		}
		cfg, deps := plainConfig(disk)
		b, err := Open(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Shut(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		s := &builtSegment{data: []byte(segmentMagic)}
		s.add(t, frameHeader{kind: snapshotFrame, first: true, commit: 2}, snapshotMeta{Run: deps.Run}, nil)
		h := frameHeader{kind: frameType(kind), first: true, commit: 3, plain: plain, count: count}
		s.data = withMeta(s.data, h, meta, body)
		if err := durable.WriteFile(disk, filepath.Join("/b", "segments", segmentName(2)), s.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err = Open(cfg, deps); err != nil {
			return
		}
		// What was recovered may not seal: a stream can have any name. Shut ends.
		_ = b.Shut(context.Background(), true)
	})
}

// withMeta appends a frame whose meta need not be JSON.
func withMeta(dst []byte, h frameHeader, meta, body []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, frameHeaderSize)...)
	dst = append(append(dst, meta...), body...)
	h.meta, h.body, h.sum = uint32(len(meta)), uint32(len(body)), crc32.Checksum(dst[at+frameHeaderSize:], castagnoli) //nolint:gosec // small
	h.put(dst[at:])
	return dst
}

func plainConfig(disk durable.FS) (Config, Deps) {
	digest := seal.DigestOf([]byte("x"))
	c := Config{
		Dir: "/b", MaxDisk: 1 << 30, BatchSize: 1 << 20, BatchAge: time.Hour, Heartbeat: time.Hour,
		Log:       seal.Log{Organization: "audit.example.com/acme", Agent: "gpu-07"},
		Retention: map[string]time.Duration{"standard": time.Hour}, Outputs: []string{"a"},
	}
	return c, Deps{
		FS: disk, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Identity: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)),
		Run:      seal.Run{Schema: "s", SchemaDigest: digest, Version: "test", Binary: digest, Config: digest},
		Boot:     func() (string, uint64) { return "boot", 1 },
		Coverage: func(dst []byte, c Coverage) []byte {
			return fmt.Appendf(dst, `{"items":%d,"agent":{"id":"gpu-07","seq":`, len(c.Items))
		},
	}
}

// TestRepairLeavesATornGroup checks that Repair does not bring back what a crash
// tore: frames behind the damage that build on frames which are not there.
func TestRepairLeavesATornGroup(t *testing.T) {
	disk := faulty.New()
	cfg, deps := plainConfig(disk)
	b, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Shut(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s := &builtSegment{data: []byte(segmentMagic)}
	s.add(t, frameHeader{kind: snapshotFrame, first: true, commit: 2}, snapshotMeta{Run: deps.Run}, nil)
	for commit := uint64(3); commit < 6; commit++ {
		s.add(t, frameHeader{kind: dataFrame, first: commit == 3, commit: commit}, entryMeta{Input: "in"}, nil)
	}
	name := filepath.Join(cfg.Dir, "segments", segmentName(2))
	if err := durable.WriteFile(disk, name, s.data, 0o600); err != nil {
		t.Fatal(err)
	}
	disk.Flip(name, (s.starts[2]+10)*8)
	before, err := durable.ReadFile(disk, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := NewTools(disk, cfg.Dir, cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	done, err := tools.Repair(false)
	if err != nil || len(done) > 0 {
		t.Fatalf("repair: %q, %v", done, err)
	}
	if after, err := durable.ReadFile(disk, name, 1<<20); err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the segment was changed: %v", err)
	}
	report, err := Inspect(disk, cfg.Dir)
	if err != nil || len(report.Damaged) > 0 || report.Frames != 3 {
		t.Fatalf("inspect: %+v, %v", report, err)
	}
}
