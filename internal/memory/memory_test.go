package memory_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditail/auditail/internal/memory"
)

// TestTurn: claims are served in the order they came, so that a large one is
// not starved by small ones, and all is given back.
func TestTurn(t *testing.T) {
	b := memory.New(100)
	first, large, small := b.Claim(60), b.Claim(80), b.Claim(10)
	if !first.Held() || large.Held() || small.Held() {
		t.Fatalf("held: %v %v %v", first.Held(), large.Held(), small.Held())
	}
	first.Release()
	if !large.Held() || !small.Held() {
		t.Fatalf("behind the first: %v %v", large.Held(), small.Held())
	}
	if large.Grow(11) || !large.Grow(10) {
		t.Error("a claim grows by what is free, and not by more")
	}
	large.Release()
	large.Release()
	small.Release()
	if free := b.Free(); free != 100 {
		t.Errorf("%d bytes are free at the end", free)
	}
}

// TestGivenUp: who stops waiting does not keep those behind waiting.
func TestGivenUp(t *testing.T) {
	b := memory.New(100)
	first, large, small := b.Claim(60), b.Claim(80), b.Claim(40)
	large.Release()
	if !small.Held() {
		t.Error("the claim behind one that was given up still waits")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	first.Release()
	small.Release()
	if free := b.Free(); free != 100 {
		t.Errorf("%d bytes are free at the end", free)
	}
}

// TestMoreThanAll: what is larger than the budget has it alone.
func TestMoreThanAll(t *testing.T) {
	b := memory.New(100)
	c := b.Claim(1000)
	if !c.Held() || b.Free() != 0 {
		t.Errorf("held %v, %d free", c.Held(), b.Free())
	}
	c.Release()
	if free := b.Free(); free != 100 {
		t.Errorf("%d bytes are free at the end", free)
	}
}

// TestNeverMore: many at once never hold more than there is, and all get their turn.
func TestNeverMore(t *testing.T) {
	const size = 100
	b := memory.New(size)
	var held atomic.Int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			bytes := int64(1 + i*7%size)
			for range 100 {
				c, err := b.Take(t.Context(), bytes)
				if err != nil {
					t.Error(err)
					return
				}
				if n := held.Add(bytes); n > size {
					t.Errorf("%d bytes are held", n)
				}
				held.Add(-bytes)
				c.Release()
			}
		})
	}
	all.Wait()
	if free := b.Free(); free != size {
		t.Errorf("%d bytes are free at the end", free)
	}
}
