package endtoend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// storms are the ways in which logs are rotated, each as one turn.
var storms = map[string]storm{
	"rename": {turn: (*lineWriter).renameNumbered},
	"rename by date": {turn: func(w *lineWriter) {
		w.rename(fmt.Sprintf("%s-20261121-%010d", w.name, w.turns))
	}},
	"rename by date before the extension": {turn: func(w *lineWriter) {
		w.rename(w.path(fmt.Sprintf("access-20261121-%010d.log", w.turns)))
	}},
	"rename, writer goes on": {turn: (*lineWriter).renameLate},
	"olddir": {turn: func(w *lineWriter) {
		w.rename(w.path(fmt.Sprintf("old/access.log-20261121-%010d", w.turns)))
	}},
	"gzip":             {turn: (*lineWriter).renameAndPack},
	"gzip later":       {turn: (*lineWriter).renameAndPackLater},
	"zstd":             {turn: (*lineWriter).renameAndPackZstd},
	"copytruncate":     {turn: (*lineWriter).copyTruncate},
	"copy and gzip":    {turn: (*lineWriter).copyTruncateAndPack},
	"copy and delete":  {turn: (*lineWriter).copyAndDelete},
	"link and unlink":  {turn: (*lineWriter).linkAndUnlink},
	"editor":           {turn: (*lineWriter).edit},
	"all of them":      {turn: (*lineWriter).any},
	"renames followed": {turn: (*lineWriter).renameNumbered, glob: "access.log*"},
	"gzip followed":    {turn: (*lineWriter).renameAndPack, glob: "access.log*"},
	"copies followed":  {turn: (*lineWriter).copyTruncate, glob: "access.log*"},
	"all followed":     {turn: (*lineWriter).any, glob: "access.log*"},
	"symbolic link":    {turn: (*lineWriter).switchLink, linked: true},
	"kubernetes":       {turn: (*lineWriter).renamePod, pod: true},
	"delete":           {turn: (*lineWriter).deleteLog, destroys: true},
}

// lineWriter writes numbered lines into a log and rotates it.
type lineWriter struct {
	t       *testing.T
	dir     string
	name    string
	file    *os.File
	out     *bufio.Writer
	lines   int
	turns   int
	removed []span // lines in files that were deleted
	current span
	done    chan struct{}
	linked  bool
	real    string // what the symbolic link of a pod leads to
	pace    *time.Ticker
	random  *rand.Rand
	seen    atomic.Bool // what was rotated away before the first start is in nobody's glob
}

// span is a range of lines.
type span struct{ from, to int }

// keep is how many rotated files are left in place.
const keep = 200

func (r storm) startWriter(ctx context.Context, t *testing.T, dir string) *lineWriter {
	w := &lineWriter{
		t: t, dir: dir, name: filepath.Join(dir, "access.log"), done: make(chan struct{}), linked: r.linked,
		random: rand.New(rand.NewPCG(*stormSeed, 7)),
	}
	w.check(os.Mkdir(w.path("old"), 0o700))
	if r.pod {
		w.real = w.path("old/0.log")
		w.check(os.Symlink(w.real, w.name))
	}
	w.open()
	go func() {
		defer close(w.done)
		w.pace = time.NewTicker(10 * time.Millisecond)
		defer w.pace.Stop()
		for ctx.Err() == nil && !t.Failed() {
			for range 5 + w.random.IntN(50) { // ticks a file
				w.tick()
			}
			if ctx.Err() == nil && w.seen.Load() {
				w.turns++
				r.turn(w)
			}
		}
		w.check(w.file.Close())
	}()
	return w
}

func (w *lineWriter) path(name string) string { return filepath.Join(w.dir, name) }

