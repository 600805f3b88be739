package file

import (
	"path/filepath"
	"time"
)

// rest decides, at the end of a look, whether events and a glance at the
// directories are enough for a while. Listing a thousand idle files every
// second would cost a hundredth of a processor.
func (f *follower) rest(dirs map[string]watchedDir) {
	f.dirs, f.glanced = dirs, f.looked
	f.resting = f.watch.covers(dirs) && !f.unsettled && len(f.succeeded) == 0
	for _, s := range f.suspects {
		f.resting = f.resting && s.size == 0 // else it waits for its time
	}
	if f.resting {
		for _, g := range f.generations {
			if !g.attached && (!g.over || g.file != nil || !g.missing.IsZero()) {
				f.resting = false
				return
			}
		}
	}
	if f.resting && len(f.queue) == 0 && len(f.hot) == 0 && len(f.onWay) == 0 {
		f.buffer, f.chunk.Lines = nil, nil // nothing came for a while
	}
}

// glance sees what no event may have told: a directory that was replaced,
// mounted over, or that names came into.
func (f *follower) glance(now time.Time) {
	f.glanced = now
	f.lookDue = f.lookDue || f.stirs()
}

// maxGlances is in how many directories is looked between two polls whether they are
// still as they were.
const maxGlances = 8

// stirs tells whether names came into or left the directories since they were listed.
func (f *follower) stirs() bool {
	for name, before := range f.dirs {
		st, err := statPath(name)
		if err != nil || st.id != before.id || st.modified != before.modified {
			return true
		}
	}
	return false
}

// stir ends the rest: a file was written to that is not followed, perhaps
// because it was too old.
func (f *follower) stir(name string) {
	if _, packed := plainName(name); f.resting && !packed && f.config.wants(filepath.Clean(name)) {
		f.resting = false
	}
}
