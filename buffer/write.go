package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
)

// write is the goroutine that makes groups durable: one write, one sync, then
// the answers. Its return value of success is the answer to Append.
func (b *Buffer) write() {
	defer b.cuts.end()
	defer close(b.decided)
	w := &b.writer
	defer w.close()
	var ended error // nothing is written behind a group that was not
	for g := range b.groups {
		if ended == nil {
			if ended = b.Err(); ended == nil {
				ended = w.commit(g)
			}
			if ended != nil && !errors.Is(ended, ErrClosed) {
				b.fail(ended)
			}
		}
		if ended != nil {
			b.answer(g, ended)
			continue
		}
		for _, p := range g.waiting {
			p.done <- nil
		}
		for _, t := range g.cut {
			b.cuts.put(t)
		}
		for _, reply := range g.flushed {
			close(reply)
		}
		b.free <- g
	}
}

func (b *Buffer) answer(g *group, err error) {
	for _, p := range g.waiting {
		p.done <- err
	}
	for _, reply := range g.flushed {
		close(reply)
	}
	b.free <- g
}

// segmentWriter appends groups to the current segment file.
type segmentWriter struct {
	b    *Buffer
	file durable.File
	id   uint64
	size int64
}

// commit returns nil when the group is durable. A full disk is waited for; a
// failed sync is final, because what the kernel then holds is unknown: the
// buffer fails, and the unacknowledged tail is read again from the sources.
func (w *segmentWriter) commit(g *group) error {
	b := w.b
	if g.fresh {
		if err := w.create(g.segment.id); err != nil {
			return err
		}
	}
	if err := b.untilSpace(int64(len(g.buf)), func() error { return w.append(g.buf) }); err != nil {
		return fmt.Errorf("write segment %s: %w", segmentName(w.id), err)
	}
	if err := w.file.Sync(); err != nil {
		if noSpace(err) && b.opened {
			b.space.shortage(err, int64(len(g.buf)))
		}
		return fmt.Errorf("sync segment %s: %w", segmentName(w.id), errors.Join(err, w.tear()))
	}
	if g.fresh {
		if err := b.fs.SyncDir(filepath.Dir(b.segmentPath(w.id))); err != nil {
			return fmt.Errorf("sync folder of segment %s: %w", segmentName(w.id), errors.Join(err, w.tear()))
		}
	}
	w.size += int64(len(g.buf))
	b.mu.Lock()
	b.disk += int64(len(g.buf))
	g.segment.size = w.size
	g.segment.durable = true
	b.mu.Unlock()
	if g.fresh {
		return b.removeSegments()
	}
	return nil
}

func (w *segmentWriter) create(id uint64) error {
	w.close()
	name := w.b.segmentPath(id)
	flag := os.O_RDWR | os.O_CREATE | os.O_EXCL
	err := w.b.untilSpace(0, func() error {
		f, err := w.b.fs.OpenFile(name, flag, 0o600)
		if err == nil {
			w.file, w.id, w.size = f, id, 0
		}
		flag = os.O_RDWR | os.O_CREATE | os.O_TRUNC // what failed may have made it
		return err
	})
	if err != nil {
		return fmt.Errorf("create segment %s: %w", segmentName(id), err)
	}
	return nil
}

// append writes a group at the end of the segment, or takes back what it could
// write of it.
func (w *segmentWriter) append(group []byte) error {
	_, err := w.file.WriteAt(group, w.size)
	if err == nil {
		return nil
	}
	if tornErr := w.tear(); tornErr != nil {
		return fmt.Errorf("%v; cut it off: %w", err, tornErr) // not a full disk any more
	}
	return err
}

// tear cuts off what failed to become durable. The kernel may go on to show
// what the disk has lost, and call it clean. Should the cut fail too, recovery
// writes the last group again before it builds on it.
func (w *segmentWriter) tear() error { return w.file.Truncate(w.size) }

func (w *segmentWriter) close() {
	if w.file != nil {
		_ = w.file.Close() // everything in it is synced
		w.file = nil
	}
}

// abandon ends the writer of a buffer that could not be opened: a segment of
// which nothing is durable is not left behind.
func (w *segmentWriter) abandon() {
	if w.file == nil {
		return
	}
	w.close()
	if w.size == 0 {
		_ = removeIfThere(w.b.fs, w.b.segmentPath(w.id)) // an empty segment does no harm
	}
}
