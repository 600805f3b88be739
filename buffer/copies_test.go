package buffer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// sealEach appends and seals n batches of one record, and acknowledges them for
// the output when it has a name.
func sealEach(t *testing.T, b *buffer.Buffer, from, n int, output string) {
	t.Helper()
	for i := from; i < from+n; i++ {
		if err := b.Append(t.Context(), entry(i, 1)); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if output != "" {
			acknowledgeAll(t, b, output)
		}
	}
}

func acknowledgeAll(t *testing.T, b *buffer.Buffer, output string) (numbers []uint64) {
	t.Helper()
	for b.Pending(output) > 0 {
		batch, err := b.Next(t.Context(), output)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Acknowledge(output, batch); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, batch.Manifest.Batch)
	}
	return numbers
}

func copyConfig(dir string, maxDisk int64) buffer.Config {
	cfg := config(dir)
	cfg.Outputs, cfg.Copies, cfg.MaxDisk = []string{"a"}, []string{"siem"}, maxDisk
	return cfg
}

// TestCopyIsOvertaken: a copy that is away gets what there is room for, skips the
// rest, and holds neither the evidence nor the disk.
func TestCopyIsOvertaken(t *testing.T) {
	dir := t.TempDir()
	cfg := copyConfig(dir, 512<<10)
	b, err := buffer.Open(cfg, deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	const batches = 45
	sealEach(t, b, 0, batches, "a")
	s := b.Status()
	siem := s.Outputs["siem"]
	if s.Batches != 0 {
		t.Errorf("%d batches wait for evidence outputs that have all", s.Batches)
	}
	if siem.Skipped == 0 || siem.Waiting == 0 || s.Used > cfg.MaxDisk/2 {
		t.Errorf("skipped %d, waiting %d, %d bytes used of %d", siem.Skipped, siem.Waiting, s.Used, cfg.MaxDisk)
	}
	if total := siem.Skipped + int64(siem.Waiting); total != int64(acknowledgedTotal(t, b)) {
		t.Errorf("%d skipped and waiting, want every batch once: %d", total, acknowledgedTotal(t, b))
	}
	if s.Outputs["a"].Skipped != 0 {
		t.Error("an evidence output skipped something")
	}
	// Back again, it goes on behind what it skipped.
	got := acknowledgeAll(t, b, "siem")
	if len(got) != siem.Waiting || int64(got[0]) != siem.Skipped {
		t.Errorf("got batches %d, want the %d behind %d", got, siem.Waiting, siem.Skipped)
	}
	if err := b.Shut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	acknowledgeAll(t, b, "a")
	acknowledgeAll(t, b, "siem")
	if _, err := b.Next(t.Context(), "siem"); !errors.Is(err, buffer.ErrClosed) {
		t.Errorf("next behind the end: %v", err)
	}
}

// acknowledgedTotal is the number of batches in front of output a's cursor.
func acknowledgedTotal(t *testing.T, b *buffer.Buffer) uint64 {
	t.Helper()
	return b.Standing("a").Size
}

// TestCopyHoldsNoSpace: what waits for a copy gives way to what waits for the
// evidence.
func TestCopyHoldsNoSpace(t *testing.T) {
	cfg := copyConfig(t.TempDir(), 256<<10)
	b, err := buffer.Open(cfg, deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	sealEach(t, b, 0, 5, "a")
	if n := b.Pending("siem"); n == 0 {
		t.Fatal("nothing is kept for the copy while there is room")
	}
	for i := 5; b.Status().Used < cfg.MaxDisk/2; i++ {
		sealEach(t, b, i, 1, "")
	}
	sealEach(t, b, 1000, 1, "")
	if copies, evidence := b.Pending("siem"), b.Pending("a"); copies != evidence {
		t.Errorf("%d batches lie there for the copy, %d for the evidence", copies, evidence)
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
}

// TestCopyStaysAfterRestart: what was kept for a copy is there after a restart,
// and an output that is required keeps everything.
func TestCopyStaysAfterRestart(t *testing.T) {
	cfg := copyConfig(t.TempDir(), 1<<30)
	b, err := buffer.Open(cfg, deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	sealEach(t, b, 0, 5, "a")
	before := b.Pending("siem")
	if err := b.Shut(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	b, err = buffer.Open(cfg, deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Pending("siem"); got < before || b.Pending("a") > got-before+1 {
		t.Errorf("%d batches for the copy after the restart, %d before", got, before)
	}
	batch, err := b.Next(t.Context(), "siem")
	if err != nil || batch.Manifest.Batch != 0 || batch.Manifest.Kind != seal.Open {
		t.Errorf("next: batch %d, %v", batch.Manifest.Batch, err)
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
}
