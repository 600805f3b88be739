// Package directory keeps sealed batches as files under the archive layout: on
// a disk of the host, a mounted share, or what a backup or a WORM appliance
// picks up.
//
// Its promise: a file appears under its archive name complete, with the sealed
// bytes, and is never written again. It is made under another name in the same
// directory, synced, read back, and linked to its name; link(2) fails when the
// name is taken, so of two writers one wins and nothing is ever replaced. The
// name is durable (directory synced, up to the root) before Ship returns.
package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// Auditors read the archive by their group; nobody but the agent writes it.
const (
	fileMode      fs.FileMode = 0o640
	directoryMode fs.FileMode = 0o750
)

// Config is what users choose.
type Config struct {
	Name string // of the output, for logs
	Path string // absolute path of the archive's root; made when it does not exist
	// Immutable gives each stored file the immutable attribute (chattr +i). Where
	// file system or rights do not allow it the files are only read-only: the log
	// says so at once, and Probe fails.
	Immutable bool
}

// Deps is what the program provides.
type Deps struct {
	FS  durable.FS   // default: durable.OS
	Log *slog.Logger // default: nothing is logged
}

// Output is a directory that batches are shipped to. Its methods are safe for
// concurrent use.
type Output struct {
	root      string
	fsys      durable.FS
	log       *slog.Logger
	faults    *retry.Faults
	immutable bool

	mu    sync.Mutex
	ready map[string]bool // directories that this process has made durable and swept
	said  bool            // that files can not be made immutable
}

var (
	_ outputs.Output     = (*Output)(nil)
	_ outputs.Publisher  = (*Output)(nil)
	_ outputs.HeadReader = (*Output)(nil)
	_ outputs.Prober     = (*Output)(nil)
)

