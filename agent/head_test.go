package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// asked is a place that is asked for its head.
type asked struct {
	*place
	answer func(context.Context, seal.Origin) (seal.Head, error)
}

func (a asked) Head(ctx context.Context, name string) (seal.Head, error) {
	origin, err := seal.ParseOrigin(name)
	if err != nil {
		return seal.Head{}, err
	}
	return a.answer(ctx, origin)
}

// held is the head of what the place holds, which is all of the epoch.
func (p *place) held(origin seal.Origin) (head seal.Head) {
	var tree seal.Tree
	files := p.all()
	for file := files[origin.ManifestPath(0)]; file != nil; file = files[origin.ManifestPath(tree.Size())] {
		tree.Add(seal.LeafHash(file))
	}
	return seal.Head{Size: tree.Size(), Root: tree.Root()}
}

// tells makes all outputs answer so.
func (h *host) tells(answer func(context.Context, *place, seal.Origin) (seal.Head, error)) {
	h.wrap = func(p *place) outputs.Output {
		return asked{p, func(ctx context.Context, o seal.Origin) (seal.Head, error) { return answer(ctx, p, o) }}
	}
}

// epochs counts the epochs that a place holds.
func (p *place) epochs() (n int) {
	for path := range p.all() {
		if strings.HasSuffix(path, "/000000000000.manifest") {
			n++
		}
	}
	return n
}

// A destination that is ahead is found at the start, before anything is shipped
// that it would refuse: the log goes on in another epoch.
func TestAheadAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record")
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		size := h.outputs["a"].held(origin).Size
		h.tells(func(_ context.Context, p *place, o seal.Origin) (seal.Head, error) {
			head := p.held(o)
			if o == origin {
				head = seal.Head{Size: size + 3, Root: seal.LeafHash([]byte("another history"))}
			}
			return head, nil
		})
		h.outputs["a"].refuse = func(o seal.Object) error {
			name, err := seal.ParsePath(o.Path)
			if err == nil && name.Epoch == 1 && name.Number >= size {
				if name.Kind == seal.PayloadObject {
					return fmt.Errorf("%w: a payload that no seal there names", outputs.ErrPermanent)
				}
				return outputs.ErrFork
			}
			return err
		}
		h.input.lines = append(h.input.lines, "record")
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		next := origin
		next.Epoch = 2
		text, err := seal.SplitNote(h.outputs["a"].all()[next.ManifestPath(0)])
		if err != nil {
			t.Fatalf("no second epoch: %v\n%s", err, h.log.String())
		}
		m, err := seal.ParseText(text)
		if want := fmt.Sprintf("rollback %s %d %s", origin, size+3, seal.LeafHash([]byte("another history"))); err != nil || m.Reason != want {
			t.Errorf("reason %q, want %q, %v", m.Reason, want, err)
		}
		if strings.Contains(h.log.String(), "a payload is refused") {
			t.Errorf("a payload was shipped before the head was asked for:\n%s", h.log.String())
		}
	})
}

// A destination that is away at the start holds nothing up but itself, and is asked
// when it is back, before anything is shipped.
func TestAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record", "record")
		h.outputs["b"] = &place{files: make(map[string][]byte)}
		away := make(chan struct{})
		h.tells(func(ctx context.Context, p *place, o seal.Origin) (seal.Head, error) {
			if p == h.outputs["b"] {
				select {
				case <-away:
				case <-ctx.Done():
					return seal.Head{}, ctx.Err()
				}
			}
			return p.held(o), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(time.Hour)
		if manifests, _ := h.shipped("a"); total(manifests).Read != 2 {
			t.Errorf("the other output has %+v", total(manifests))
		}
		if n := len(h.outputs["b"].all()); n != 0 {
			t.Errorf("%d files were shipped before the destination said what it holds", n)
		}
		close(away)
		<-time.After(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if a, b := h.outputs["a"].held(origin), h.outputs["b"].held(origin); a != b || h.outputs["b"].epochs() != 1 {
			t.Errorf("one output holds %+v, the one that was away %+v", a, b)
		}

		// One that stays away does not hold up a stop.
		away = make(chan struct{})
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(time.Minute)
		stopped := time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(stopped) > 10*time.Second {
			t.Errorf("the stop took %s: %v", time.Since(stopped), err)
		}
	})
}

// A destination that does not say what it holds gets what there is; who never says
// is no word in the log.
func TestDoesNotSay(t *testing.T) {
	for what, test := range map[string]struct {
		err    error
		logged bool
	}{
		"never":    {fmt.Errorf("404: %w", errors.ErrUnsupported), false},
		"nonsense": {errors.New("the server answers \"welcome\""), true},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t, "record")
			h.tells(func(context.Context, *place, seal.Origin) (seal.Head, error) { return seal.Head{}, test.err })
			if err := h.once(); err != nil {
				t.Fatal(err)
			}
			if manifests, _ := h.shipped("a"); total(manifests).Read != 1 {
				t.Errorf("shipped %+v", total(manifests))
			}
			if got := strings.Contains(h.log.String(), "does not say what it holds"); got != test.logged {
				t.Errorf("logged: %t\n%s", got, h.log.String())
			}
		})
	}
}

// ordered is a place that refuses what does not follow.
type ordered struct{ asked }

func (ordered) KeepsOrder() {}

// A destination that lost what it acknowledged: where the log's order is kept, the
// operator may bring it back, so the epoch is not left; elsewhere it is.
func TestBehindAtTheStart(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, "record")
			if err := h.once(); err != nil {
				t.Fatal(err)
			}
			h.wrap = func(p *place) outputs.Output {
				a := asked{p, func(_ context.Context, o seal.Origin) (seal.Head, error) {
					if o != origin {
						return p.held(o), nil
					}
					return seal.Head{Size: 1, Root: seal.LeafHash(p.all()[o.ManifestPath(0)])}, nil
				}}
				if keeps {
					return ordered{a}
				}
				return a
			}
			if err := h.once(); err != nil {
				t.Fatal(err)
			}
			if got := h.outputs["a"].epochs(); got != map[bool]int{true: 1, false: 2}[keeps] {
				t.Errorf("order kept: %t, %d epochs", keeps, got)
			}
			if !strings.Contains(h.log.String(), "ALARM: the destination lost batches that it had acknowledged") {
				t.Errorf("no alarm:\n%s", h.log.String())
			}
		})
	}
}

// An output that is added while another has not caught up begins in the middle of
// the log. It lost nothing: it never had the batches before.
func TestAddedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record")
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		h.outputs["a"].blocked = true
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Minute, cancel)
		if err := h.agent().Run(ctx); err != nil {
			t.Fatal(err)
		}
		h.outputs["a"].blocked = false
		h.outputs["b"] = &place{files: make(map[string][]byte)}
		h.tells(func(_ context.Context, p *place, o seal.Origin) (head seal.Head, err error) {
			if head = p.held(o); head.Size == 0 {
				for path := range p.all() {
					if name, err := seal.ParsePath(path); err == nil && name.Kind == seal.ManifestObject && name.Epoch == o.Epoch {
						head = seal.Head{Size: max(head.Size, name.Number+1)}
					}
				}
			}
			return head, nil
		})
		for range 2 {
			if err := h.once(); err != nil {
				t.Fatal(err)
			}
		}
		if h.outputs["a"].epochs() != 1 || h.outputs["b"].epochs() != 0 || strings.Contains(h.log.String(), "ALARM") {
			t.Errorf("%d epochs\n%s", h.outputs["a"].epochs(), h.log.String())
		}
		if len(h.outputs["b"].all()) == 0 {
			t.Error("the output that was added got nothing")
		}
	})
}
