package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/bucket"
)

// bucketStorage is storage in a bucket. Its conditional writes decide who was first
// (If-None-Match) and whose change counts (If-Match), so any number of servers may
// run over one bucket.
type bucketStorage struct {
	bucket *bucket.Bucket
	// accept tells which objects are values; nil: all.
	accept func(name string) bool
}

func (b *bucketStorage) String() string { return strings.TrimSuffix(b.bucket.String(), "/") }

// fault makes the error of one request what the callers tell apart, and one
// sentence for the operator.
func (b *bucketStorage) fault(step, name string, err error) error {
	if err == nil {
		return nil
	}
	cause := err
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case bucket.IsMissing(err):
		cause = fs.ErrNotExist
	case bucket.IsTaken(err):
		cause = fs.ErrExist
	case bucket.IsFull(err):
		cause = fmt.Errorf("%w: %w", syscall.ENOSPC, b.bucket.Sentence(err))
	default:
		fault, _ := b.bucket.Explain(err) // what was rotated is used by the next request
		cause = fault.Err
	}
	return fmt.Errorf("%s %s: %w", step, name, cause)
}

func (b *bucketStorage) read(ctx context.Context, name string) ([]byte, string, error) {
	data, tag, err := b.bucket.Read(ctx, name, maxValue)
	return data, tag, b.fault("read", name, err)
}

func (b *bucketStorage) exists(ctx context.Context, name string) (bool, error) {
	_, err := b.bucket.Head(ctx, name)
	if bucket.IsMissing(err) {
		return false, nil
	}
	return err == nil, b.fault("look for", name, err)
}

func (b *bucketStorage) arrived(ctx context.Context, name string) (time.Time, error) {
	info, err := b.bucket.Head(ctx, name)
	return info.Modified, b.fault("look for", name, err)
}

// bucketBlob is a stored object that is asked for where it is read.
type bucketBlob struct {
	ctx     context.Context //nolint:containedctx // io.Reader has none, and a blob lives as long as its request
	storage *bucketStorage
	name    string
	size    int64
	at      int64
	body    *bucket.Stored
}

func (b *bucketStorage) open(ctx context.Context, name string) (blob, error) {
	info, err := b.bucket.Head(ctx, name)
	if err != nil {
		return nil, b.fault("open", name, err)
	}
	return &bucketBlob{ctx: ctx, storage: b, name: name, size: info.Size}, nil
}

func (b *bucketBlob) Size() int64 { return b.size }

func (b *bucketBlob) Read(p []byte) (int, error) {
	if b.at >= b.size {
		return 0, io.EOF
	}
	if b.body == nil {
		body, err := b.storage.bucket.Get(b.ctx, b.name, b.at)
		if err != nil {
			return 0, b.storage.fault("read", b.name, err)
		}
		b.body = body
	}
	n, err := b.body.Read(p)
	b.at += int64(n)
	if errors.Is(err, io.EOF) && b.at < b.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.storage.fault("read", b.name, err)
	}
	return n, err
}

func (b *bucketBlob) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek %s: before its start", b.name)
	}
	if offset == b.at {
		return offset, nil
	}
	b.at = offset
	return offset, b.Close()
}

func (b *bucketBlob) Close() error {
	if b.body == nil {
		return nil
	}
	body := b.body
	b.body = nil
	return body.Close()
}

// put stores an object in one attempt. The agent repeats what was not acknowledged.
func (b *bucketStorage) put(ctx context.Context, o bucket.Object) error {
	o.Type = "text/plain; charset=utf-8"
	if strings.HasSuffix(o.Path, ".zst") {
		o.Type = "application/zstd"
	}
	_, err := b.bucket.Put(ctx, o)
	return err
}

// text is the object of a value that is in memory.
func text(name string, data []byte) bucket.Object {
	return bucket.Object{Path: name, Body: bytes.NewReader(data), Size: int64(len(data)), SHA256: sha256.Sum256(data)}
}

func (b *bucketStorage) write(ctx context.Context, name string, data []byte, keep time.Time) error {
	o := text(name, data)
	o.Keep = keep
	return b.fault("store", name, b.put(ctx, o))
}

func (b *bucketStorage) commit(ctx context.Context, f *incomingFile, name string, keep time.Time, held bool) error {
	size, err := f.size()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return fmt.Errorf("read incoming file: %w", err)
	}
	return b.fault("store", name, b.put(ctx, bucket.Object{
		Path: name, Body: io.NewSectionReader(f, 0, size), Size: size, SHA256: sum(h), Keep: keep, Hold: held && b.bucket.Locks(),
	}))
}

// makeDurable has nothing to do: what a bucket answers for is durable.
func (b *bucketStorage) makeDurable(string) error { return nil }

func (b *bucketStorage) swap(ctx context.Context, name, tag string, data []byte) error {
	o := text(name, data)
	o.Replaces = tag
	err := b.put(ctx, o)
	if !bucket.IsTaken(err) && !bucket.IsMissing(err) && !bucket.IsConflict(err) {
		return b.fault("change state", name, err)
	}
	// The answer to an earlier attempt of this very change may have been lost.
	have, _, readErr := b.read(ctx, name)
	if readErr == nil && bytes.Equal(have, data) {
		return nil
	}
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return readErr
	}
	return fmt.Errorf("change state %s: %w", name, errSwapped)
}

func (b *bucketStorage) remove(ctx context.Context, name string) error {
	return b.fault("remove", name, b.bucket.Remove(ctx, name))
}

func (b *bucketStorage) list(ctx context.Context, prefix, after string, limit int) ([]ListedObject, error) {
	found := []ListedObject{}
	for {
		page, err := b.bucket.List(ctx, prefix, after, maxListed)
		if err != nil {
			return nil, b.fault("list", prefix, err)
		}
		for _, o := range page {
			if b.accept != nil && !b.accept(o.Path) {
				continue
			}
			if found = append(found, ListedObject{Path: o.Path, Size: o.Size}); len(found) == limit {
				return found, nil
			}
		}
		if len(page) < maxListed {
			return found, nil
		}
		after = page[len(page)-1].Path
	}
}

// probe proves once that the bucket locks and that its conditional writes decide.
func (b *bucketStorage) probe(ctx context.Context) error {
	err := b.bucket.Prove(ctx)
	if err == nil {
		err = b.bucket.ProveSwap(ctx)
	}
	if err != nil {
		return fmt.Errorf("the store %s: %w", b, b.bucket.Sentence(err))
	}
	return nil
}

// atOnce is how many requests of one walk over the agents are under way.
const atOnce = 16

func (b *bucketStorage) each(n int, f func(i int) error) error {
	errs := make([]error, min(n, atOnce))
	var next atomic.Int64
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = f(i)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// healthTime is how long a bucket may take to answer that it is there.
const healthTime = 5 * time.Second

func (b *bucketStorage) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	_, err := b.exists(ctx, witnessName)
	return err
}
