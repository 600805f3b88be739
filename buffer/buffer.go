// Package buffer keeps records between the moment a line was read and the
// moment every output has acknowledged its batch.
//
// Its promises: records and read positions become durable in one write and
// sync, so they can not disagree (promise 2 of the README). What Append acknowledged
// survives kill -9 and power loss, once and in order; what it did not
// acknowledge may be read again. A batch is sealed from the very bytes that
// were committed. Nothing leaves the disk before every output acknowledged it.
//
// FORMAT.md describes the files. The only way into the state is [Open], which
// recovers: there is no other start.
package buffer

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Config comes from the user.
type Config struct {
	Dir       string
	MaxDisk   int64         // bytes of segments, sealed batches and what Deps.DiskUsed adds
	BatchSize int64         // seal after this much compressed data …
	BatchAge  time.Duration // … or this age
	Heartbeat time.Duration // seal an empty batch after this much silence
	Log       seal.Log
	Retention map[string]time.Duration // term of each class
	Outputs   []string                 // names of those whose acknowledgement releases a batch
	Copies    []string                 // names of those that get batches too, but hold none: see copies.go
}

// Deps come from code.
type Deps struct {
	FS  durable.FS
	Log *slog.Logger
	Now func() time.Time // of the calendar; durations are measured on the monotonic clock
	// Identity signs. It may hang, fail and err (see package keys): batches then
	// wait, and are signed when it is well.
	Identity crypto.Signer
	// Successor is the identity key that is to follow, nil for none: Open signs it
	// in with a batch of kind rotate. Behind that it is the identity, and both keys
	// are needed until Rotated.
	Successor crypto.Signer
	// Keys returns Identity and Successor in place of these fields, at each Open
	// and Reopen. It may be nil.
	Keys func() (identity, successor crypto.Signer, err error)
	// SignTime bounds a signature; 0: 5 s.
	SignTime time.Duration
	Run      seal.Run // of this process
	// Boot returns the boot id ("-" where there is none) and the uptime in seconds.
	Boot func() (id string, uptime uint64)
	// Coverage appends the agent.coverage record that ends a batch, open before
	// agent.seq (see audit.Record.AppendOpen).
	Coverage func(dst []byte, c Coverage) []byte
	// Reread tells whether an input can read again all that it read from From to
	// To, and returns the positions that it then goes on with; otherwise why not.
	// Open asks it for an input that lost a frame to damage, while its batch is
	// open. Without it, or when it refuses, what was lost is a hole.
	Reread func(input string, moved []Moved) ([]Position, error)
	// Damaged returns the record of damage. It may be nil.
	Damaged func(d Damage) *Entry
	// Gap appends the agent.gap record of a hole, open before agent.seq. Without
	// it holes are only told by Holes.
	Gap func(dst []byte, h Hole) []byte
	// KeyRotated returns the agent.key record of a new identity key. It may be nil.
	KeyRotated func(from, to ed25519.PublicKey) *Entry
	// Alarm returns the alert.raise record of a new epoch. It may be nil.
	Alarm func(f Fork) *Entry
	// DiskUsed returns bytes outside the buffer that count against MaxDisk. It may be nil.
	DiskUsed func() int64
	// Rested is called when nothing was appended for a while and the buffer has let go
	// of the memory that it kept for more. It may be nil.
	Rested func()
}

// Entry is one chunk ready to commit.
type Entry struct {
	Stream    seal.Stream
	Input     string // empty for the agent's own records
	Records   []byte // record lines, each open before agent.seq and followed by LF
	Lines     seal.Lines
	Ranges    []Range
	Positions []Position
	Parser    []byte // snapshot of the parser's state behind this entry
	// Loss: among Records there is one of what the source lost, which reading it
	// again would not bring back.
	Loss bool

	// FirstSeq is the agent.seq of the first of Records; the others follow by
	// one. Set when Append returns nil.
	FirstSeq uint64
}

// Resume is what an input goes on with.
type Resume struct {
	Positions []Position
	Parser    []byte
	Held      uint64
}

// Hole is a range that was committed but whose frame is damaged, found at Open.
type Hole struct {
	Stream     seal.Stream
	Input      string
	Generation string
	From, To   int64
}

