package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/auditail/auditail/seal"
)

// agentLog is what the server holds in memory of one agent's log. Whoever holds
// turn may use the rest.
type agentLog struct {
	log       seal.Log // with key it never changes
	key       ed25519.PublicKey
	enrolment *Enrolment    // as the registry had it at the last turn
	turn      chan struct{} // capacity 1
	waiting   chan struct{} // capacity maxWaiting

	epochs map[int]*epoch
}

// Limits of what one agent can make the server hold.
const (
	maxWaiting = 8 // requests that wait for their turn
	maxEpochs  = 4 // epochs in memory; there are rarely two in use
)

// logs are the logs in use, by agent.
type logs struct {
	mu      sync.Mutex
	byAgent map[string]*agentLog
}

// get returns the log of an enrolment. An agent that was enrolled anew with
// another key starts with nothing in memory.
func (l *logs) get(e *Enrolment) *agentLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.byAgent[e.Log.Agent]
	if a == nil || a.log != e.Log || !a.key.Equal(e.Key) {
		a = &agentLog{
			log: e.Log, key: e.Key, turn: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting),
			epochs: make(map[int]*epoch),
		}
		l.byAgent[e.Log.Agent] = a
	}
	return a
}

// acquire waits for the turn, in which e is what is known of the agent; release
// gives it back.
func (a *agentLog) acquire(ctx context.Context, e *Enrolment) error {
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return later(http.StatusTooManyRequests, retrySoon, nil, "%d requests of this log wait already", maxWaiting)
	}
	select {
	case a.turn <- struct{}{}:
		a.enrolment = e
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agentLog) release() { <-a.turn }

// epoch is the chain of one epoch as far as it is stored, and what is needed to
// check its checkpoints without reading the whole log again.
type epoch struct {
	chain *seal.Chain
	marks []seal.Tree // trees at multiples of markEvery that this process saw, rising, the first one empty
	noted uint64      // size at which the head was kept last
	// witnessed tells that the head which was cosigned last was compared with the archive.
	witnessed bool
	// kept is the tree at that size, before the one at the head before it; both
	// empty when there was none.
	kept, before seal.Tree
	// claim is the manifest with which the payload of the next batch was
	// stored: the batch can have no other manifest any more.
	claim *seal.Digest
	keys  []signedFrom // rising; the first is the key that opened the epoch
	keep  time.Time    // of the payload that is kept longest
}

// noteKeep takes note of until when a payload is to be kept.
func (e *epoch) noteKeep(m *seal.Manifest) {
	if m.KeepUntil.After(e.keep) {
		e.keep = m.KeepUntil
	}
}

// signedFrom says which identity key signs from a number on: manifests and their
// signatures from that batch, checkpoints from that size.
type signedFrom struct {
	from uint64
	key  ed25519.PublicKey
}

// markEvery is how many manifests are read again at most to find the root of an
// earlier tree that this process has seen grow.
const markEvery = 1024

func newEpoch(origin seal.Origin, identity ed25519.PublicKey) *epoch {
	return &epoch{chain: seal.NewChain(origin, identity), marks: make([]seal.Tree, 1), keys: []signedFrom{{key: identity}}}
}

// keyAt returns the identity key that signed the manifest of batch n, and the
// checkpoint over n manifests.
func (e *epoch) keyAt(n uint64) ed25519.PublicKey {
	key := e.keys[0].key
	for _, k := range e.keys[1:] {
		if k.from <= n {
			key = k.key
		}
	}
	return key
}

// advance goes on behind a manifest that is stored.
func (e *epoch) advance(chain *seal.Chain) {
	e.chain, e.claim = chain, nil
	e.noteKeep(chain.Last())
	if last := len(e.keys) - 1; !e.keys[last].key.Equal(chain.Identity()) {
		e.keys = append(e.keys, signedFrom{from: chain.Next(), key: chain.Identity()})
	}
	if chain.Next()%markEvery == 0 {
		e.marks = append(e.marks, chain.Tree())
	}
}

// epoch returns an epoch's state, brought up to date with the store: other
// servers may write into it, and an earlier request may have ended between
// storing a manifest and taking note of it. Such a manifest may not be durable
// yet, but then it was not acknowledged either, and the agent repeats it.
func (s *Server) epoch(ctx context.Context, a *agentLog, number int) (*epoch, error) {
	e := a.epochs[number]
	if e == nil {
		identity, err := s.identity(ctx, a, number)
		if err != nil {
			return nil, err
		}
		if e, err = s.loadHead(ctx, seal.Origin{Log: a.enrolment.Log, Epoch: number}, identity); err != nil {
			return nil, err
		}
	}
	origin := e.chain.Origin
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := origin.ManifestPath(e.chain.Next())
		file, _, err := s.store.read(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			if again, err := s.goOn(ctx, a, e); again || err != nil {
				if err != nil {
					return nil, err
				}
				continue
			}
			a.remember(number, e)
			s.noteHead(ctx, e)
			return e, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := e.chain.Add(file); err != nil && !onlyTime(err) {
			delete(a.epochs, number) // the chain has gone on behind what it refused
			return nil, s.damaged(origin.Log, path, err)
		}
		e.advance(e.chain)
	}
}

