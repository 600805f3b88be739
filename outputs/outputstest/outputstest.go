// Package outputstest is the conformance suite of outputs: what every kind must
// do with the batches of an epoch, whatever fails in between. A kind runs it
// before its own tests.
package outputstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// Fault is what goes wrong with an object that is being stored.
type Fault int

// The faults.
const (
	Lost       Fault = iota // the destination reports a failure and has stored nothing
	Unreported              // the destination has stored the object and reports a failure
)

// Destination is the place that an output ships to, seen from behind.
type Destination interface {
	// Start returns an output that ships here, as after a start of the agent.
	// What was stored before stays.
	Start(t *testing.T) outputs.Output
	// Files returns all that is stored, by path relative to the archive's root.
	Files(t *testing.T) map[string][]byte
	// Order returns the archive paths in the order in which they were stored.
	Order() []string
	// Plant stores a file behind the output's back, also over another.
	Plant(t *testing.T, path string, content []byte)
	// Break makes the next object fail once.
	Break(f Fault)
	// Away makes every attempt fail until it is called with false.
	Away(away bool)
}

// Run runs the suite. Every test has its own destination and runs in a
// testing/synctest bubble: waits take no time, so the destination must be of
// this process (no sockets).
func Run(t *testing.T, newDestination func(t *testing.T) Destination) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Destination){
		"ships an epoch in order":                       shipsInOrder,
		"repeating is harmless":                         repeats,
		"ships what a killed run left":                  continuesAfterKill,
		"survives a fault at every object":              survivesFaults,
		"other bytes under a name are a fork":           findsForks,
		"never delivers damaged objects":                refusesDamage,
		"never leaves the archive":                      staysInside,
		"ships seals without a payload in quarantine":   shipsSealsAlone,
		"returns when its context has ended":            returnsWhenCancelled,
		"waits for a destination that is away":          waitsForDestination,
		"publishes checkpoints, also at the same time":  publishes,
		"knows a checkpoint that another key signed":    publishesAfterRotation,
		"other tree heads under a checkpoint are forks": findsForkedCheckpoints,
		"tells the head of a log":                       tellsHead,
		"tells no head that it does not know":           tellsNoWrongHead,
		"probes without leaving anything":               probes,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newDestination(t)) })
		})
	}
}

// sample is an epoch with batches of all common kinds.
func sample(t *testing.T) *sealtest.Epoch {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(500))
	e.Heartbeat()
	e.Data(seal.Stream{Environment: "prod", Service: "embed", Class: "legal"}, e.Records(3))
	e.Close()
	return e
}

func start(t *testing.T, d Destination) outputs.Output {
	t.Helper()
	o := d.Start(t)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return o
}

// ship ships all batches and returns how many objects were new.
func ship(t *testing.T, o outputs.Output, batches []seal.Batch) (stored int) {
	t.Helper()
	for _, b := range batches {
		receipt, err := o.Ship(t.Context(), b)
		if err != nil {
			t.Fatalf("ship batch %d: %v", b.Manifest.Batch, err)
		}
		if receipt.Origin != b.Manifest.Origin || receipt.Batch != b.Manifest.Batch {
			t.Errorf("ship batch %d: receipt for batch %d of %s", b.Manifest.Batch, receipt.Batch, receipt.Origin)
		}
		stored += receipt.Stored
	}
	return stored
}

func objects(batches []seal.Batch) (all []seal.Object) {
	for _, b := range batches {
		all = append(all, b.Objects...)
	}
	return all
}

func wantFiles(t *testing.T, d Destination, want map[string][]byte) {
	t.Helper()
	got := d.Files(t)
	for path, content := range want {
		switch stored, ok := got[path]; {
		case !ok:
			t.Errorf("%s is not stored", path)
		case !bytes.Equal(stored, content):
			t.Errorf("%s has %d bytes that are not the %d expected", path, len(stored), len(content))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is stored, which nobody asked for", path)
		}
	}
}

func wantObjectError(t *testing.T, err error, object seal.Object, cause error) {
	t.Helper()
	var named *outputs.ObjectError
	if !errors.Is(err, cause) || !errors.As(err, &named) || named.Path != object.Path || named.Kind != object.Kind {
		t.Fatalf("ship: error %v, want an *ObjectError of %s that is %q", err, object.Path, cause)
	}
}

