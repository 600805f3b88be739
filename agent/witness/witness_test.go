package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/agent/witness"
	"github.com/auditail/auditail/seal"
)

func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

var (
	origin = seal.Origin{Log: seal.Log{Organization: "example.com", Agent: "gpu-07"}, Epoch: 1}
	public = seal.WitnessKey{Name: "example.com/witness", Public: key(2).Public().(ed25519.PublicKey)}
)

// history is a log of manifests with all its hashes.
type history struct {
	tree   seal.Tree
	hashes []seal.Hash
	salt   string
}

func (h *history) ReadHashes(indexes []int64) ([]seal.Hash, error) {
	list := make([]seal.Hash, len(indexes))
	for i, at := range indexes {
		list[i] = h.hashes[at]
	}
	return list, nil
}

func (h *history) grow(t *testing.T, to uint64) *seal.Checkpoint {
	t.Helper()
	for h.tree.Size() < to {
		leaf := fmt.Appendf(nil, "%s manifest %d", h.salt, h.tree.Size())
		hashes, err := tlog.StoredHashes(int64(h.tree.Size()), leaf, h) //nolint:gosec // small
		if err != nil {
			t.Fatal(err)
		}
		h.hashes = append(h.hashes, hashes...)
		h.tree.Add(seal.LeafHash(leaf))
	}
	c, err := seal.SignCheckpoint(origin, &h.tree, key(1))
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func (h *history) prove(from, to uint64) ([]seal.Hash, error) {
	return tlog.ProveTree(int64(to), int64(from), h) //nolint:gosec // small
}

// conformant is a witness after the letter of C2SP tlog-witness.
type conformant struct {
	last     seal.Head
	requests int
	answer   http.HandlerFunc // instead, when not nil
	extra    string           // lines in front of its own
}

func (w *conformant) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.requests++
	if w.answer != nil {
		w.answer(rw, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	request, err := seal.ParseAddCheckpoint(body)
	if err != nil || r.URL.Path != "/prefix/add-checkpoint" || r.Method != http.MethodPost {
		http.Error(rw, "bad request", http.StatusBadRequest)
		return
	}
	c, err := seal.OpenCheckpoint(request.Note, key(1).Public().(ed25519.PublicKey))
	switch {
	case err != nil:
		http.Error(rw, "forbidden", http.StatusForbidden)
		return
	case request.Old > c.Size:
		http.Error(rw, "old is larger", http.StatusBadRequest)
		return
	case request.Old != w.last.Size:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.last.Size)
		return
	}
	if err := request.CheckExtends(w.last, &c); err != nil {
		status := http.StatusUnprocessableEntity
		if request.Old == c.Size {
			status = http.StatusConflict
		}
		http.Error(rw, err.Error(), status)
		return
	}
	w.last = seal.Head{Size: c.Size, Root: c.Root}
	line, err := seal.Cosign(&c, public.Name, key(2), time.Unix(1_800_000_000, 0))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(rw, "%s%s", w.extra, line)
}

func start(t *testing.T, w *conformant) func() *witness.Client {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return func() *witness.Client {
		c, err := witness.New(witness.Config{URL: server.URL + "/prefix", Key: public}, witness.Deps{Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// A log that grows is cosigned at every size, by a client that knows the witness
// and by one that has just started.
func TestGrowingLog(t *testing.T) {
	w, h := &conformant{extra: "— example.com/other AAAAAAAAAAAAAAAA\n"}, new(history)
	fresh := start(t, w)
	client := fresh()
	for size := uint64(1); size < 40; size += 1 + size%5 {
		if size%3 == 0 {
			client = fresh()
		}
		head := h.grow(t, size)
		c, err := client.AddCheckpoint(context.Background(), head, h.prove)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.VerifyCosignature(c.Line, head, public); err != nil || c.Path() != origin.CosignaturePath(size, public) {
			t.Fatalf("%s: %v", c.Path(), err)
		}
		if c, err = client.AddCheckpoint(context.Background(), head, h.prove); err != nil || c.Size != size {
			t.Fatalf("the same head again: %v", err)
		}
	}
}

func TestWhatAWitnessSays(t *testing.T) {
	other := &history{salt: "other"}
	for name, test := range map[string]struct {
		last   seal.Head
		size   uint64
		answer http.HandlerFunc
		want   error // nil: an error that is neither
	}{
		"ahead":             {last: seal.Head{Size: 9, Root: other.grow(t, 9).Root}, size: 7, want: witness.ErrAhead},
		"same size, forked": {last: seal.Head{Size: 9, Root: other.grow(t, 9).Root}, size: 9, want: witness.ErrFork},
		"forked":            {last: seal.Head{Size: 9, Root: other.grow(t, 9).Root}, size: 12, want: witness.ErrFork},
		"wrong signature": {size: 3, answer: func(rw http.ResponseWriter, _ *http.Request) {
			c := other.grow(t, 9)
			line, _ := seal.Cosign(c, public.Name, key(2), time.Unix(1_800_000_000, 0))
			_, _ = rw.Write(line)
		}},
		"unknown log": {size: 3, answer: http.NotFound},
		"a web page":  {size: 3, answer: func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "<html>") }},
		"endless":     {size: 3, answer: func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(bytes.Repeat([]byte("x"), 1<<20)) }},
		"redirect":    {size: 3, answer: func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusFound) }},
		"never decides": {size: 3, answer: func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			rw.Header().Set("Content-Type", "text/x.tlog.size")
			rw.WriteHeader(http.StatusConflict)
			size := "2\n"
			if bytes.HasPrefix(body, []byte("old 2")) {
				size = "1\n"
			}
			fmt.Fprint(rw, size)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, h := &conformant{last: test.last, answer: test.answer}, new(history)
			_, err := start(t, w)().AddCheckpoint(context.Background(), h.grow(t, test.size), h.prove)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if test.want == nil && (errors.Is(err, witness.ErrAhead) || errors.Is(err, witness.ErrFork)) {
				t.Fatalf("taken for another log: %v", err)
			}
			if w.requests > 3 {
				t.Errorf("%d requests", w.requests)
			}
		})
	}
}

func TestWitnessIsAway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := witness.New(witness.Config{URL: server.URL, Key: public}, witness.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddCheckpoint(context.Background(), new(history).grow(t, 1), nil); err == nil {
		t.Fatal("cosigned by nobody")
	}
	if _, err := witness.New(witness.Config{URL: "ftp://x", Key: public}, witness.Deps{}); err == nil {
		t.Error("ftp is taken")
	}
}
