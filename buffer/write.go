package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

// spaceRetry is how often a write that found the disk full is tried again.
const spaceRetry = time.Second

// write is the goroutine that makes groups durable: one write, one sync, then
// the answers. Its return value of success is the answer to Append.
func (b *Buffer) write() {
	defer close(b.cut)
	defer close(b.decided)
	w := &b.writer
	defer w.close()
	for g := range b.groups {
		if err := b.Err(); err != nil {
			b.answer(g, err)
			continue
		}
		if err := w.commit(g); err != nil {
			b.fail(err)
			b.answer(g, err)
			continue
		}
		for _, p := range g.waiting {
			p.done <- nil
		}
		for _, t := range g.cut {
			b.cut <- t
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
	size int64
}

// commit returns nil when the group is durable. A full disk is waited for; a
// failed sync is final, because what the kernel then holds is unknown: the
// unacknowledged tail is read again from the sources after a restart.
func (w *segmentWriter) commit(g *group) error {
	if g.fresh {
		if err := w.create(g.segment.id); err != nil {
			return err
		}
	}
	if err := w.append(g); err != nil {
		return fmt.Errorf("write segment %s: %w", segmentName(g.segment.id), err)
	}
	if err := w.file.Sync(); err != nil {
		// The kernel may go on to show what the disk has lost, and call it clean:
		// take it out of sight, so that a restart does not build on it.
		return fmt.Errorf("sync segment %s: %w", segmentName(g.segment.id), errors.Join(err, w.file.Truncate(w.size)))
	}
	if g.fresh {
		if err := w.b.fs.SyncDir(filepath.Dir(w.b.segmentPath(g.segment.id))); err != nil {
			return fmt.Errorf("sync folder of segment %s: %w", segmentName(g.segment.id), err)
		}
	}
	w.size += int64(len(g.buf))
	b := w.b
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
	flag := os.O_RDWR | os.O_CREATE | os.O_EXCL
	for {
		f, err := w.b.fs.OpenFile(w.b.segmentPath(id), flag, 0o600)
		if err == nil {
			w.file, w.size = f, 0
			return nil
		}
		if !noSpace(err) || !w.b.waitForDisk(err) {
			return fmt.Errorf("create segment %s: %w", segmentName(id), err)
		}
		flag = os.O_RDWR | os.O_CREATE | os.O_TRUNC // what failed may have made it
	}
}

// append writes the group at the end of the segment. After a full disk it
// writes the same bytes to the same place again.
func (w *segmentWriter) append(g *group) error {
	for {
		_, err := w.file.WriteAt(g.buf, w.size)
		if err == nil || !noSpace(err) {
			return err
		}
		if truncateErr := w.file.Truncate(w.size); truncateErr != nil {
			return errors.Join(err, truncateErr)
		}
		if !w.b.waitForDisk(err) {
			return err
		}
	}
}

func (w *segmentWriter) close() {
	if w.file != nil {
		_ = w.file.Close() // everything in it is synced
		w.file = nil
	}
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// waitForDisk waits a moment for space; false when the buffer is closing.
func (b *Buffer) waitForDisk(cause error) bool {
	b.log.Error("the disk is full: waiting for space", "error", cause)
	select {
	case <-b.closing:
		return false
	case <-time.After(spaceRetry):
		return true
	}
}