func shipsInOrder(t *testing.T, d Destination) {
	e := sample(t)
	all := objects(e.Batches)
	if stored := ship(t, start(t, d), e.Batches); stored != len(all) {
		t.Errorf("receipts count %d new objects, want %d", stored, len(all))
	}
	wantFiles(t, d, e.Files)
	var want []string
	for _, o := range all {
		want = append(want, o.Path)
	}
	if diff := cmp.Diff(want, d.Order()); diff != "" {
		t.Errorf("order of arrival (-want +got):\n%s", diff)
	}
}

func repeats(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	for _, b := range e.Batches {
		ship(t, o, []seal.Batch{b})
		if stored := ship(t, o, []seal.Batch{b}); stored != 0 {
			t.Errorf("repeating batch %d stored %d new objects", b.Manifest.Batch, stored)
		}
	}
	if stored := ship(t, start(t, d), e.Batches); stored != 0 {
		t.Errorf("repeating the epoch after a start stored %d new objects", stored)
	}
	wantFiles(t, d, e.Files)
	if n := len(d.Order()); n != len(e.Files) {
		t.Errorf("%d objects were stored, want each of %d once", n, len(e.Files))
	}
}

func continuesAfterKill(t *testing.T, d Destination) {
	e := sample(t)
	for _, b := range e.Batches {
		for i := range b.Objects {
			ctx, cancel := context.WithCancel(t.Context())
			cut := b
			cut.Objects = slices.Clone(b.Objects)
			cut.Objects[i].Open = func() (io.ReadSeekCloser, error) {
				cancel()
				return b.Objects[i].Open()
			}
			if _, err := start(t, d).Ship(ctx, cut); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("ship batch %d, cancelled at object %d: %v", b.Manifest.Batch, i, err)
			}
			cancel()
		}
		ship(t, start(t, d), []seal.Batch{b})
	}
	wantFiles(t, d, e.Files)
}

func survivesFaults(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	for _, b := range e.Batches {
		for i, object := range b.Objects {
			var opened atomic.Int32
			once := object
			once.Open = func() (io.ReadSeekCloser, error) {
				if opened.Add(1) == 1 {
					return nil, errors.New("this read fails once")
				}
				return object.Open()
			}
			d.Break([]Fault{Lost, Unreported}[(int(b.Manifest.Batch)+i)%2]) //nolint:gosec // a handful of batches
			ship(t, o, []seal.Batch{part(b, once)})
		}
	}
	wantFiles(t, d, e.Files)
	if n := len(d.Order()); n != len(e.Files) {
		t.Errorf("%d objects were stored, want each of %d once", n, len(e.Files))
	}
}

// part is a batch with only some of its objects.
func part(b seal.Batch, objects ...seal.Object) seal.Batch {
	b.Objects = objects
	return b
}

func findsForks(t *testing.T, d Destination) {
	e := sample(t)
	for i, object := range objects(e.Batches) {
		sealed := e.Files[object.Path]
		planted := [][]byte{
			append(slices.Clone(sealed), '\n'),
			sealed[:len(sealed)-1],
			append([]byte{sealed[0] ^ 1}, sealed[1:]...),
			{},
		}[i%4]
		d.Plant(t, object.Path, planted)
	}
	before := d.Files(t)
	o := start(t, d)
	for _, b := range e.Batches {
		for _, object := range b.Objects {
			_, err := o.Ship(t.Context(), part(b, object))
			wantObjectError(t, err, object, outputs.ErrFork)
		}
	}
	wantFiles(t, d, before)
}

