package buffer

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/internal/keys"
)

// The identity key may be far away: see package keys. What waits for it is a batch
// whose intent is durable, so it may wait for ever: batches are cut and committed
// meanwhile, up to MaxDisk, and a stop leaves them to the next start.

const (
	signTime = 5 * time.Second
	// signRetry is how long after a signature that failed it is asked for again.
	signRetry = time.Second
	// signRemind is how often it is said again that there is none.
	signRemind = 10 * time.Minute
)

// Unsigned tells whether an error of this package says that the identity key did
// not sign: Open and Reopen may be called again.
func Unsigned(err error) bool { return errors.Is(err, keys.ErrSigner) }

// signing is how the identity key fares.
type signing struct {
	identity, successor crypto.Signer
	failing             atomic.Bool
	since, told         time.Time // of the present failure; of the seal goroutine
	said                string
}

// guardKeys puts a time limit and a check around the keys of deps.
func (b *Buffer) guardKeys() error {
	limit := b.deps.SignTime
	if limit == 0 {
		limit = signTime
	}
	guard := func(key crypto.Signer) (crypto.Signer, error) {
		if _, here := key.(ed25519.PrivateKey); here || key == nil {
			return key, nil // in memory it neither hangs nor errs
		}
		return keys.NewGuard(key, limit, b.closing)
	}
	var err error
	if b.signs.identity, err = guard(b.deps.Identity); err == nil {
		b.signs.successor, err = guard(b.deps.Successor)
	}
	return err
}

// untilSigned repeats a step until the identity key signs. Each such step can be
// repeated. It returns the error when there is no time to wait: the buffer is
// being opened or closed.
func (b *Buffer) untilSigned(batch uint64, step func() error) error {
	for {
		err := step()
		if !Unsigned(err) {
			b.signs.succeeded(b.log, err)
			b.cuts.wait(true)
			return err
		}
		if !b.opened {
			return err
		}
		b.signs.failed(b.log, batch, err)
		b.cuts.wait(false)
		select {
		case <-b.closing:
			return fmt.Errorf("%w: %w", ErrClosed, err)
		case <-time.After(signRetry):
		}
	}
}

func (s *signing) failed(log *slog.Logger, batch uint64, err error) {
	now := time.Now()
	if !s.failing.Swap(true) {
		s.since = now
	}
	text := err.Error()
	if text == s.said && now.Sub(s.told) < signRemind {
		return
	}
	s.said, s.told = text, now
	log.Error("ALARM: the signing key does not sign; batches wait on the disk and it is asked again, reading goes on up to buffer.max_disk",
		"batch", batch, "waited", now.Sub(s.since).Round(time.Second), "error", err)
}

func (s *signing) succeeded(log *slog.Logger, err error) {
	if err != nil || !s.failing.Swap(false) {
		return
	}
	s.said = ""
	log.Info("the signing key signs again", "waited", time.Since(s.since).Round(time.Second))
}

// cutQueue hands cut batches to the sealer, in their order.
type cutQueue struct {
	ready chan struct{} // holds an element when there may be something to take
	most  int

	mu      sync.Mutex
	changed *sync.Cond
	list    []*batch
	endless bool // put does not wait: the sealer does, for something else than time
	ended   bool // no more is put
	gone    bool // no more is taken
}

func newCutQueue(most int) *cutQueue {
	q := &cutQueue{ready: make(chan struct{}, 1), most: most}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put waits while the sealer is behind.
func (q *cutQueue) put(t *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) >= q.most && !q.endless && !q.gone {
		q.changed.Wait()
	}
	if !q.gone {
		q.list = append(q.list, t)
		q.notify()
	}
}

// wait chooses whether put waits.
func (q *cutQueue) wait(bounded bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.endless = !bounded
	q.changed.Broadcast()
}

// take returns nil when there is nothing now, and whether there will be nothing more.
func (q *cutQueue) take() (t *batch, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return nil, q.ended
	}
	t, q.list = q.list[0], q.list[1:]
	q.changed.Broadcast()
	return t, false
}

// end says that nothing more is put.
func (q *cutQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.notify()
}

// abandon says that nothing more is taken.
func (q *cutQueue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone, q.list = true, nil
	q.changed.Broadcast()
}

func (q *cutQueue) notify() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
