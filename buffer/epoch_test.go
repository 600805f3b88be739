package buffer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

// held is what an output took, by epoch.
type held struct {
	chains  map[int]*seal.Chain
	kinds   []string
	records map[string]int // record lines of data batches, with how often they came
}

func newHeld() *held { return &held{chains: make(map[int]*seal.Chain), records: make(map[string]int)} }

func (h *held) take(t *testing.T, batch seal.Batch) {
	t.Helper()
	m := batch.Manifest
	chain := h.chains[m.Origin.Epoch]
	if chain == nil {
		chain = seal.NewChain(m.Origin, identity().Public().(ed25519.PublicKey))
		h.chains[m.Origin.Epoch] = chain
	}
	if _, err := chain.Add(batch.ManifestFile); err != nil {
		t.Fatalf("epoch %d batch %d: %v", m.Origin.Epoch, m.Batch, err)
	}
	h.kinds = append(h.kinds, fmt.Sprintf("%d:%s", m.Origin.Epoch, m.Kind))
	for _, o := range batch.Objects {
		data, err := readObject(o)
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind == seal.PayloadObject {
			h.payload(t, m, data)
		}
	}
}

func (h *held) payload(t *testing.T, m *seal.Manifest, data []byte) {
	t.Helper()
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	plain, err := decoder.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tree seal.Tree
	for line := range strings.Lines(string(plain)) {
		tree.Add(seal.LeafHash([]byte(strings.TrimSuffix(line, "\n"))))
		h.records[line]++
	}
	if tree.Root() != m.Root || tree.Size() != m.RecordsTo-m.RecordsFrom {
		t.Fatalf("epoch %d batch %d: root or number of records differ", m.Origin.Epoch, m.Batch)
	}
}

// ship takes up to n batches to an output; all for a negative n.
func (h *held) ship(t *testing.T, b *buffer.Buffer, output string, n int) {
	t.Helper()
	for ; n != 0 && b.Pending(output) > 0; n-- {
		batch, err := b.Next(context.Background(), output)
		if err != nil {
			t.Fatal(err)
		}
		h.take(t, batch)
		if err := b.Acknowledge(output, batch); err != nil {
			t.Fatal(err)
		}
	}
}

func epochDeps(fsys durable.FS) buffer.Deps {
	d := deps(fsys)
	d.Alarm = func(f buffer.Fork) *buffer.Entry {
		return ownEntry(fmt.Sprintf("alarm %s of epoch %d", f.Cause, f.Left))
	}
	return d
}

