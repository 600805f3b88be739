package seal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/auditail/auditail/seal"
)

// definition is the Merkle tree hash as RFC 6962, section 2.1 defines it.
func definition(leaves [][]byte) seal.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := definition(leaves[:k]), definition(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestTreeIsThatOfRFC6962(t *testing.T) {
	var leaves [][]byte
	var tree seal.Tree
	var stored hashStorage
	for n := range int64(300) {
		if got, want := tree.Root(), definition(leaves); got != want {
			t.Fatalf("root of %d leaves is %s, want %s", n, got, want)
		}
		if n > 0 {
			want, err := tlog.TreeHash(n, &stored)
			if err != nil || tree.Root() != want {
				t.Fatalf("root of %d leaves is %s, tlog says %s, %v", n, tree.Root(), want, err)
			}
		}
		if tree.Size() != uint64(n) { //nolint:gosec // counts up from 0
			t.Fatalf("size is %d, want %d", tree.Size(), n)
		}
		leaf := []byte{byte(n), byte(n >> 8)}
		leaves = append(leaves, leaf)
		hashes, err := tlog.StoredHashes(n, leaf, &stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		tree.Add(seal.LeafHash(leaf))
	}
}

type hashStorage []tlog.Hash

func (s *hashStorage) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		hashes[i] = (*s)[at]
	}
	return hashes, nil
}

// The vectors of RFC 6962's reference implementation (certificate-transparency,
// merkletree tests): roots over its first 0, 1, 2, 3 and 8 leaves.
func TestTreeVectors(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := map[uint64]string{
		0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var tree seal.Tree
	for n := uint64(0); ; n++ {
		if want, ok := roots[n]; ok {
			root := tree.Root()
			if got := hex.EncodeToString(root[:]); got != want {
				t.Errorf("root of %d leaves is %s, want %s", n, got, want)
			}
		}
		if n == uint64(len(leaves)) {
			return
		}
		leaf, err := hex.DecodeString(leaves[n])
		if err != nil {
			t.Fatal(err)
		}
		tree.Add(seal.LeafHash(leaf))
	}
}

// A tree that was stored as size and frontier grows like the one that never was.
func TestTreeFrontier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree seal.Tree
		for n := range rapid.IntRange(0, 70).Draw(t, "leaves") {
			tree.Add(seal.LeafHash([]byte{byte(n)}))
		}
		again, err := seal.NewTree(tree.Size(), tree.Frontier())
		if err != nil {
			t.Fatal(err)
		}
		clone := tree.Clone()
		for n := range rapid.IntRange(0, 70).Draw(t, "more") {
			leaf := seal.LeafHash([]byte{1, byte(n)})
			tree.Add(leaf)
			again.Add(leaf)
		}
		if tree.Root() != again.Root() || tree.Size() != again.Size() {
			t.Fatalf("%d leaves have the root %s, after storing %s", tree.Size(), tree.Root(), again.Root())
		}
		if tree.Size() != clone.Size() && tree.Root() == clone.Root() {
			t.Fatal("a clone grows with its origin")
		}
		if _, err := seal.NewTree(tree.Size()+1, make([]seal.Hash, 65)); err == nil {
			t.Fatal("a frontier of 65 hashes fits a tree")
		}
	})
}

func TestTreeReset(t *testing.T) {
	var tree seal.Tree
	tree.Add(seal.LeafHash([]byte("a")))
	tree.Reset()
	if tree.Size() != 0 || tree.Root() != seal.EmptyRoot() {
		t.Errorf("after Reset: %d leaves, root %s", tree.Size(), tree.Root())
	}
}