// New returns the output and makes its root when that does not exist.
func New(c Config, d Deps) (*Output, error) {
	if !filepath.IsAbs(c.Path) {
		return nil, fmt.Errorf("output %s: path %q is not absolute", c.Name, c.Path)
	}
	if d.FS == nil {
		d.FS = durable.OS{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	log := d.Log.With(slog.String("output", c.Name))
	o := &Output{
		root:      filepath.Clean(c.Path),
		fsys:      d.FS,
		log:       log,
		faults:    retry.NewFaults(log),
		immutable: c.Immutable,
		ready:     make(map[string]bool),
	}
	if err := o.makeRoot(); err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	return o, nil
}

func (o *Output) makeRoot() error {
	info, err := o.fsys.Stat(o.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = o.fsys.MkdirAll(o.root, directoryMode); err != nil {
			return fmt.Errorf("make archive directory: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("look at archive directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("archive path %s is not a directory", o.root)
	}
	return nil
}

// Ship implements outputs.Output.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	return outputs.ShipEach(b, func(object seal.Object) (bool, error) { return o.deliver(ctx, object) })
}

// Publish implements outputs.Publisher.
func (o *Output) Publish(ctx context.Context, c seal.Checkpoint) error {
	_, err := o.deliver(ctx, outputs.CheckpointObject(c))
	return err
}

// PublishCosignature implements outputs.CosignaturePublisher.
func (o *Output) PublishCosignature(ctx context.Context, c seal.Cosignature) error {
	_, err := o.deliver(ctx, outputs.CosignatureObject(c))
	return err
}

// Close implements outputs.Output.
func (o *Output) Close() error { return nil }

// Trouble implements [outputs.Reporter].
func (o *Output) Trouble() outputs.Trouble { return o.faults.Trouble() }

// deliver stores one object, however long the disk is full or away.
func (o *Output) deliver(ctx context.Context, object seal.Object) (stored bool, err error) {
	return o.faults.Deliver(ctx, object,
		func(ctx context.Context) (bool, error) { return o.store(ctx, object) },
		func(err error) (retry.Fault, time.Duration) { return retry.Fault{Kind: faultKind(err), Err: err}, 0 })
}

// faultKind groups faults for the log by the system's own error.
func faultKind(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return "other"
}

// store is one attempt. Every step may be repeated after a crash behind it.
func (o *Output) store(ctx context.Context, object seal.Object) (stored bool, err error) {
	final := filepath.Join(o.root, filepath.FromSlash(object.Path))
	dir := filepath.Dir(final)
	if err = o.prepare(dir); err != nil {
		o.forget(dir)
		return false, err
	}
	if _, err = o.fsys.Stat(final); err == nil {
		return false, o.taken(ctx, final, object)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at file: %w", err)
	}
	temp := temporaryName(final)
	err = o.write(ctx, temp, object)
	if err == nil {
		err = o.fsys.Link(temp, final)
	}
	// Removed before the directory is synced, so that one sync covers both names.
	removeErr := o.fsys.Remove(temp)
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, o.taken(ctx, final, object)
	case errors.Is(err, fs.ErrNotExist):
		o.forget(dir) // somebody removed the directory: make it again
		return false, err
	case err != nil:
		return false, err
	case removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist):
		o.forget(dir) // the next attempt sweeps it
		return false, fmt.Errorf("remove temporary file: %w", removeErr)
	}
	// Not before the temporary name is gone: an immutable file keeps its names.
	if err = o.protect(ctx, final); err != nil {
		return false, err
	}
	if err = o.fsys.SyncDir(dir); err != nil {
		return false, fmt.Errorf("sync directory: %w", err)
	}
	return true, nil
}

// protect makes a stored file immutable. Where that can not be, the file stays
// as it is: evidence that is only read-only is better than none.
func (o *Output) protect(ctx context.Context, final string) error {
	if !o.immutable {
		return nil
	}
	err := o.setImmutable(final)
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	o.mu.Lock()
	said := o.said
	o.said = true
	o.mu.Unlock()
	if !said {
		o.log.LogAttrs(ctx, slog.LevelError, "files are stored read-only, not immutable: "+notImmutable, slog.Any("error", err))
	}
	return nil
}

// notImmutable says what makes immutable = true work.
const notImmutable = "immutable = true needs a local file system with that attribute (ext4, xfs, btrfs) and the capability CAP_LINUX_IMMUTABLE"

func (o *Output) setImmutable(name string) error {
	can, ok := o.fsys.(interface{ SetImmutable(name string) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return can.SetImmutable(name)
}

// write makes the temporary file: written, synced, read back.
func (o *Output) write(ctx context.Context, temp string, object seal.Object) error {
	source, err := object.Open()
	if err != nil {
		return sourceFault(err)
	}
	defer source.Close()
	f, err := o.fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	err = copySealed(ctx, f, source, object)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	size, digest, err := o.digest(ctx, temp, object.Size+1)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if size != object.Size || digest != object.SHA256 {
		return fmt.Errorf("read back: the disk returns other bytes than were written (sha256 %s, want %s)", digest, object.SHA256)
	}
	return nil
}

// prepare makes a directory durable up to the root, and removes what a crash
// left in it, once in the life of the process. The names below are of this one
// agent, which holds its buffer's lock: no other process writes there.
func (o *Output) prepare(dir string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ready[dir] {
		return nil
	}
	if err := o.fsys.MkdirAll(dir, directoryMode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	// A directory that exists may be one whose maker crashed before the sync.
	for d := dir; d != o.root; d = filepath.Dir(d) {
		if err := o.fsys.SyncDir(filepath.Dir(d)); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	entries, err := o.fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), durable.TempSuffix) || entry.IsDir() {
			continue
		}
		if err = o.fsys.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	o.ready[dir] = true
	return nil
}

// temporaryName returns a new name beside final.
func temporaryName(final string) string {
	return final + "." + rand.Text()[:10] + durable.TempSuffix
}

func (o *Output) forget(dir string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ready, dir)
}