func openEpochs(t *testing.T, fsys durable.FS) *buffer.Buffer {
	t.Helper()
	b, err := buffer.Open(config(folder), epochDeps(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forked makes a buffer of five data batches of which output a took the first two
// and b the first three, and ends its epoch.
func forked(t *testing.T, disk *faulty.FS) (b *buffer.Buffer, a, c *held) {
	t.Helper()
	b = openEpochs(t, disk)
	for i := range 5 {
		if err := b.Append(context.Background(), entry(i*10, 10)); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Append(context.Background(), entry(50, 10)); err != nil { // stays unsealed
		t.Fatal(err)
	}
	a, c = newHeld(), newHeld()
	a.ship(t, b, "a", 3)
	c.ship(t, b, "b", 4)
	at := b.Standing("a")
	if at.Size != 3 || at.Sealed != 6 || !at.Known || !at.Newest || at.Root != root(a.chains[1]) {
		t.Fatalf("output a stands at %+v", at)
	}
	if got, known := b.RootAt("a", 4); !known || got != root(c.chains[1]) {
		t.Fatalf("root at 4 is %s, %t", got, known)
	}
	fork := buffer.Fork{Cause: seal.SuccessionFork, Previous: 1, Size: at.Size, Root: at.Root, Found: "a"}
	if err := b.Supersede(fork); err != nil {
		t.Fatal(err)
	}
	if err := b.Shut(context.Background(), false); !errors.Is(err, buffer.ErrSuperseded) {
		t.Fatalf("shut: %v", err)
	}
	return b, a, c
}

func root(c *seal.Chain) seal.Hash {
	tree := c.Tree()
	return tree.Root()
}

// checkEpochs drains both outputs and checks what they hold in the end.
func checkEpochs(t *testing.T, disk *faulty.FS, b *buffer.Buffer, a, c *held) {
	t.Helper()
	if b.Epoch() != 2 {
		t.Fatalf("epoch %d", b.Epoch())
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Quarantine("a", 1); err != nil || n != 1 && len(a.chains) == 1 && a.chains[1].Next() == 3 {
		t.Fatalf("%d batches in quarantine: %v", n, err)
	}
	a.ship(t, b, "a", -1)
	c.ship(t, b, "b", -1)
	if want := "1:open 1:data 1:data 1:data 2:open 2:data 2:data 2:data 2:data 2:close"; strings.Join(c.kinds, " ") != want {
		t.Fatalf("b holds %s", c.kinds)
	}
	if want := "1:open 1:data 1:data 2:open 2:data 2:data 2:data 2:data 2:close"; strings.Join(a.kinds, " ") != want {
		t.Fatalf("a holds %s", a.kinds)
	}
	lines, alarms := 0, 0
	for record, n := range c.records {
		if strings.Contains(record, `"line":`) {
			lines++
		}
		if strings.Contains(record, "alarm fork of epoch 1") {
			alarms++
		}
		if n != 1 {
			t.Errorf("%d times: %s", n, record)
		}
	}
	if lines != 60 || alarms != 1 {
		t.Errorf("%d lines and %d alarms", lines, alarms)
	}
	files, err := disk.ReadDir(filepath.Join(folder, "spool"))
	if err != nil || len(files) > 0 {
		t.Errorf("the spool still holds %d files: %v", len(files), err)
	}
	files, err = disk.ReadDir(filepath.Join(folder, "quarantine"))
	if err != nil || len(files) != 3 {
		t.Errorf("quarantine holds %d files: %v", len(files), err)
	}
	files, err = disk.ReadDir(filepath.Join(folder, "ratchet"))
	if err != nil || len(files) != 1 {
		t.Errorf("%d ratchet keys: %v", len(files), err)
	}
}

func TestForkOpensAnEpoch(t *testing.T) {
	disk := faulty.New()
	b, a, c := forked(t, disk)
	b, err := b.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	at := b.Standing("b")
	if at.Origin.Epoch != 2 || at.Size != 0 || !at.Known {
		t.Fatalf("output b stands at %+v", at)
	}
	batch, err := b.Next(context.Background(), "b")
	if err != nil {
		t.Fatal(err)
	}
	tree := a.chains[1].Tree()
	if want := fmt.Sprintf("fork audit.example.com/acme/gpu-07/0001 3 %s", tree.Root()); batch.Manifest.Reason != want {
		t.Fatalf("reason %q, want %q", batch.Manifest.Reason, want)
	}
	checkEpochs(t, disk, b, a, c)
}

// TestForkOfTheFirstManifest leaves an epoch of which no output took anything:
// its number belongs to somebody else.
func TestForkOfTheFirstManifest(t *testing.T) {
	disk := faulty.New()
	b := openEpochs(t, disk)
	if err := b.Append(context.Background(), entry(0, 10)); err != nil {
		t.Fatal(err)
	}
	for epoch := range 3 {
		if err := b.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		fork := buffer.Fork{Cause: seal.SuccessionRollback, Previous: 1 + 2*epoch, Root: seal.EmptyRoot(), Found: "a"}
		if err := b.Supersede(fork); err != nil {
			t.Fatal(err)
		}
		_ = b.Shut(context.Background(), false)
		var err error
		if b, err = b.Reopen(); err != nil {
			t.Fatal(err)
		}
		if b.Epoch() != 2+2*epoch {
			t.Fatalf("epoch %d", b.Epoch())
		}
	}
	h := newHeld()
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	h.ship(t, b, "a", -1)
	if want := "6:open 6:data 6:data 6:data 6:data 6:close"; strings.Join(h.kinds, " ") != want {
		t.Fatalf("a holds %s", h.kinds)
	}
	for record, n := range h.records {
		if n != 1 {
			t.Errorf("%d times: %s", n, record)
		}
	}
}

// TestCrashWhileAnEpochOpens cuts the power behind every operation from the note
// that the epoch may not go on to the end of the recovery that opens the next one.
func TestCrashWhileAnEpochOpens(t *testing.T) {
	type moment struct {
		op    faulty.Operation
		image *faulty.Image
	}
	var moments []moment
	reference := faulty.New()
	b, a, c := forked(t, reference)
	reference.Observe(func(op faulty.Operation, image *faulty.Image) { moments = append(moments, moment{op, image}) })
	if _, err := b.Reopen(); err != nil {
		t.Fatal(err)
	}
	reference.Observe(nil)
	states := 0
	for i, m := range moments {
		for _, how := range []crash{kill, cutAll, cutSome, cutLate} {
			random := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // a test's dice
			disk := how.of(m.image, random)
			b, err := buffer.Open(config(folder), epochDeps(disk))
			if err != nil {
				t.Fatalf("%s behind operation %d on %s: %v", how, i, m.op.Name, err)
			}
			checkEpochs(t, disk, b, a.clone(), c.clone())
			states++
			if t.Failed() {
				t.Fatalf("%s behind operation %d on %s", how, i, m.op.Name)
			}
		}
	}
	t.Logf("%d states of %d operations", states, len(moments))
}

func (h *held) clone() *held {
	d := newHeld()
	for epoch, chain := range h.chains {
		d.chains[epoch] = chain.Clone()
	}
	d.kinds = slices.Clone(h.kinds)
	maps.Copy(d.records, h.records)
	return d
}

// TestRewind sets an output back that lost batches: as far as they are here.
func TestRewind(t *testing.T) {
	b := openEpochs(t, faulty.New())
	for i := range 3 {
		if err := errors.Join(b.Append(context.Background(), entry(i*10, 10)), b.Flush(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
	a, c := newHeld(), newHeld()
	a.ship(t, b, "a", -1)
	c.ship(t, b, "b", 2)
	if ok, err := b.Rewind("a", 1); ok || err != nil {
		t.Fatalf("went back to a batch that is gone: %v", err)
	}
	if ok, err := b.Rewind("a", 2); !ok || err != nil {
		t.Fatalf("did not go back: %v", err)
	}
	batch, err := b.Next(context.Background(), "a")
	if err != nil || batch.Manifest.Batch != 2 {
		t.Fatalf("batch %v: %v", batch.Manifest, err)
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
}