// ErrClosed is returned by Append and Next once the buffer is closed or has failed.
var ErrClosed = errors.New("buffer is closed")

const (
	segmentSize  = 32 << 20 // begin another segment behind this, or behind a share of MaxDisk
	segmentShare = 8
	groupSize    = 4 << 20 // encode at most about this much before a sync
	groupEntries = 256
	scarceLook   = 100 * time.Millisecond
	sealQueue    = 4 // cut batches that wait for the sealer before Append blocks, while the key signs
)

// Buffer is safe for concurrent use.
type Buffer struct {
	dir    string
	cfg    Config
	full   int64 // size behind which a segment is full
	deps   Deps
	fs     durable.FS
	log    *slog.Logger
	space  space
	opened bool // a full disk is waited for
	// suspicious: recovery looks into the content of frames, not at their checksums alone.
	suspicious bool

	current atomic.Pointer[Config]   // what Reconfigure may change; in Reopen's Config too
	run     atomic.Pointer[seal.Run] // of what is appended now

	queue   chan *pending
	cutNow  chan cutRequest
	groups  chan *group
	free    chan *group
	cuts    *cutQueue
	closing chan struct{}
	decided chan struct{} // closed when every entry that will be durable is
	done    sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond // state below changed: space released, batch sealed, failure
	segments []*segment
	disk     int64 // bytes of segments and spool
	openSize int64 // compressed bytes of batches that are not sealed: they will be on the disk twice for a while
	failure  error
	closed   bool           // no more is appended
	ended    bool           // no more is sealed
	sealed   []*sealedBatch // not yet acknowledged by every output, in order
	cursors  map[string]*cursor
	skipped  map[string]*skips // by copy
	head     seal.Checkpoint   // newest
	cosigned witnessed
	lastSeal LastSeal
	oldest   time.Time // when the oldest open batch began; zero: none is open

	epoch       int        // the one at hand; does not change behind Open
	superseding sync.Mutex // guards superseded
	signedBy    string     // the identity key; does not change behind Open
	rotated     *cursor    // behind the batch that signed the identity in; nil: no rotation. Does not change behind Open
	treeless    bool       // hashes of the tree are missing; of the seal goroutine
	superseded  bool       // the note that the epoch may not go on is durable

	removing sync.Mutex // one at a time removes segments, so that the oldest goes first

	enc    encoder       // of the encode goroutine
	writer segmentWriter // of the write goroutine
	sealer sealer        // of the seal goroutine; of Shut behind it
	signs  signing       // like sealer
	// sealedAt is when the newest batch of this process was sealed; like sealer.
	sealedAt time.Time
	state    sealState // like sealer
	intent   *intent   // like sealer: what may be on the disk and is not carried out; nil between seals
	holes    []Hole
	notice   findings // of the start, for the snapshot that it begins with

	damaged int // stretches of segments found damaged; does not change behind Open
}

type pending struct {
	entry *Entry
	done  chan error
}