func refusesDamage(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	for name, open := range map[string]func([]byte) (io.ReadSeekCloser, error){
		"first bit": func(c []byte) (io.ReadSeekCloser, error) { c[0] ^= 1; return content(c), nil },
		"last bit":  func(c []byte) (io.ReadSeekCloser, error) { c[len(c)-1] ^= 1; return content(c), nil },
		"torn":      func(c []byte) (io.ReadSeekCloser, error) { return content(c[:len(c)-1]), nil },
		"empty":     func([]byte) (io.ReadSeekCloser, error) { return content(nil), nil },
		"gone":      func([]byte) (io.ReadSeekCloser, error) { return nil, fs.ErrNotExist },
	} {
		for _, b := range e.Batches {
			for _, object := range b.Objects {
				damaged := object
				damaged.Open = func() (io.ReadSeekCloser, error) { return open(slices.Clone(e.Files[object.Path])) }
				_, err := o.Ship(t.Context(), part(b, damaged))
				wantObjectError(t, err, object, outputs.ErrPermanent)
				if n := len(d.Files(t)); n != 0 {
					t.Fatalf("%s: %d files are stored after %s", name, n, object.Path)
				}
			}
		}
	}
	ship(t, o, e.Batches)
	wantFiles(t, d, e.Files)
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func content(c []byte) io.ReadSeekCloser { return reader{bytes.NewReader(c)} }

func staysInside(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	for _, path := range []string{
		"", "/", "..", "../outside", "/etc/outside", "seals/../../outside", "seals/gpu-07/0001/../../../outside",
		"seals/gpu-07/0001/identity.vkey/", "seals//0001/identity.vkey", "seals/gpu-07/0001/000000000000.manifest?x=y",
		"records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=../0001-000000000001.ndjson.zst",
		"seals/gpu-07/0001/000000000000.manifest\x00", "C:\\outside",
	} {
		object := e.Batches[0].Objects[1]
		object.Path = path
		_, err := o.Ship(t.Context(), part(e.Batches[0], object))
		wantObjectError(t, err, object, outputs.ErrPermanent)
	}
	wantFiles(t, d, map[string][]byte{})
	ship(t, o, e.Batches)
	for path := range d.Files(t) {
		if _, err := seal.ParsePath(path); err != nil {
			t.Errorf("stored outside the archive layout: %v", err)
		}
	}
}

func shipsSealsAlone(t *testing.T, d Destination) {
	e := sample(t)
	payload := e.Batches[1].Objects[0]
	e.Batches[1].Objects = e.Batches[1].Objects[1:]
	ship(t, start(t, d), e.Batches)
	delete(e.Files, payload.Path)
	wantFiles(t, d, e.Files)
}

func returnsWhenCancelled(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Ship(ended, e.Batches[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("ship with an ended context: %v", err)
	}
	d.Away(true)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, shipErr := o.Ship(ctx, e.Batches[0])
	publishErr := o.(outputs.Publisher).Publish(ctx, e.Checkpoint()) //nolint:errcheck // a kind that keeps no checkpoints fails here
	if !errors.Is(shipErr, context.DeadlineExceeded) || !errors.Is(publishErr, context.DeadlineExceeded) {
		t.Errorf("ship: %v, publish: %v, want the context's error", shipErr, publishErr)
	}
	if errors.Is(shipErr, outputs.ErrPermanent) || errors.Is(shipErr, outputs.ErrFork) {
		t.Errorf("ship: %v, but nothing was refused", shipErr)
	}
	if took := time.Since(began); took != time.Hour {
		t.Errorf("returned after %s, want at once when the hour is over", took)
	}
	wantFiles(t, d, map[string][]byte{})
}

func waitsForDestination(t *testing.T, d Destination) {
	e := sample(t)
	o := start(t, d)
	ship(t, o, e.Batches[:1])
	d.Away(true)
	const outage = 8 * time.Hour
	began := time.Now()
	reporter, reports := o.(outputs.Reporter)
	time.AfterFunc(outage/2, func() {
		if !reports {
			return
		}
		if got := reporter.Trouble(); got.Err == nil || got.Failures == 0 || got.Since.Before(began) || time.Since(got.Since) < outage/4 {
			t.Errorf("in the middle of an outage the trouble is %+v", got)
		}
	})
	time.AfterFunc(outage, func() { d.Away(false) })
	ship(t, o, e.Batches[1:])
	if reports {
		if got := reporter.Trouble(); got.Err != nil || !got.Since.IsZero() || got.Failures == 0 {
			t.Errorf("behind an outage the trouble is %+v", got)
		}
	}
	if took := time.Since(began); took < outage {
		t.Errorf("shipped %s before the destination was back", outage-took)
	}
	wantFiles(t, d, e.Files)
}

func publisher(t *testing.T, d Destination) outputs.Publisher {
	t.Helper()
	p, ok := start(t, d).(outputs.Publisher)
	if !ok {
		t.Fatal("the output keeps no checkpoints")
	}
	return p
}

func publishes(t *testing.T, d Destination) {
	e := sealtest.New(t, sealtest.Config{})
	p := publisher(t, d)
	want := make(map[string][]byte)
	var publishing sync.WaitGroup
	e.Open()
	for range 8 {
		e.Heartbeat()
		c := e.Checkpoint()
		want[c.Path()] = c.File
		for range 3 {
			publishing.Go(func() {
				if err := p.Publish(t.Context(), c); err != nil {
					t.Errorf("publish checkpoint %d: %v", c.Size, err)
				}
			})
		}
	}
	publishing.Wait()
	wantFiles(t, d, want)
}

// tree is a tree of one leaf.
func tree(leaf string) *seal.Tree {
	var tree seal.Tree
	tree.Add(seal.LeafHash([]byte(leaf)))
	return &tree
}

func checkpoint(t *testing.T, leaf, key string) seal.Checkpoint {
	t.Helper()
	c, err := seal.SignCheckpoint(sealtest.New(t, sealtest.Config{}).Origin, tree(leaf), sealtest.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func publishesAfterRotation(t *testing.T, d Destination) {
	p := publisher(t, d)
	before, after := checkpoint(t, "leaf", "old key"), checkpoint(t, "leaf", "new key")
	for _, c := range []seal.Checkpoint{before, after, before} {
		if err := p.Publish(t.Context(), c); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	wantFiles(t, d, map[string][]byte{before.Path(): before.File})
}

func findsForkedCheckpoints(t *testing.T, d Destination) {
	p := publisher(t, d)
	ours, theirs := checkpoint(t, "ours", "key"), checkpoint(t, "theirs", "key")
	for name, planted := range map[string][]byte{
		"another root":   theirs.File,
		"longer":         append(slices.Clone(ours.File), "\n\nmore\n"...),
		"far too long":   bytes.Repeat([]byte("x"), 1<<20),
		"not signed":     []byte("text\n"),
		"without a byte": {},
	} {
		d.Plant(t, ours.Path(), planted)
		err := p.Publish(t.Context(), ours)
		wantObjectError(t, err, outputs.CheckpointObject(ours), outputs.ErrFork)
		wantFiles(t, d, map[string][]byte{ours.Path(): planted})
		if t.Failed() {
			t.Fatalf("with a planted file that is %s", name)
		}
	}
}

func tellsHead(t *testing.T, d Destination) {
	o := start(t, d)
	h, ok := o.(outputs.HeadReader)
	if !ok {
		return // optional
	}
	e := sample(t)
	wantHead := func(origin seal.Origin, want seal.Head) {
		t.Helper()
		head, err := h.Head(t.Context(), origin.String())
		if err != nil || head != want {
			t.Errorf("head of %s: %+v, %v, want %+v", origin, head, err, want)
		}
	}
	if _, err := h.Head(t.Context(), e.Origin.String()); errors.Is(err, errors.ErrUnsupported) {
		return // not from this destination
	}
	wantHead(e.Origin, seal.Head{Root: seal.EmptyRoot()})
	var log seal.Tree
	for _, b := range e.Batches {
		ship(t, o, []seal.Batch{b})
		log.Add(seal.LeafHash(b.ManifestFile))
		wantHead(e.Origin, seal.Head{Size: log.Size(), Root: log.Root()})
	}
	other := e.Origin
	other.Epoch++
	wantHead(other, seal.Head{Root: seal.EmptyRoot()})
	if _, err := h.Head(t.Context(), "../.."); err == nil {
		t.Error("head of ../..: no error")
	}
}

// tellsNoWrongHead: while the destination is away there is no head, and an answer
// that comes late is the right one.
func tellsNoWrongHead(t *testing.T, d Destination) {
	o := start(t, d)
	h, ok := o.(outputs.HeadReader)
	if !ok {
		return // optional
	}
	e := sample(t)
	ship(t, o, e.Batches)
	d.Away(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	began := time.Now()
	if head, err := h.Head(ctx, e.Origin.String()); err == nil {
		t.Errorf("from a destination that is away: %+v", head)
	}
	if took := time.Since(began); took > time.Hour {
		t.Errorf("returned after %s, want at once when the hour is over", took)
	}
	time.AfterFunc(8*time.Hour, func() { d.Away(false) })
	size, root := e.Head()
	if head, err := h.Head(t.Context(), e.Origin.String()); err == nil && (head.Size != size || head.Root != root) {
		t.Errorf("behind an outage: %+v, want %d, %s", head, size, root)
	}
	wantFiles(t, d, e.Files)
}

func probes(t *testing.T, d Destination) {
	o := start(t, d)
	p, ok := o.(outputs.Prober)
	if !ok {
		return // optional
	}
	if err := p.Probe(t.Context()); err != nil {
		t.Errorf("probe an empty destination: %v", err)
	}
	e := sample(t)
	ship(t, o, e.Batches)
	if err := p.Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
	wantFiles(t, d, e.Files)
	d.Away(true)
	if err := p.Probe(t.Context()); err == nil {
		t.Error("probe a destination that is away: no error")
	}
}
