package file

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A watcher turns file-system events into hints. Everything it says may be
// late, repeated or missing: sizes are polled and directories are listed
// anyway, so without events the input is slower, not wrong.
//
// The goroutine that drains events never adds or removes a watch, because
// fsnotify holds one lock for both.
type watcher struct {
	log  *slog.Logger
	fs   *fsnotify.Watcher // nil: polling only
	open func(name string) (earlyFile, arrived)

	// C carries one token when there are hints to take.
	C chan struct{}

	mu       sync.Mutex
	hints    hints
	early    []earlyFile
	vanished []string // names of files that went before they could be opened

	arrivals arrivals // of the draining goroutine
	busy     bool     // so is this: since the last pause nothing happened but that files were written to

	relaxed atomic.Bool   // who takes the hints looks anyway at what is written to: see relax
	stirred chan struct{} // carries one token when it is not any more

	dirs    map[string]fileID // watched now; of the goroutine that calls watch
	deaf    map[string]bool   // of them, those in which things happen that no event tells
	refused bool              // a refusal was logged
	closing chan struct{}
	drained chan struct{} // closed when the draining goroutine has ended
}

// watchedDir is a directory whose entries matter, before it was listed.
type watchedDir struct {
	id       fileID
	modified int64
}

// hints is what happened since the last take.
type hints struct {
	written map[string]struct{} // names of files that were written to
	look    bool                // names came or went: list the directories
	all     bool                // too much happened to say what
	lost    bool                // a watched directory may have gone, its watch with it
}

const (
	// maxHints bounds the memory of names not yet taken.
	maxHints = 4096
	// drainFor and drainPause let the kernel join the write events of a busy
	// log while nobody drains: 50,000 events/s would cost a tenth of a core.
	drainFor   = 2 * time.Millisecond
	drainPause = 10 * time.Millisecond
	// drainRest is the pause where events say nothing but what is known.
	drainRest = 40 * time.Millisecond
)

// newWatcher never fails: when start does, the input polls. open is called with
// every name that came into a watched directory.
func newWatcher(
	ctx context.Context, log *slog.Logger, start func() (*fsnotify.Watcher, error), open func(name string) (earlyFile, arrived),
) *watcher {
	w := &watcher{
		log: log, open: open, C: make(chan struct{}, 1), dirs: map[string]fileID{}, deaf: map[string]bool{}, arrivals: arrivals{},
		closing: make(chan struct{}), drained: make(chan struct{}), stirred: make(chan struct{}, 1),
	}
	w.hints.written = map[string]struct{}{}
	events, err := start()
	if err != nil {
		log.WarnContext(ctx, "no file-system events, polling instead", "reason", err)
		close(w.drained)
		return w
	}
	w.fs = events
	go w.drain()
	return w
}

// close ends the draining goroutine and waits for it.
func (w *watcher) close() {
	close(w.closing)
	if w.fs != nil {
		if err := w.fs.Close(); err != nil {
			w.log.Debug("close file-system events", "reason", err)
		}
	}
	<-w.drained
	for _, e := range w.early {
		_ = e.file.close() // nothing was written
	}
}

// drain takes events in short bursts until the watcher is closed.
func (w *watcher) drain() {
	defer close(w.drained)
	for w.receive(nil) {
		burst := time.NewTimer(drainFor)
		for w.receive(burst.C) {
			continue
		}
		pause := drainPause
		if w.busy && w.relaxed.Load() {
			pause = drainRest
		}
		w.busy = true
		burst.Reset(pause)
		select {
		case <-burst.C:
		case <-w.stirred:
		case <-w.closing:
			return
		}
	}
}

// relax says whether the files that are written to are looked at without events, and
// nothing came into or left the directories: a log that is written to all the time
// then wakes nobody more often than its lines are read.
func (w *watcher) relax(calm bool) {
	if w.relaxed.Swap(calm) && !calm {
		select {
		case w.stirred <- struct{}{}:
		default:
		}
	}
}

// receive notes one event; false when stop fired first or nothing will come any more.
func (w *watcher) receive(stop <-chan time.Time) bool {
	select {
	case event, open := <-w.fs.Events:
		if open {
			w.busy = w.busy && event.Op == fsnotify.Write
			w.note(event)
		}
		return open
	case err, open := <-w.fs.Errors:
		if open {
			w.noteError(err)
		}
		return open
	case <-stop:
		return false
	case <-w.closing:
		return false
	}
}

