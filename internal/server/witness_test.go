package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// hashes are the stored hashes of a log, from which tlog makes proofs.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = h[index]
	}
	return out, nil
}

// proof returns the consistency proof of an epoch's manifests from old to size.
func proof(t *testing.T, e *sealtest.Epoch, old, size uint64) []seal.Hash {
	t.Helper()
	if old == 0 || old == size {
		return nil
	}
	var h hashes
	for i, b := range e.Batches[:size] {
		more, err := tlog.StoredHashes(int64(i), b.ManifestFile, h)
		if err != nil {
			t.Fatal(err)
		}
		h = append(h, more...)
	}
	p, err := tlog.ProveTree(int64(size), int64(old), h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fixture) witness(body []byte) answer {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://central"+witnessPath, strings.NewReader(string(body)))
	return f.serve(r)
}

func addCheckpoint(t *testing.T, e *sealtest.Epoch, old uint64, c seal.Checkpoint) []byte {
	t.Helper()
	a := seal.AddCheckpoint{Old: old, Proof: proof(t, e, old, c.Size), Note: c.File}
	return a.Text()
}

// cosigned wants a checkpoint to be cosigned, and verifies that as stock tools do.
func (f *fixture) cosigned(e *sealtest.Epoch, old uint64, c seal.Checkpoint) {
	f.t.Helper()
	got := f.witness(addCheckpoint(f.t, e, old, c))
	if got.status != http.StatusOK {
		f.t.Fatalf("checkpoint %d: status %d: %s", c.Size, got.status, got.body)
	}
	n, err := note.Open(append(append([]byte(nil), c.File...), got.body...), note.VerifierList(f.server.witness.Verifier()))
	if err != nil || len(n.Sigs) != 1 {
		f.t.Fatalf("cosigned checkpoint: %v, %+v", err, n)
	}
}

// refused wants add-checkpoint to be refused with a status, and the size of the
// last head beside 409.
func (f *fixture) refused(status int, body []byte, want string) {
	f.t.Helper()
	got := f.witness(body)
	if got.status != status || !strings.Contains(string(got.body), want) {
		f.t.Fatalf("status %d, want %d with %q: %s", got.status, status, want, got.body)
	}
	if kind := got.header.Get("Content-Type"); status == http.StatusConflict && (kind != sizeType || string(got.body) != want) {
		f.t.Fatalf("Content-Type %q, body %q", kind, got.body)
	}
}

func TestWitness(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	one := e.Checkpoint()
	f.refused(http.StatusConflict, addCheckpoint(t, e, 1, one), "0\n")
	f.cosigned(e, 0, one)
	f.cosigned(e, 1, one) // the answer was lost
	f.refused(http.StatusConflict, addCheckpoint(t, e, 0, one), "1\n")
	for range 6 {
		f.ship(e.Heartbeat())
	}
	seven := e.Checkpoint()
	f.cosigned(e, 1, seven)
	f.start()
	f.refused(http.StatusConflict, addCheckpoint(t, e, 1, seven), "7\n")
	f.refused(http.StatusConflict, addCheckpoint(t, e, 1, one), "7\n")
	f.cosigned(e, 7, seven)

	// What is cosigned lies in the archive, its checkpoint with it.
	for _, c := range []seal.Checkpoint{one, seven} {
		line, _, err := f.server.store.read(t.Context(), c.Origin.CosignaturePath(c.Size, f.server.witness.WitnessKey))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.VerifyCosignature(line, &c, f.server.witness.WitnessKey); err != nil {
			t.Error(err)
		}
		if have, _, err := f.server.store.read(t.Context(), c.Path()); err != nil || string(have) != string(c.File) {
			t.Errorf("checkpoint %d: %q, %v", c.Size, have, err)
		}
	}

	// A head that the manifests have not reached yet is cosigned, too.
	e.Heartbeat()
	eight := e.Checkpoint()
	f.cosigned(e, 7, eight)

	bad := proof(t, e, 7, 8)
	bad[0][0] ^= 1
	e.Heartbeat()
	nine := e.Checkpoint()
	f.refused(http.StatusUnprocessableEntity, (&seal.AddCheckpoint{Old: 8, Proof: bad, Note: nine.File}).Text(), "does not extend")
	f.refused(http.StatusUnprocessableEntity, (&seal.AddCheckpoint{Old: 8, Note: nine.File}).Text(), "does not extend")
	f.refused(http.StatusBadRequest, (&seal.AddCheckpoint{Old: 10, Note: nine.File}).Text(), "above")
	f.refused(http.StatusBadRequest, []byte("old 08\n\n"+string(nine.File)), "leading zeroes")
	f.refused(http.StatusBadRequest, []byte("old 8\n"), "ends in the middle")
	f.refused(http.StatusBadRequest, (&seal.AddCheckpoint{Old: 8, Proof: make([]seal.Hash, 64), Note: nine.File}).Text(), "63")

	// A stranger's log, another organization's, and a key that is not the log's.
	stranger := sealtest.New(t, sealtest.Config{Agent: "gpu-99"})
	stranger.Open()
	f.refused(http.StatusNotFound, addCheckpoint(t, stranger, 0, stranger.Checkpoint()), "does not know")
	other := sealtest.New(t, sealtest.Config{Organization: "audit.example.com/other"})
	other.Open()
	f.refused(http.StatusNotFound, addCheckpoint(t, other, 0, other.Checkpoint()), "does not know")
	thief := sealtest.New(t, sealtest.Config{Identity: sealtest.Key("thief")})
	thief.Open()
	f.refused(http.StatusForbidden, addCheckpoint(t, thief, 0, thief.Checkpoint()), "signature")

	// Signatures of others in the request are ignored.
	note := append([]byte(nil), nine.File...)
	note = append(note, "— witness.example.com/w1 "+strings.Repeat("AAAA", 25)+"\n"...)
	got := f.witness((&seal.AddCheckpoint{Old: 8, Proof: proof(t, e, 8, 9), Note: note}).Text())
	if got.status != http.StatusOK {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

// TestWitnessSeesFork: a second history under one key is neither cosigned, nor
// when it contradicts only what is stored.
func TestWitnessSeesFork(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open(), e.Heartbeat())
	f.cosigned(e, 0, e.Checkpoint())

	twin := sealtest.New(t, sealtest.Config{})
	twin.Open()
	twin.Close()
	f.refused(http.StatusConflict, addCheckpoint(t, twin, 2, twin.Checkpoint()), "2\n")
	twin.Heartbeat()
	f.refused(http.StatusUnprocessableEntity, addCheckpoint(t, twin, 2, twin.Checkpoint()), "does not extend")

	g := newFixture(t)
	g.ship(g.epoch.Open(), g.epoch.Heartbeat(), g.epoch.Heartbeat())
	g.refused(http.StatusUnprocessableEntity, addCheckpoint(t, twin, 0, twin.Checkpoint()), "forked")
	for name, f := range map[string]*fixture{"cosigned": f, "stored": g} {
		if n, err := f.server.countForks(t.Context(), "gpu-07"); err != nil || n != 1 {
			t.Errorf("%s: %d forks kept, %v", name, n, err)
		}
	}
}

// TestWitnessAtOnce: of two histories that both extend the last head only one is
// cosigned, by however many servers over one state.
func TestWitnessAtOnce(t *testing.T) {
	for range 20 {
		f := newFixture(t)
		second := *f
		second.start()
		e := f.epoch
		e.Open()
		f.cosigned(e, 0, e.Checkpoint())
		twin := sealtest.New(t, sealtest.Config{})
		twin.Open()
		e.Heartbeat()
		twin.Close()
		bodies := [][]byte{addCheckpoint(t, e, 1, e.Checkpoint()), addCheckpoint(t, twin, 1, twin.Checkpoint())}
		var wg sync.WaitGroup
		statuses := make([]int, 8)
		for i := range statuses {
			g := []*fixture{f, &second}[i/2%2]
			wg.Go(func() { statuses[i] = g.witness(bodies[i%2]).status })
		}
		wg.Wait()
		good := map[int]bool{}
		for i, status := range statuses {
			if status == http.StatusOK {
				good[i%2] = true
			}
		}
		if len(good) != 1 {
			t.Fatalf("%d histories were cosigned: %v", len(good), statuses)
		}
	}
}

// TestWitnessNeverForgets cuts the power behind each change of the disk while a
// head is cosigned: once the cosignature was answered, no other history is.
func TestWitnessNeverForgets(t *testing.T) {
	f, disk, _ := newFixtureInMemory(t)
	e := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	f.enrol(e)
	e.Open()
	e.Heartbeat()
	twin := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	twin.Open()
	twin.Close()
	body := addCheckpoint(t, e, 0, e.Checkpoint())
	var images []*faulty.Image
	disk.Observe(func(_ faulty.Operation, image *faulty.Image) { images = append(images, image) })
	if got := f.witness(body); got.status != http.StatusOK {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	disk.Observe(nil)
	if len(images) < 4 {
		t.Fatalf("%d changes", len(images))
	}
	for i, image := range append(images, disk.Image()) {
		for name, loss := range losses() {
			f.deps.FS = image.PowerCut(rand.New(rand.NewPCG(5, uint64(i))), loss)
			f.start()
			got := f.witness(addCheckpoint(t, twin, 0, twin.Checkpoint()))
			if answered := i == len(images); answered && got.status != http.StatusConflict {
				t.Fatalf("%s: another history got status %d", name, got.status)
			}
			if got.status == http.StatusOK {
				if again := f.witness(body); again.status != http.StatusConflict {
					t.Fatalf("%s: change %d: both histories were cosigned", name, i)
				}
			}
		}
	}
}

// TestRotatedKey: the enrolled key moves with a rotate manifest; the old one is
// good for what came before and for nothing behind it, also in the next epoch.
func TestRotatedKey(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	old := e.Identity
	f.ship(e.Open(), e.Heartbeat())
	before := e.Checkpoint()
	f.want(http.StatusCreated, f.checkpoint(before))
	f.ship(e.Rotate(sealtest.Key("next identity")))
	after := e.Checkpoint()
	f.ship(e.Data(sealtest.Chat(), e.Records(2)))
	f.want(http.StatusCreated, f.checkpoint(after))
	f.cosigned(e, 0, before)
	f.cosigned(e, 2, after)
	f.start()
	f.want(http.StatusOK, f.checkpoint(before))
	f.want(http.StatusOK, f.checkpoint(after))
	for _, b := range e.Batches {
		for _, r := range f.uploads(b) {
			f.want(http.StatusOK, r)
		}
	}
	f.want(http.StatusUnprocessableEntity, f.object(e.Heartbeat(sealtest.SignedBy(old)), seal.ManifestObject), "signature")

	// The next epoch opens with the new key, and only with that.
	g := newFixture(t)
	e = g.epoch
	g.ship(e.Open(), e.Rotate(sealtest.Key("next identity")), e.Close())
	size, root := e.Head()
	reason := seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: size, Root: root}.String()
	wrong := sealtest.New(t, sealtest.Config{Epoch: 2, Identity: old, Reason: reason})
	g.want(http.StatusUnprocessableEntity, g.object(wrong.Open(), seal.IdentityObject), "rotate")
	next := e.NextEpoch(reason)
	g.ship(next.Open(), next.Heartbeat())
	g.cosigned(next, 0, next.Checkpoint())
}
