package seal_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// story builds an epoch of six batches; options go to the fourth, a data batch.
func story(t testing.TB, options ...sealtest.Option) *sealtest.Epoch {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(3), sealtest.WithLines(seal.Lines{Read: 5, Recorded: 3, Ignored: 1, Held: 1}))
	e.Heartbeat()
	options = append([]sealtest.Option{sealtest.WithLines(seal.Lines{Read: 4, Recorded: 3, Unparsed: 2})}, options...)
	e.Data(sealtest.Chat(), append(e.Records(3), e.Unparsed(2)), options...)
	e.Data(sealtest.Chat(), e.Records(1))
	e.Close()
	return e
}

func TestChain(t *testing.T) {
	e := story(t)
	c := seal.NewChain(e.Origin, e.PublicKey())
	var tree seal.Tree
	for n, b := range e.Batches {
		if c.Next() != uint64(n) { //nolint:gosec // counts up from 0
			t.Errorf("chain expects batch %d, want %d", c.Next(), n)
		}
		m, err := c.Add(b.ManifestFile)
		if err != nil || c.Last() != m {
			t.Errorf("batch %d: %v", n, err)
		}
		tree.Add(seal.LeafHash(b.ManifestFile))
		if got := c.Tree(); got.Root() != tree.Root() || !c.Whole() {
			t.Errorf("root behind batch %d is %s, want %s", n, got.Root(), tree.Root())
		}
	}
}

// Lines that were held when an epoch was left are recorded in the next one.
func TestLinesHeldAcrossEpochs(t *testing.T) {
	for _, test := range []struct {
		epoch    int
		recorded uint64
		want     error
	}{{1, 5, seal.ErrLines}, {2, 5, nil}, {2, 4, nil}, {2, 3, seal.ErrLines}} {
		e := sealtest.New(t, sealtest.Config{Epoch: test.epoch})
		e.Open()
		e.Data(sealtest.Chat(), e.Records(1), sealtest.WithLines(seal.Lines{Read: 4, Recorded: test.recorded}))
		e.Data(sealtest.Chat(), e.Records(1), sealtest.WithLines(seal.Lines{Read: 4, Recorded: 5}))
		c := seal.NewChain(e.Origin, e.PublicKey())
		for n, want := range []error{nil, test.want, seal.ErrLines} {
			if _, err := c.Add(e.Batches[n].ManifestFile); !errors.Is(err, want) {
				t.Errorf("epoch %d, %d recorded: batch %d gives %v, want %v", test.epoch, test.recorded, n, err, want)
			}
		}
	}
}

func TestChainFinds(t *testing.T) {
	manifest := func(change func(*seal.Manifest)) []sealtest.Option {
		return []sealtest.Option{sealtest.WithManifest(change)}
	}
	tests := map[string]struct {
		options []sealtest.Option
		want    error
	}{
		"number":   {manifest(func(m *seal.Manifest) { m.Batch = 7; m.PayloadPath = m.Origin.PayloadPath(m.Stream, m.Opened, 7) }), seal.ErrOrder},
		"previous": {manifest(func(m *seal.Manifest) { m.Previous[0]++ }), seal.ErrChain},
		"records":  {manifest(func(m *seal.Manifest) { m.RecordsFrom++; m.RecordsTo++ }), seal.ErrRecords},
		"lines":    {[]sealtest.Option{sealtest.WithLines(seal.Lines{Read: 4, Recorded: 4, Unparsed: 2})}, seal.ErrLines},
		"time":     {manifest(func(m *seal.Manifest) { m.Sealed = m.Sealed.Add(-time.Minute) }), seal.ErrTime},
		"identity": {[]sealtest.Option{sealtest.SignedBy(sealtest.Key("x"))}, seal.ErrSignature},
		"ratchet":  {[]sealtest.Option{sealtest.RatchetedBy(sealtest.Key("x"))}, seal.ErrRatchet},
	}
	all := []error{seal.ErrOrder, seal.ErrChain, seal.ErrRecords, seal.ErrLines, seal.ErrTime, seal.ErrSignature, seal.ErrRatchet}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := story(t, test.options...)
			c := seal.NewChain(e.Origin, e.PublicKey())
			for n, b := range e.Batches {
				_, err := c.Add(b.ManifestFile)
				for _, kind := range all {
					if want := n == 3 && errors.Is(kind, test.want); errors.Is(err, kind) != want {
						t.Errorf("batch %d: errors.Is(…, %q) is %t: %v", n, kind, !want, err)
					}
				}
			}
		})
	}
}