// Open recovers the buffer in cfg.Dir, making it when it is absent, and starts
// its work. Batches that an earlier process left open are sealed first. It waits
// for nothing: on a full disk it returns an error for which NoSpace is true, and
// may be called again.
func Open(cfg Config, deps Deps) (*Buffer, error) {
	b := newBuffer(cfg, deps)
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// Reopen opens the buffer of b, which has failed and was shut, in the same
// process: by the same recovery, which now looks into all content. When it
// returns an error it may be called again.
func (b *Buffer) Reopen() (*Buffer, error) {
	deps := b.deps
	deps.Run = *b.run.Load()
	again := newBuffer(*b.current.Load(), deps)
	again.suspicious, again.damaged = true, b.damaged
	again.space.inherit(&b.space)
	if err := again.open(); err != nil {
		return nil, err
	}
	return again, nil
}

func newBuffer(cfg Config, deps Deps) *Buffer {
	b := &Buffer{
		dir: cfg.Dir, cfg: cfg, full: min(segmentSize, cfg.MaxDisk/segmentShare), deps: deps, fs: deps.FS, log: deps.Log,
		queue: make(chan *pending, groupEntries), cutNow: make(chan cutRequest),
		groups: make(chan *group), free: make(chan *group, 2), cuts: newCutQueue(sealQueue),
		closing: make(chan struct{}), decided: make(chan struct{}), cursors: make(map[string]*cursor), skipped: make(map[string]*skips),
		space: newSpace(cfg.Dir, cfg.MaxDisk, deps),
	}
	b.changed = sync.NewCond(&b.mu)
	b.current.Store(&cfg)
	b.run.Store(&deps.Run)
	return b
}

func (b *Buffer) open() error {
	if err := b.makeFolders(); err != nil {
		return err
	}
	b.space.open()
	if b.deps.Keys != nil {
		var err error
		if b.deps.Identity, b.deps.Successor, err = b.deps.Keys(); err != nil {
			return err
		}
	}
	if err := b.guardKeys(); err != nil {
		return err
	}
	if err := b.recoverSeals(); err != nil {
		return fmt.Errorf("open buffer %s: %w", b.dir, err)
	}
	closed, err := b.recoverSegments()
	if err != nil {
		b.writer.abandon()
		return fmt.Errorf("open buffer %s: %w", b.dir, err)
	}
	b.recallSeal()
	b.opened = true
	b.free <- new(group)
	b.free <- new(group)
	b.done.Go(b.write)
	b.done.Go(func() { b.sealLoop(closed) })
	b.done.Go(b.encode)
	return nil
}

// makeFolders makes the folders and their entries durable. After a process that
// was killed, what recovery reads may be in the kernel's cache only, and nothing
// may be built on it before it is on the disk.
func (b *Buffer) makeFolders() error {
	for _, sub := range []string{"segments", "spool", "cursors", "ratchet", "quarantine", "tree", ""} {
		name := filepath.Join(b.dir, sub)
		if err := b.fs.MkdirAll(name, 0o700); err != nil {
			return fmt.Errorf("make buffer folder: %w", err)
		}
		if err := b.fs.SyncDir(name); err != nil {
			return fmt.Errorf("sync buffer folder: %w", err)
		}
	}
	return nil
}

// Resume returns where an input goes on. Call it before the input's first Append.
func (b *Buffer) Resume(input string) Resume {
	b.enc.mu.Lock()
	defer b.enc.mu.Unlock()
	s := b.enc.inputs[input]
	if s == nil {
		return Resume{}
	}
	r := Resume{Parser: s.Parser, Held: s.Held}
	for generation, token := range s.Positions {
		r.Positions = append(r.Positions, Position{Generation: generation, Token: token})
	}
	return r
}

// Holes returns the ranges whose frames were found damaged at Open.
func (b *Buffer) Holes() []Hole { return b.holes }

// Append returns nil when the entry is durable. It blocks while the disk cap is
// reached or the disk is full. Any error but ctx's is fatal for the buffer: shut
// it and open it again. After an error of ctx the entry may become durable all
// the same, and it and its slices stay the buffer's.
func (b *Buffer) Append(ctx context.Context, e *Entry) error {
	c, err := b.Submit(ctx, e)
	if err != nil {
		return err
	}
	return c.Wait(ctx)
}

// Commit is an entry on its way to the disk; the zero one is there already.
type Commit struct {
	b *Buffer
	p *pending
}

// Wait is the second half of Append. Call it once; the entry and its slices are
// the buffer's until it returns. The end of ctx matters while the disk is full
// alone: otherwise the outcome comes soon.
func (c Commit) Wait(ctx context.Context) error {
	if c.p == nil {
		return nil
	}
	select {
	case err := <-c.p.done:
		return err
	case <-ctx.Done():
	case <-c.b.decided:
	}
	look := time.NewTicker(scarceLook)
	defer look.Stop()
	for {
		select {
		case err := <-c.p.done:
			return err
		case <-c.b.decided:
			select {
			case err := <-c.p.done:
				return err
			default:
				return c.b.closedError() // it was queued behind the end
			}
		case <-look.C:
			if c.b.space.scarce.Load() {
				return ctx.Err()
			}
		}
	}
}

// Submit is the first half of Append: the entry has its place in the commit
// order, behind all that were submitted before.
func (b *Buffer) Submit(ctx context.Context, e *Entry) (Commit, error) {
	b.mu.Lock()
	err := b.usable()
	b.mu.Unlock()
	if err != nil {
		return Commit{}, err
	}
	p := &pending{entry: e, done: make(chan error, 1)}
	select {
	case b.queue <- p:
		return Commit{b: b, p: p}, nil
	case <-ctx.Done():
		return Commit{}, ctx.Err()
	case <-b.closing:
		return Commit{}, b.closedError()
	}
}

// Admit blocks while the disk cap is reached. Who appends what was read asks before
// it parses: what waits is not bound to a configuration yet. Records that are few,
// those of the agent itself and those that a parser gives up, do not ask.
func (b *Buffer) Admit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.overCap() {
		stop := context.AfterFunc(ctx, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.changed.Broadcast()
		})
		defer stop()
		b.log.WarnContext(ctx, "reading stops: buffer.max_disk is reached; it goes on when outputs acknowledge, or with a higher max_disk",
			"used_bytes", b.used(), "max_disk_bytes", b.current.Load().MaxDisk)
		b.mu.Unlock()
		err := b.release()
		b.mu.Lock()
		if err != nil {
			return err
		}
		for b.overCap() && ctx.Err() == nil && b.usable() == nil {
			b.changed.Wait()
		}
		b.log.InfoContext(ctx, "reading goes on", "used_bytes", b.used())
	}
	if err := b.usable(); err != nil {
		return err
	}
	return ctx.Err()
}

