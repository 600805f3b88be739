package seal_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	tlogproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// The libraries of transparency-dev, which witnesses and monitors are built from,
// read what is written here: trees, audit paths, checkpoints, cosignatures, proofs.

func TestTreeOfTransparencyDev(t *testing.T) {
	hasher := rfc6962.DefaultHasher
	factory := compact.RangeFactory{Hash: hasher.HashChildren}
	theirs := factory.NewEmptyRange(0)
	var ours seal.Tree
	for n := range 300 {
		leaf := fmt.Appendf(nil, "manifest %d", n)
		ours.Add(seal.LeafHash(leaf))
		if err := theirs.Append(hasher.HashLeaf(leaf), nil); err != nil {
			t.Fatal(err)
		}
		want, err := theirs.GetRootHash(nil)
		if root := ours.Root(); err != nil || !bytes.Equal(root[:], want) {
			t.Fatalf("root of %d leaves is %s, transparency-dev says %x, %v", n+1, root, want, err)
		}
	}
	if empty := seal.EmptyRoot(); !bytes.Equal(empty[:], hasher.EmptyRoot()) {
		t.Errorf("the empty root is %s", empty)
	}
}

func TestPathsOfTransparencyDev(t *testing.T) {
	hasher := rfc6962.DefaultHasher
	for size := uint64(1); size < 40; size++ {
		var tree seal.Tree
		for i := range size {
			tree.Add(seal.LeafHash(fmt.Append(nil, i)))
		}
		root := tree.Root()
		for index := range size {
			way := seal.NewProver(index, size)
			for i := range size {
				way.Add(seal.LeafHash(fmt.Append(nil, i)))
			}
			path, _ := way.Path()
			theirs := make([][]byte, len(path))
			for i := range path {
				theirs[i] = path[i][:]
			}
			if err := proof.VerifyInclusion(hasher, index, size, hasher.HashLeaf(fmt.Append(nil, index)), theirs, root[:]); err != nil {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
		}
	}
}

func TestNotesOfTransparencyDev(t *testing.T) {
	p, trusted, _ := prove(t)
	c, err := seal.VerifyCheckpoint(p.Checkpoint, trusted[0])
	if err != nil {
		t.Fatal(err)
	}
	origin := c.Origin.String()
	logVerifier, err := formats.NewVerifier(seal.VKey(origin, trusted[0]))
	if err != nil {
		t.Fatal(err)
	}
	// A witness of ours, and one made of their signer.
	key := sealtest.Key("witness")
	witness := seal.WitnessKey{Name: "witness.example.com", Public: public(key)}
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	ours, err := seal.Cosign(&c, witness.Name, key, at)
	if err != nil {
		t.Fatal(err)
	}
	witnessVerifier, err := formats.NewVerifierForCosignatureV1(witness.String())
	if err != nil {
		t.Fatal(err)
	}
	parsed, rest, opened, err := log.ParseCheckpoint(append(bytes.Clone(p.Checkpoint), ours...), origin, logVerifier, witnessVerifier)
	if err != nil || len(rest) > 0 || parsed.Size != c.Size || !bytes.Equal(parsed.Hash, c.Root[:]) || len(opened.Sigs) != 2 {
		t.Fatalf("%+v, %q, %v", parsed, rest, err)
	}
	if when, err := formats.CoSigV1Timestamp(opened.Sigs[1]); err != nil || !when.Equal(at) {
		t.Errorf("cosigned at %s, %v", when, err)
	}

	secret, vkey, err := note.GenerateKey(nil, "other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := formats.NewSignerForCosignatureV1(secret)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err = formats.VKeyToCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	theirKey, err := seal.ParseWitnessKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := seal.SplitNote(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.VerifyCosignature(cosigned[len(text)+1:], &c, theirKey); err != nil {
		t.Error(err)
	}

	// The file of a proof is theirs too.
	p.Cosignatures = [][]byte{ours}
	var read tlogproof.TLogProof
	if err := read.Unmarshal(p.Text()); err != nil {
		t.Fatal(err)
	}
	if read.Index != p.Batch || len(read.Hashes) != len(p.LogPath) || !bytes.Equal(read.Checkpoint, append(bytes.Clone(p.Checkpoint), ours...)) {
		t.Errorf("%+v", read)
	}
	if !bytes.Equal(read.Marshal(), p.Text()) {
		t.Error("transparency-dev writes the proof in another form")
	}
	hashes := make([][]byte, len(read.Hashes))
	for i := range read.Hashes {
		hashes[i] = read.Hashes[i][:]
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, read.Index, c.Size, rfc6962.DefaultHasher.HashLeaf(p.Manifest), hashes, c.Root[:]); err != nil {
		t.Error(err)
	}
}