// What does not parse, or belongs to another log, leaves the chain as it was.
func TestChainRefuses(t *testing.T) {
	e := story(t)
	other := sealtest.New(t, sealtest.Config{Agent: "gpu-08", Identity: e.Identity})
	c := seal.NewChain(e.Origin, e.PublicKey())
	for n, add := range []func([]byte) (*seal.Manifest, error){c.Add, c.Resume} {
		for _, file := range [][]byte{nil, []byte("x"), other.Open().ManifestFile} {
			if m, err := add(file); m != nil || err == nil || c.Next() != 0 || !c.Whole() {
				t.Errorf("%d: %v, %v", n, m, err)
			}
		}
		other = sealtest.New(t, sealtest.Config{Epoch: 2})
	}
	for n, b := range e.Batches {
		if _, err := c.Add(b.ManifestFile); err != nil {
			t.Errorf("batch %d: %v", n, err)
		}
	}
}

// Behind a hole the chain goes on, and says that it is not whole.
func TestChainResume(t *testing.T) {
	e := story(t)
	c := seal.NewChain(e.Origin, e.PublicKey())
	for _, n := range []int{0, 1} {
		if _, err := c.Add(e.Batches[n].ManifestFile); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Resume(e.Batches[3].ManifestFile); err != nil || c.Whole() {
		t.Errorf("whole %t, %v", c.Whole(), err)
	}
	for _, n := range []int{4, 5} {
		if _, err := c.Add(e.Batches[n].ManifestFile); err != nil {
			t.Errorf("batch %d: %v", n, err)
		}
	}
	forged := story(t, sealtest.SignedBy(sealtest.Key("x")))
	if _, err := seal.NewChain(e.Origin, e.PublicKey()).Resume(forged.Batches[3].ManifestFile); !errors.Is(err, seal.ErrSignature) {
		t.Errorf("error is %v, want %v", err, seal.ErrSignature)
	}
	at := seal.NewChainAt(e.Origin, e.PublicKey(), e.Batches[2].Manifest, e.Batches[2].ManifestFile)
	if _, err := at.Add(e.Batches[3].ManifestFile); err != nil && !errors.Is(err, seal.ErrLines) || at.Whole() {
		t.Errorf("behind an anchor: whole %t, %v", at.Whole(), err)
	}
}

func TestChainCloneIsItsOwn(t *testing.T) {
	e := story(t)
	c := seal.NewChain(e.Origin, e.PublicKey())
	for _, b := range e.Batches[:3] {
		if _, err := c.Add(b.ManifestFile); err != nil {
			t.Fatal(err)
		}
	}
	d := c.Clone()
	for _, chain := range []*seal.Chain{d, c} {
		for _, b := range e.Batches[3:] {
			if _, err := chain.Add(b.ManifestFile); err != nil {
				t.Errorf("batch %d: %v", b.Manifest.Batch, err)
			}
		}
	}
}

// A receiver checks each manifest as it comes.
func ExampleChain() {
	var t testingT // in a test: the test's own
	epoch := sealtest.New(t, sealtest.Config{})
	epoch.Open()
	epoch.Data(sealtest.Chat(), epoch.Records(3))
	epoch.Close()

	chain := seal.NewChain(epoch.Origin, epoch.PublicKey())
	for _, batch := range epoch.Batches {
		m, err := chain.Add(batch.ManifestFile)
		fmt.Println(m.Batch, m.Kind, m.RecordsTo-m.RecordsFrom, "records", err)
	}
	tree := chain.Tree()
	fmt.Println(tree.Size(), "manifests")
	// Output:
	// 0 open 0 records <nil>
	// 1 data 4 records <nil>
	// 2 close 0 records <nil>
	// 3 manifests
}

// testingT lets an example use a builder for tests.
type testingT struct{ testing.TB }

func (testingT) Helper() {}
