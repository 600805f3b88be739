package s3output

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// ProbeFolder is where probes are written: at the bucket's root, beside the
// prefix, so that they are no part of the archive. A lifecycle rule may expire it.
const ProbeFolder = "auditail-probe"

// probeLock is how long a probe is locked.
const probeLock = time.Hour

// proofError says what the bucket did not prove.
type proofError struct{ text string }

func (e *proofError) Error() string { return e.text }

func unproven(format string, arguments ...any) error {
	return &proofError{fmt.Sprintf(format, arguments...)}
}

// prove is Probe, once after each start, before anything is shipped.
func (o *Output) prove(ctx context.Context) error {
	o.proving.Lock()
	defer o.proving.Unlock()
	if o.proven {
		return nil
	}
	err := o.proof(ctx)
	o.proven = err == nil
	return err
}

// Probe implements outputs.Prober. It proves that the bucket keeps what it is
// given: versioning and Object Lock are enabled, a taken name is not written
// again, a written version shows its lock, and deleting that version is refused.
// A store that only echoes the headers of a lock is told from one that keeps it.
//
// A refusal may come from the rights of the credentials as well as from the
// lock; probing once with credentials that may delete versions tells them apart.
func (o *Output) Probe(ctx context.Context) error {
	err := o.proof(ctx)
	var said *proofError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return o.refusal(err)
}

func (o *Output) proof(ctx context.Context) error {
	if o.config.Lock != LockOff {
		if err := o.lockEnabled(ctx); err != nil {
			return err
		}
	}
	version, key, until, err := o.putProbe(ctx)
	if err != nil {
		return err
	}
	if o.config.Lock == LockOff {
		// Nothing protects the probe, so it need not stay. Who may not delete leaves it.
		if _, err = o.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &o.config.Bucket, Key: &key, VersionId: version}); statusOf(err) == 0 && err != nil {
			return err
		}
		return nil
	}
	if aws.ToString(version) == "" || *version == "null" {
		return unproven("bucket %s gives no version to what is written: enable versioning, without which nothing can be locked", o.config.Bucket)
	}
	if err = o.lockShown(ctx, key, version, until); err != nil {
		return err
	}
	return o.deleteRefused(ctx, key, version)
}

// lockEnabled asks the bucket whether it has versions and locks.
func (o *Output) lockEnabled(ctx context.Context) error {
	versions, err := o.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &o.config.Bucket})
	if codeOf(err) == "AccessDenied" {
		return unproven("bucket %s: the credentials may not read whether it has versioning: allow s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration", o.config.Bucket)
	}
	if err != nil {
		return err
	}
	lock, err := o.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &o.config.Bucket})
	switch code := codeOf(err); {
	case code == "AccessDenied":
		return unproven("bucket %s: the credentials may not read whether it locks: allow s3:GetBucketObjectLockConfiguration", o.config.Bucket)
	case code == "ObjectLockConfigurationNotFoundError", err == nil && (lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled):
		return unproven("bucket %s has no Object Lock, so what it holds can be rewritten: make a bucket with Object Lock enabled, or set lock = \"off\" and accept that", o.config.Bucket)
	case err != nil:
		return err
	}
	if versions.Status != types.BucketVersioningStatusEnabled {
		return unproven("bucket %s has versioning switched off, without which nothing can be locked: enable it", o.config.Bucket)
	}
	return nil
}

// putProbe writes a probe, and makes sure that a second write is refused.
func (o *Output) putProbe(ctx context.Context) (version *string, key string, until time.Time, err error) {
	now := o.now().UTC()
	key = ProbeFolder + "/" + o.agent + "/" + now.Format("20060102T150405Z") + "-" + rand.Text()[:6]
	until = now.Add(probeLock).Truncate(time.Second)
	put := func(text string) (*s3.PutObjectOutput, error) {
		input := &s3.PutObjectInput{
			Bucket: &o.config.Bucket, Key: &key, IfNoneMatch: aws.String("*"),
			Body: strings.NewReader(text), ContentType: aws.String("text/plain; charset=utf-8"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		}
		o.protect(input, until)
		if o.config.Lock != LockOff {
			input.ObjectLockRetainUntilDate = &until
		}
		input.ObjectLockLegalHoldStatus = "" // nothing would ever lift it
		return o.client.PutObject(ctx, input)
	}
	stored, err := put("auditail asks whether this bucket locks what is written\n")
	if err != nil {
		return nil, key, until, err
	}
	switch _, err = put("a second write under the same name\n"); {
	case err == nil:
		return nil, key, until, unproven("bucket %s: the store ignores If-None-Match and writes a taken name again; auditail needs conditional writes", o.config.Bucket)
	case codeOf(err) != codeTaken:
		return nil, key, until, err
	}
	return stored.VersionId, key, until, nil
}

// lockShown looks at the written version.
func (o *Output) lockShown(ctx context.Context, key string, version *string, until time.Time) error {
	head, err := o.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.config.Bucket, Key: &key, VersionId: version})
	if err != nil {
		return fmt.Errorf("look at the probe: %w", err)
	}
	switch shown := head.ObjectLockRetainUntilDate; {
	case head.ObjectLockMode == "" || shown == nil:
		return unproven("bucket %s does not show the lock of what was written: the store drops it, or the credentials lack s3:GetObjectRetention", o.config.Bucket)
	case string(head.ObjectLockMode) != string(o.config.Lock.mode()):
		return unproven("bucket %s locks in mode %s where %s was asked for", o.config.Bucket, head.ObjectLockMode, o.config.Lock.mode())
	case shown.Before(until.Add(-time.Second)):
		return unproven("bucket %s locks until %s where %s was asked for", o.config.Bucket, shown.UTC().Format(time.RFC3339), until.Format(time.RFC3339))
	}
	return nil
}

// deleteRefused tries what a lock is against.
func (o *Output) deleteRefused(ctx context.Context, key string, version *string) error {
	_, err := o.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &o.config.Bucket, Key: &key, VersionId: version})
	if status := statusOf(err); err != nil && (status < 400 || status > 499) {
		return err // no answer, or none that decides
	}
	still, getErr := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.config.Bucket, Key: &key, VersionId: version})
	if getErr == nil {
		_, getErr = io.Copy(io.Discard, still.Body)
		getErr = errors.Join(getErr, still.Body.Close())
	}
	switch gone := codeOf(getErr) == codeNoKey || codeOf(getErr) == "NoSuchVersion"; {
	case err == nil || gone:
		return unproven("bucket %s only repeats the headers of a lock: it deleted a version that it says is locked. What is stored there is not protected; use a store that enforces Object Lock", o.config.Bucket)
	case getErr != nil:
		return fmt.Errorf("read the probe: %w", getErr)
	}
	return nil
}
