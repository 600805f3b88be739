package s3output

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/wire"
	"github.com/auditail/auditail/seal"
)

// shortestLock is the least that anything is locked. A payload may reach the
// store when its term is over, or nearly; S3 takes no date of the past.
const shortestLock = 24 * time.Hour

// deliver returns when the object is stored and locked, however long that takes.
func (o *Output) deliver(ctx context.Context, object seal.Object, until time.Time) (stored bool, err error) {
	return o.faults.Deliver(ctx, object, func(ctx context.Context) (bool, error) {
		if err := o.prove(ctx); err != nil {
			return false, err
		}
		return o.store(ctx, object, until)
	}, o.explain)
}

// store is one attempt: put, and where the name is taken look who took it.
//
// A batch is at most 1 GiB and S3 takes 5 GiB in one request, so nothing is ever
// uploaded in parts: an upload that was cut leaves nothing behind.
func (o *Output) store(ctx context.Context, object seal.Object, until time.Time) (stored bool, err error) {
	body := &wire.Body{Object: object}
	defer body.Close() // when no request was made of it
	input := &s3.PutObjectInput{
		Bucket: &o.config.Bucket, Key: o.key(object.Path), IfNoneMatch: aws.String("*"),
		Body: body, ContentLength: &object.Size,
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(object.SHA256[:])),
		ContentType:    aws.String("text/plain; charset=utf-8"),
	}
	if object.Kind == seal.PayloadObject {
		input.ContentType = aws.String("application/zstd")
	}
	o.protect(input, until)
	_, err = o.client.PutObject(ctx, input, signedDigest(object.SHA256.String()))
	switch {
	case err == nil:
		return true, nil
	case codeOf(err) == codeTaken:
		return false, o.readBack(ctx, object)
	}
	return false, err
}

// protect asks for the lock and the encryption of what is put.
func (o *Output) protect(input *s3.PutObjectInput, until time.Time) {
	if o.config.Lock != LockOff {
		if soonest := o.now().Add(shortestLock); until.Before(soonest) {
			until = soonest
		}
		input.ObjectLockMode = o.config.Lock.mode()
		input.ObjectLockRetainUntilDate = aws.Time(until.UTC())
	}
	if o.config.LegalHold {
		input.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
	}
	if o.config.Encryption != "" {
		input.ServerSideEncryption = types.ServerSideEncryption(o.config.Encryption)
	}
	if o.config.KMSKey != "" {
		input.SSEKMSKeyId = &o.config.KMSKey
	}
}

// readBack compares what is stored under the object's name. Only a complete
// answer may raise a fork.
func (o *Output) readBack(ctx context.Context, object seal.Object) error {
	response, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.config.Bucket, Key: o.key(object.Path)})
	if codeOf(err) == codeNoKey {
		return errNothingStored
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer response.Body.Close()
	if encoding := aws.ToString(response.ContentEncoding); encoding != "" && encoding != "identity" {
		return fmt.Errorf("read back: the store changes what it stores (content-encoding %s)", wire.Quote(encoding))
	}
	counted := &countingReader{from: response.Body}
	same, err := outputs.SameObject(object, counted)
	switch {
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case same:
		return nil
	case counted.ended && (response.ContentLength == nil || counted.read != *response.ContentLength):
		return errors.New("read back: the answer is not as long as it says and may be cut off")
	}
	return outputs.ErrFork
}

var errNothingStored = errors.New("the store refuses the name as taken, but has nothing stored there")

// countingReader tells how much was read, and whether that was all.
type countingReader struct {
	from  io.Reader
	read  int64
	ended bool
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.read += int64(n)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}
