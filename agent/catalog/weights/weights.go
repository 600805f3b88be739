// Package weights knows what lies in the files that model servers load: their
// digest, and what manifests beside them say.
//
// Its promises: files are hashed in the background, slowly, and once for each
// content that the file system can tell apart, over restarts too; a file that
// changes while it is read gives no digest; and what is known comes with the
// time of the last change to anything that leads to it, so that the catalog can
// tell whether a running server loaded it.
package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/internal/durable"
)

// Config comes from the user.
type Config struct {
	Paths []string // files and folders
	Cache string   // file that remembers digests
	Rate  int64    // bytes hashed a second; 0: DefaultRate
}

// Deps come from code.
type Deps struct {
	FS  durable.FS
	Log *slog.Logger
	Now func() time.Time
}

const (
	// DefaultRate leaves disk and processor to the server: 140 GB take 40 minutes.
	DefaultRate = 64 << 20
	// every is how often the files are looked at.
	every = time.Minute
	// settle is how long a file must have been left alone before it is hashed:
	// one that is being written is not worth reading.
	settle = 2 * time.Second
)

// Watcher implements catalog.Weights.
type Watcher struct {
	config Config
	deps   Deps
	cache  *cache

	mu     sync.Mutex // guards what follows
	states map[string]catalog.WeightsState
	failed map[string]string // paths that can not be read, and why: logged once
}

// New returns a watcher that remembers what an earlier one hashed.
func New(config Config, deps Deps) *Watcher {
	if config.Rate == 0 {
		config.Rate = DefaultRate
	}
	return &Watcher{
		config: config, deps: deps, cache: newCache(config.Cache, deps),
		states: make(map[string]catalog.WeightsState), failed: make(map[string]string),
	}
}

// Look returns what is known of one of the paths.
func (w *Watcher) Look(path string) catalog.WeightsState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.states[path]
}

// Run looks at the files until ctx ends. What it finds is told by changed.
func (w *Watcher) Run(ctx context.Context, changed func()) {
	w.cache.load(ctx)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		next := every
		for _, path := range w.config.Paths {
			if w.look(ctx, path, changed) {
				next = settle
			}
		}
		w.cache.save(ctx)
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// look brings what is known of a path up to date, and hashes what is new. It
// returns true when something changed a moment ago: look again soon.
func (w *Watcher) look(ctx context.Context, path string, changed func()) (soon bool) {
	f, err := survey(path)
	if err != nil {
		w.fail(ctx, path, err)
		return false
	}
	state := catalog.WeightsState{Known: true, Changed: f.changed}
	f.describe(&state)
	state.Digest, state.Pending = w.known(f)
	w.learn(path, state, changed)
	if !state.Pending {
		return false
	}
	if age := w.deps.Now().Sub(f.changed); age >= 0 && age < settle {
		return true
	}
	for i := range f.files {
		if err := w.digest(ctx, &f.files[i]); err != nil {
			if ctx.Err() == nil {
				w.fail(ctx, path, err)
			}
			return errors.Is(err, errChanged)
		}
	}
	if state.Digest, state.Pending = w.known(f); !state.Pending {
		w.cache.save(ctx)
		w.learn(path, state, changed)
	}
	return false
}

// learn takes a new state, and tells when it says something new.
func (w *Watcher) learn(path string, state catalog.WeightsState, changed func()) {
	w.mu.Lock()
	before := w.states[path]
	w.states[path] = state
	delete(w.failed, path)
	w.mu.Unlock()
	if before != state {
		changed()
	}
}

// fail forgets what was known of a path, and says why once.
func (w *Watcher) fail(ctx context.Context, path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.states, path)
	if w.failed[path] == err.Error() {
		return
	}
	w.failed[path] = err.Error()
	w.deps.Log.WarnContext(ctx, "weights of the model catalog can not be read, trying again", "weights", path, "error", err)
}

// known returns the digest of what was surveyed when every file was hashed.
func (w *Watcher) known(f *found) (digest string, pending bool) {
	sums := make([]string, len(f.files))
	for i := range f.files {
		sum, hashed := w.cache.get(f.files[i].key)
		if !hashed {
			return "", true
		}
		sums[i] = sum
	}
	if len(sums) == 0 {
		return "", false
	}
	return "sha256:" + f.combine(sums), false
}

// combine is the digest of several files: SHA-256 over sorted lines
// "hex  size  relpath", each with its LF. That of a single file is its own.
func (f *found) combine(sums []string) string {
	if f.single {
		return sums[0]
	}
	lines := make([]string, len(sums))
	for i, sum := range sums {
		lines[i] = fmt.Sprintf("%s  %d  %s\n", sum, f.files[i].size, f.files[i].rel)
	}
	slices.Sort(lines)
	total := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(total[:])
}

var errChanged = errors.New("it changed while it was read")

// digest hashes a file that is not known yet, at the configured rate.
func (w *Watcher) digest(ctx context.Context, f *file) error {
	if _, known := w.cache.get(f.key); known {
		return nil
	}
	from, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("open weights: %w", err)
	}
	defer func() { _ = from.Close() }() // it was only read
	if err := sameFile(from, f); err != nil {
		return err
	}
	sum := sha256.New()
	if err := w.copySlowly(ctx, sum, from); err != nil {
		return fmt.Errorf("read weights %s: %w", f.path, err)
	}
	if err := sameFile(from, f); err != nil {
		return err
	}
	w.cache.put(f.key, hex.EncodeToString(sum.Sum(nil)))
	return nil
}

func sameFile(open *os.File, f *file) error {
	info, err := open.Stat()
	if err == nil && keyOf(f.path, info) != f.key {
		err = errChanged
	}
	if err != nil {
		return fmt.Errorf("read weights %s: %w", f.path, err)
	}
	return nil
}

// copySlowly feeds a hash at the configured rate.
func (w *Watcher) copySlowly(ctx context.Context, to hash.Hash, from io.Reader) error {
	const step = 1 << 20
	buffer := make([]byte, step)
	began, read := time.Now(), int64(0)
	for ctx.Err() == nil {
		n, err := from.Read(buffer)
		to.Write(buffer[:n])
		read += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		due := began.Add(time.Duration(float64(read) / float64(w.config.Rate) * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
	return ctx.Err()
}
