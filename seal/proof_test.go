package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestProver: the path of every leaf of every small tree, against package tlog.
func TestProver(t *testing.T) {
	for size := uint64(1); size < 70; size++ {
		var tree seal.Tree
		for i := range size {
			tree.Add(seal.LeafHash(fmt.Append(nil, i)))
		}
		for index := range size {
			p := seal.NewProver(index, size)
			for i := range size {
				if _, complete := p.Path(); complete {
					t.Fatalf("complete with %d of %d leaves", i, size)
				}
				p.Add(seal.LeafHash(fmt.Append(nil, i)))
			}
			path, complete := p.Path()
			if err := tlog.CheckRecord(path, int64(size), tree.Root(), int64(index), seal.LeafHash(fmt.Append(nil, index))); err != nil || !complete {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
		}
	}
}

// prove returns the proof of a record of a log with a few batches, and the
// records around it.
func prove(t testing.TB) (p *seal.Proof, trusted []ed25519.PublicKey, others [][]byte) {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(3))
	records := e.Records(5)
	e.Data(sealtest.Chat(), records)
	e.Heartbeat()
	e.Close()
	c := e.Checkpoint()
	const index, batch = 2, 2
	m := e.Batches[batch].Manifest
	p = &seal.Proof{
		Record: records[index], Index: index, Leaves: m.RecordsTo - m.RecordsFrom,
		Manifest: e.Batches[batch].ManifestFile, Batch: batch, Checkpoint: c.File,
	}
	inner, outer := seal.NewProver(index, p.Leaves), seal.NewProver(batch, c.Size)
	for record := range bytes.SplitSeq(bytes.TrimSuffix(sealtest.Plain(t, e.Files[m.PayloadPath]), []byte("\n")), []byte("\n")) {
		inner.Add(seal.LeafHash(record))
	}
	for _, b := range e.Batches {
		outer.Add(seal.LeafHash(b.ManifestFile))
	}
	p.Path, _ = inner.Path()
	p.LogPath, _ = outer.Path()
	others = append(append(others, records[:index]...), records[index+1:]...)
	return p, []ed25519.PublicKey{e.PublicKey()}, others
}

// TestProof: a proof verifies after its file was read back, says nothing of the
// records around, and no byte of it can be changed.
func TestProof(t *testing.T) {
	p, trusted, others := prove(t)
	witness := seal.WitnessKey{Name: "witness.example.com", Public: sealtest.Key("w").Public().(ed25519.PublicKey)}
	c, err := seal.VerifyCheckpoint(p.Checkpoint, trusted[0])
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 21, 9, 6, 34, 0, time.UTC)
	line, err := seal.Cosign(&c, witness.Name, sealtest.Key("w"), at)
	if err != nil {
		t.Fatal(err)
	}
	p.Cosignatures = [][]byte{line}
	file := p.Text()
	read, err := seal.ParseProof(file)
	if err != nil {
		t.Fatal(err)
	}
	proven, err := read.Verify(trusted, []seal.WitnessKey{witness})
	if err != nil {
		t.Fatal(err)
	}
	if proven.Manifest.Batch != 2 || proven.Checkpoint.Size != 5 || !proven.Cosigned[witness.String()].Equal(at) {
		t.Errorf("%+v", proven)
	}
	for _, record := range others {
		id := record[bytes.Index(record, []byte(`"id":"`)):][:32]
		if bytes.Contains(read.Text(), id) || strings.Contains(string(read.Record), string(id)) {
			t.Errorf("the proof tells of record %s", id)
		}
	}
	if _, err := read.Verify([]ed25519.PublicKey{witness.Public}, nil); !errors.Is(err, seal.ErrProof) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := read.Verify(nil, nil); !errors.Is(err, seal.ErrProof) {
		t.Errorf("without a key: %v", err)
	}
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		again, err := seal.ParseProof(changed)
		if err != nil {
			continue
		}
		proven, err := again.Verify(trusted, []seal.WitnessKey{witness})
		if err == nil && len(proven.Cosigned) == 1 {
			t.Errorf("byte %d (%q) changed: still verifies", i, file[max(0, i-10):i+1])
		}
	}
	for i := range file {
		if again, err := seal.ParseProof(file[:i]); err == nil {
			if proven, err := again.Verify(trusted, []seal.WitnessKey{witness}); err == nil && len(proven.Cosigned) == 1 {
				t.Errorf("cut behind %d bytes: still verifies", i)
			}
		}
	}
}

func FuzzProof(f *testing.F) {
	p, trusted, _ := prove(f)
	f.Add(p.Text())
	f.Fuzz(func(t *testing.T, file []byte) {
		again, err := seal.ParseProof(file)
		if err != nil {
			return
		}
		if !bytes.Equal(again.Text(), file) {
			t.Error("accepted another form")
		}
		if _, err := again.Verify(trusted, nil); err == nil && !bytes.Equal(again.Record, p.Record) {
			t.Errorf("proves the record %s", again.Record)
		}
	})
}