func (w *lineWriter) check(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

// tick writes what is due.
func (w *lineWriter) tick() {
	n := *stormRate / 100
	_, err := w.out.Write(accessLines(w.lines, n))
	w.check(err)
	w.lines += n
	w.current.to = w.lines
	w.check(w.out.Flush())
	<-w.pace.C
}

// open opens a new log.
func (w *lineWriter) open() {
	name := w.name
	if w.real != "" {
		name = w.real
	}
	if w.linked {
		name = w.path(fmt.Sprintf("old/access.%d.log", w.turns))
	}
	var err error
	w.file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	w.check(err)
	w.out = bufio.NewWriter(w.file)
	w.current = span{w.lines, w.lines}
	if w.linked {
		w.check(os.Symlink(name, w.path("new")))
		w.check(os.Rename(w.path("new"), w.name))
	}
}

func (w *lineWriter) reopen() {
	w.check(w.file.Close())
	w.open()
}

func (w *lineWriter) rename(to string) {
	w.check(os.Rename(w.name, to))
	w.reopen()
}

// free moves access.log.1 on to .2 and so on, and returns the name that has
// become free.
func (w *lineWriter) free() string {
	for n := keep; n > 1; n-- {
		for _, suffix := range []string{"", ".gz", ".zst"} {
			err := os.Rename(fmt.Sprintf("%s.%d%s", w.name, n-1, suffix), fmt.Sprintf("%s.%d%s", w.name, n, suffix))
			if !os.IsNotExist(err) {
				w.check(err)
			}
		}
	}
	return w.name + ".1"
}

func (w *lineWriter) renameNumbered() { w.rename(w.free()) }

// renameLate goes on in the rotated file for a while.
func (w *lineWriter) renameLate() {
	w.check(os.Rename(w.name, w.free()))
	for range w.turns % 20 {
		w.tick()
	}
	w.reopen()
}

func (w *lineWriter) renameAndPack() {
	w.renameNumbered()
	w.pack(w.name+".1", ".gz")
}

func (w *lineWriter) renameAndPackZstd() {
	w.renameNumbered()
	w.pack(w.name+".1", ".zst")
}

// renameAndPackLater is logrotate's delaycompress.
func (w *lineWriter) renameAndPackLater() {
	w.renameNumbered()
	if _, err := os.Stat(w.name + ".2"); err == nil {
		w.pack(w.name+".2", ".gz")
	}
}

// renamePod is the kubelet's: a stable link leads to 0.log, which is renamed by
// time; what was rotated before is compressed.
func (w *lineWriter) renamePod() {
	rotated := func(turn int) string { return fmt.Sprintf("%s.20261121-%010d", w.real, turn) }
	w.check(os.Rename(w.real, rotated(w.turns)))
	w.reopen()
	if w.turns > 1 {
		w.pack(rotated(w.turns-1), ".gz")
	}
}

// pack does what gzip(1) and zstd --rm do.
func (w *lineWriter) pack(name, suffix string) {
	info, err := os.Stat(name)
	w.check(err)
	in, err := os.Open(name)
	w.check(err)
	out, err := os.Create(name + suffix)
	w.check(err)
	var z io.WriteCloser
	if suffix == ".gz" {
		z, err = gzip.NewWriterLevel(out, gzip.BestSpeed)
	} else {
		z, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	}
	w.check(err)
	_, err = io.Copy(z, in)
	w.check(err)
	w.check(z.Close())
	w.check(out.Close())
	w.check(in.Close())
	w.check(os.Chtimes(name+suffix, info.ModTime(), info.ModTime()))
	w.check(os.Remove(name))
}

// copyTruncate is logrotate's, of a writer that does not write meanwhile:
// what it wrote between copying and truncating nobody could save.
func (w *lineWriter) copyTruncate() {
	w.copyTo(w.free())
	w.check(os.Truncate(w.name, 0))
	w.current.from = w.lines
}

func (w *lineWriter) copyTruncateAndPack() {
	w.copyTruncate()
	w.pack(w.name+".1", ".gz")
}

func (w *lineWriter) copyAndDelete() {
	w.copyTo(w.free())
	w.check(os.Remove(w.name))
	w.reopen()
}

func (w *lineWriter) copyTo(name string) {
	in, err := os.Open(w.name)
	w.check(err)
	out, err := os.Create(name)
	w.check(err)
	_, err = io.Copy(out, in)
	w.check(err)
	w.check(out.Close())
	w.check(in.Close())
}

// linkAndUnlink is a rename in two steps: for a while the file has both names.
func (w *lineWriter) linkAndUnlink() {
	w.check(os.Link(w.name, w.free()))
	w.check(os.Remove(w.name))
	w.reopen()
}

// edit writes the log anew under another name and moves it over the log, as
// sed -i does; now and then it is rotated, or it would grow for ever.
func (w *lineWriter) edit() {
	if w.turns%4 == 0 {
		w.renameNumbered()
		return
	}
	w.copyTo(w.path("edited"))
	w.check(os.Rename(w.path("edited"), w.name))
	from := w.current.from
	w.reopen()
	w.current.from = from
}

// any is one of the turns that destroy nothing.
func (w *lineWriter) any() {
	turns := []func(*lineWriter){
		(*lineWriter).renameNumbered, (*lineWriter).renameLate, (*lineWriter).renameAndPack, (*lineWriter).renameAndPackLater,
		(*lineWriter).copyTruncate, (*lineWriter).copyTruncateAndPack, (*lineWriter).copyAndDelete, (*lineWriter).linkAndUnlink,
	}
	turns[w.random.IntN(len(turns))](w)
}

func (w *lineWriter) switchLink() { w.reopen() }

func (w *lineWriter) deleteLog() {
	w.check(os.Remove(w.name))
	w.removed = append(w.removed, w.current)
	w.reopen()
}