// usable returns why nothing can be appended any more. b.mu is held.
func (b *Buffer) usable() error {
	switch {
	case b.failure != nil:
		return b.failure
	case b.closed:
		return ErrClosed
	}
	return nil
}

func (b *Buffer) used() int64 {
	used := b.disk + b.openSize
	if b.deps.DiskUsed != nil {
		used += b.deps.DiskUsed()
	}
	return used
}

func (b *Buffer) overCap() bool { return b.used() >= b.current.Load().MaxDisk }

// released notes that bytes left the disk. b.mu is held.
func (b *Buffer) released(bytes int64) {
	b.disk -= bytes
	b.changed.Broadcast()
}

// fail makes err the answer to everything from now on. The first one counts.
func (b *Buffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure == nil {
		b.failure = err
		if !b.closed {
			close(b.closing)
		}
	}
	b.changed.Broadcast()
}

func (b *Buffer) closedError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure != nil {
		return b.failure
	}
	return ErrClosed
}

// Failed returns a channel that is closed when the buffer was closed or can not
// go on, and Err then says why.
func (b *Buffer) Failed() <-chan struct{} { return b.closing }

// Err returns what made the buffer fail, nil while it works or after Close.
func (b *Buffer) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

// Flush cuts all open batches and returns when they are sealed.
func (b *Buffer) Flush(ctx context.Context) error {
	if err := b.cutAll(ctx, cutRequest{done: make(chan struct{})}); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	for b.openSize > 0 && b.failure == nil && !b.closed && ctx.Err() == nil {
		b.changed.Wait()
	}
	if b.failure == nil && b.openSize > 0 && b.closed {
		return ErrClosed
	}
	return errors.Join(b.failure, ctx.Err())
}

// Shut stops the appending, seals what is open and, when clean, a batch of kind
// close: the log says that it ended on purpose. When ctx ends before all is
// sealed, or the disk is full, the rest is sealed at the next start; the close is
// sealed all the same, from the reserve if need be. Next and Acknowledge work
// on. A second call does nothing.
func (b *Buffer) Shut(ctx context.Context, clean bool) error {
	var err error
	if clean {
		err = b.Flush(ctx)
	}
	b.mu.Lock()
	if b.ended {
		defer b.mu.Unlock()
		return b.failure
	}
	if !b.closed && b.failure == nil {
		b.closed = true
		close(b.closing)
	}
	b.changed.Broadcast()
	b.mu.Unlock()
	b.done.Wait()
	if failure := b.Err(); failure != nil {
		err = failure
	} else if clean {
		err = errors.Join(err, b.sealClose())
	}
	b.mu.Lock()
	b.ended = true
	b.changed.Broadcast()
	b.mu.Unlock()
	return err
}

func removeIfThere(fsys durable.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