func (w *watcher) note(event fsnotify.Event) {
	if event.Op == 0 {
		return
	}
	var early earlyFile
	var what arrived
	if event.Has(fsnotify.Create) {
		early, what = w.open(event.Name)
	}
	vanished := w.arrive(event, early.st.id, what)
	w.mu.Lock()
	if what == opened {
		w.addEarly(early)
	}
	if vanished && len(w.vanished) < maxHints {
		w.vanished = append(w.vanished, event.Name)
	}
	switch {
	case event.Op != fsnotify.Write:
		w.hints.look = true
		w.hints.lost = w.hints.lost || event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)
	case len(w.hints.written) < maxHints:
		w.hints.written[event.Name] = struct{}{}
	default:
		w.hints.all = true
	}
	w.mu.Unlock()
	w.wake()
}

// arrive keeps account of the files that come and go. True: one went before it
// could be opened.
func (w *watcher) arrive(event fsnotify.Event, id fileID, what arrived) (vanished bool) {
	switch {
	case event.Has(fsnotify.Create) && what == unwanted, event.Has(fsnotify.Rename):
		w.arrivals.left(event.Name)
	case event.Has(fsnotify.Create):
		return w.arrivals.came(event.Name, id)
	case event.Has(fsnotify.Remove):
		return w.arrivals.went(event.Name)
	case event.Has(fsnotify.Write):
		w.arrivals.wrote(event.Name)
	}
	return false
}

// addEarly keeps an open file until the next look; of too many it closes the
// oldest. The caller holds the lock.
func (w *watcher) addEarly(e earlyFile) {
	if len(w.early) == maxEarly {
		_ = w.early[0].file.close() // nothing was written
		w.early = slices.Delete(w.early, 0, 1)
	}
	w.early = append(w.early, e)
}

// keepEarly puts a file back that was taken.
func (w *watcher) keepEarly(e earlyFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addEarly(e)
}

// takeEarly hands over the files that were opened since it was called last, and
// the names of those that went before they could be.
func (w *watcher) takeEarly() (early []earlyFile, vanished []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	early, vanished = w.early, w.vanished
	w.early, w.vanished = nil, nil
	return early, vanished
}

func (w *watcher) noteError(err error) {
	w.mu.Lock()
	w.hints.all, w.hints.look, w.hints.lost = true, true, true
	w.mu.Unlock()
	// An overflow is no news for people: the answer to it is a full look.
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		w.log.Warn("file-system events disturbed, listing everything", "reason", err)
	}
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// take hands over the hints and starts a new set. written is called with the
// name of each file that was written to.
func (w *watcher) take(written func(name string)) (look, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.hints.written {
		written(name)
	}
	clear(w.hints.written)
	look, all = w.hints.look, w.hints.all
	w.hints.look, w.hints.all = false, false
	return look, all
}

// watch makes dirs the watched directories. A directory that was replaced
// under its name is watched anew. It returns true when one was added: what came
// into it after it was listed and before it was watched, no event tells.
func (w *watcher) watch(ctx context.Context, dirs map[string]watchedDir) (added bool) {
	if w.fs == nil {
		return false
	}
	w.forgetLost()
	for name, id := range w.dirs {
		if now, ok := dirs[name]; ok && now.id == id {
			continue
		}
		delete(w.dirs, name)
		delete(w.deaf, name)
		if err := w.fs.Remove(name); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			w.log.DebugContext(ctx, "stop watching directory", "path", name, "reason", err)
		}
	}
	for name, dir := range dirs {
		if _, ok := w.dirs[name]; ok {
			continue
		}
		if err := w.fs.Add(name); err != nil {
			// The limit of watches is the usual reason; the path is listed
			// again and again anyway, and the next look tries once more.
			if !w.refused {
				w.refused = true
				w.log.WarnContext(ctx, "directory can not be watched, polling it", "path", name, "reason", err)
			}
			continue
		}
		w.dirs[name] = dir.id
		if !tellsAll(name) {
			w.deaf[name] = true
		}
		added = true
	}
	return added
}

// forgetLost drops the directories whose watch ended with them: a new
// directory of the same name may even have the same inode.
func (w *watcher) forgetLost() {
	w.mu.Lock()
	lost := w.hints.lost
	w.hints.lost = false
	w.mu.Unlock()
	if !lost {
		return
	}
	kept := w.fs.WatchList()
	for name := range w.dirs {
		if !slices.Contains(kept, name) {
			delete(w.dirs, name)
			delete(w.deaf, name)
		}
	}
}

// covers tells whether events tell of everything that happens in dirs.
func (w *watcher) covers(dirs map[string]watchedDir) bool {
	return w != nil && w.fs != nil && len(dirs) == len(w.dirs) && len(w.deaf) == 0
}