// goOn takes up the chain behind a hole whose end is an anchor, if that is stored.
func (s *Server) goOn(ctx context.Context, a *agentLog, e *epoch) (found bool, err error) {
	at, ok := a.enrolment.anchorBehind(e.chain.Origin.Epoch, e.chain.Next())
	if !ok || at == 0 {
		return false, nil
	}
	path := e.chain.Origin.ManifestPath(at)
	file, _, err := s.store.read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	chain := e.chain.Clone()
	if _, err := chain.Resume(file); err != nil {
		return false, s.damaged(a.log, path, err)
	}
	e.advance(chain)
	return true, nil
}

// remember keeps an epoch in memory once it has begun: before, its key may still
// change with the epoch before it.
func (a *agentLog) remember(number int, e *epoch) {
	if e.chain.Next() == 0 {
		return
	}
	if a.epochs[number] == nil && len(a.epochs) >= maxEpochs {
		clear(a.epochs)
	}
	a.epochs[number] = e
}

// identity returns the key that an epoch opens with: the one that is stored
// beside it, which was checked when it was stored; before that, the one that the
// epoch before ended with, or that was enrolled.
func (s *Server) identity(ctx context.Context, a *agentLog, number int) (ed25519.PublicKey, error) {
	path := seal.Origin{Log: a.enrolment.Log, Epoch: number}.IdentityPath()
	file, _, err := s.store.read(ctx, path)
	if err == nil {
		log, key, err := ParseKey(strings.TrimSuffix(string(file), "\n"))
		if err == nil && log != a.enrolment.Log {
			err = fmt.Errorf("it is the key of %s", log)
		}
		if err != nil {
			return nil, s.damaged(a.enrolment.Log, path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	begun, err := s.store.exists(ctx, seal.Origin{Log: a.enrolment.Log, Epoch: number - 1}.ManifestPath(0))
	if err != nil || !begun {
		return a.enrolment.Key, err
	}
	before, err := s.epoch(ctx, a, number-1)
	if err != nil {
		return nil, err
	}
	return before.chain.Identity(), nil
}

// damaged raises the alarm about a stored object that is not what was verified
// when it was stored. The agent is told to come again: it did nothing wrong.
func (s *Server) damaged(log seal.Log, path string, cause error) error {
	s.logger.Error("stored object is damaged", "log", log.String(), "path", path, "error", cause)
	return later(http.StatusServiceUnavailable, retryDamage, nil, "the stored copy of %s is damaged; the server's operator must restore it", path)
}

// onlyTime tells whether all problems that Chain.Add joined are a clock that
// ran backwards: a finding for the auditor, and no reason to refuse evidence.
func onlyTime(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all := joined.Unwrap()
		for _, one := range all {
			if !onlyTime(one) {
				return false
			}
		}
		return len(all) > 0
	}
	return errors.Is(err, seal.ErrTime)
}

// root returns the root of the first size manifests of the epoch.
func (s *Server) root(ctx context.Context, e *epoch, size uint64) (seal.Hash, error) {
	if size == e.chain.Next() {
		tree := e.chain.Tree()
		return tree.Root(), nil
	}
	nearest := seal.Tree{}
	for _, t := range append([]seal.Tree{e.before, e.kept}, e.marks...) {
		if t.Size() <= size && t.Size() > nearest.Size() {
			nearest = t
		}
	}
	tree := nearest.Clone()
	for n := tree.Size(); n < size; n++ {
		if err := ctx.Err(); err != nil {
			return seal.Hash{}, err
		}
		file, _, err := s.store.read(ctx, e.chain.Origin.ManifestPath(n))
		if err != nil {
			return seal.Hash{}, err
		}
		tree.Add(seal.LeafHash(file))
	}
	return tree.Root(), nil
}

// opened says that an epoch began, loudly when the one before did not close:
// whoever cut a log's tail would go on in the same way.
func (s *Server) opened(ctx context.Context, a *agentLog, m *seal.Manifest) {
	logger := s.logger.With("log", a.enrolment.Log.String(), "epoch", m.Origin.Epoch, "reason", m.Reason)
	if m.Origin.Epoch == 1 {
		logger.InfoContext(ctx, "log opened")
		return
	}
	before, err := s.epoch(ctx, a, m.Origin.Epoch-1)
	switch {
	case err != nil:
		logger.WarnContext(ctx, "epoch opened; the one before could not be read", "error", err)
	case before.chain.Last() == nil || before.chain.Last().Kind != seal.Close:
		logger.ErrorContext(ctx, "epoch opened behind one that did not close", "previous_size", before.chain.Next())
	default:
		logger.InfoContext(ctx, "epoch opened")
	}
}
