package bucket

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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

// Prove is Probe, once after each start, before anything is put.
func (b *Bucket) Prove(ctx context.Context) error {
	b.proving.Lock()
	defer b.proving.Unlock()
	if b.proven {
		return nil
	}
	err := b.proof(ctx)
	b.proven = err == nil
	return err
}

// Probe proves that the bucket keeps what it is
// given: versioning and Object Lock are enabled, a taken name is not written
// again, a written version shows its lock, and deleting that version is refused.
// A store that only echoes the headers of a lock is told from one that keeps it.
//
// A refusal may come from the rights of the credentials as well as from the
// lock; probing once with credentials that may delete versions tells them apart.
func (b *Bucket) Probe(ctx context.Context) error {
	err := b.proof(ctx)
	var said *proofError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return b.Sentence(err)
}

func (b *Bucket) proof(ctx context.Context) error {
	if b.config.Lock != LockOff {
		if err := b.lockEnabled(ctx); err != nil {
			return err
		}
	}
	version, key, until, err := b.putProbe(ctx)
	if err != nil {
		return err
	}
	if b.config.Lock == LockOff {
		// Nothing protects the probe, so it need not stay. Who may not delete leaves it.
		if _, err = b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: &key, VersionId: version}); statusOf(err) == 0 && err != nil {
			return err
		}
		return nil
	}
	if aws.ToString(version) == "" || *version == "null" {
		return unproven("bucket %s gives no version to what is written: enable versioning, without which nothing can be locked", b.config.Bucket)
	}
	if err = b.lockShown(ctx, key, version, until); err != nil {
		return err
	}
	return b.deleteRefused(ctx, key, version)
}

// lockEnabled asks the bucket whether it has versions and locks.
func (b *Bucket) lockEnabled(ctx context.Context) error {
	versions, err := b.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.config.Bucket})
	if codeOf(err) == "AccessDenied" {
		return unproven("bucket %s: the credentials may not read whether it has versioning: allow s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration", b.config.Bucket)
	}
	if err != nil {
		return err
	}
	lock, err := b.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &b.config.Bucket})
	switch code := codeOf(err); {
	case code == "AccessDenied":
		return unproven("bucket %s: the credentials may not read whether it locks: allow s3:GetBucketObjectLockConfiguration", b.config.Bucket)
	case code == "ObjectLockConfigurationNotFoundError", err == nil && (lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled):
		return unproven("bucket %s has no Object Lock, so what it holds can be rewritten: make a bucket with Object Lock enabled, or set lock = \"off\" and accept that", b.config.Bucket)
	case err != nil:
		return err
	}
	if versions.Status != types.BucketVersioningStatusEnabled {
		return unproven("bucket %s has versioning switched off, without which nothing can be locked: enable it", b.config.Bucket)
	}
	return nil
}

// putProbe writes a probe, and makes sure that a second write is refused.
func (b *Bucket) putProbe(ctx context.Context) (version *string, key string, until time.Time, err error) {
	now := b.now().UTC()
	key = ProbeFolder + "/" + b.prober + "/" + now.Format("20060102T150405Z") + "-" + rand.Text()[:6]
	until = now.Add(probeLock).Truncate(time.Second)
	put := func(text string) (*s3.PutObjectOutput, error) {
		input := &s3.PutObjectInput{
			Bucket: &b.config.Bucket, Key: &key, IfNoneMatch: aws.String("*"),
			Body: strings.NewReader(text), ContentType: aws.String("text/plain; charset=utf-8"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		}
		b.protect(input, until)
		if b.config.Lock != LockOff {
			input.ObjectLockRetainUntilDate = &until
		}
		input.ObjectLockLegalHoldStatus = "" // nothing would ever lift it
		return b.client.PutObject(ctx, input)
	}
	stored, err := put("auditail asks whether this bucket locks what is written\n")
	if err != nil {
		return nil, key, until, err
	}
	switch _, err = put("a second write under the same name\n"); {
	case err == nil:
		return nil, key, until, unproven("bucket %s: the store ignores If-None-Match and writes a taken name again; auditail needs conditional writes", b.config.Bucket)
	case codeOf(err) != codeTaken:
		return nil, key, until, err
	}
	return stored.VersionId, key, until, nil
}

// lockShown looks at the written version.
func (b *Bucket) lockShown(ctx context.Context, key string, version *string, until time.Time) error {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: &key, VersionId: version})
	if err != nil {
		return fmt.Errorf("look at the probe: %w", err)
	}
	switch shown := head.ObjectLockRetainUntilDate; {
	case head.ObjectLockMode == "" || shown == nil:
		return unproven("bucket %s does not show the lock of what was written: the store drops it, or the credentials lack s3:GetObjectRetention", b.config.Bucket)
	case string(head.ObjectLockMode) != string(b.config.Lock.mode()):
		return unproven("bucket %s locks in mode %s where %s was asked for", b.config.Bucket, head.ObjectLockMode, b.config.Lock.mode())
	case shown.Before(until.Add(-time.Second)):
		return unproven("bucket %s locks until %s where %s was asked for", b.config.Bucket, shown.UTC().Format(time.RFC3339), until.Format(time.RFC3339))
	}
	return nil
}

// deleteRefused tries what a lock is against.
func (b *Bucket) deleteRefused(ctx context.Context, key string, version *string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: &key, VersionId: version})
	if status := statusOf(err); err != nil && (status < 400 || status > 499) {
		return err // no answer, or none that decides
	}
	still, getErr := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: &key, VersionId: version})
	if getErr == nil {
		_, getErr = io.Copy(io.Discard, still.Body)
		getErr = errors.Join(getErr, still.Body.Close())
	}
	switch gone := codeOf(getErr) == codeNoKey || codeOf(getErr) == "NoSuchVersion"; {
	case err == nil || gone:
		return unproven("bucket %s only repeats the headers of a lock: it deleted a version that it says is locked. What is stored there is not protected; use a store that enforces Object Lock", b.config.Bucket)
	case getErr != nil:
		return fmt.Errorf("read the probe: %w", getErr)
	}
	return nil
}

// ProveSwap proves that the store honours If-Match: of two changes of one value that
// name the same one before, the second is refused.
func (b *Bucket) ProveSwap(ctx context.Context) error {
	probes := b.Below(ProbeFolder + "/" + b.prober)
	path := b.now().UTC().Format("20060102T150405Z") + "-swap-" + rand.Text()[:6]
	put := func(text, replaces string) (string, error) {
		return probes.Put(ctx, Object{
			Path: path, Body: strings.NewReader(text), Size: int64(len(text)), SHA256: sha256.Sum256([]byte(text)),
			Type: "text/plain; charset=utf-8", Replaces: replaces,
		})
	}
	first, err := put("one\n", "")
	if err != nil {
		return err
	}
	if _, err = put("two\n", first); err != nil {
		return fmt.Errorf("change the probe: %w", err)
	}
	switch _, err = put("three\n", first); {
	case err == nil:
		return unproven("bucket %s: the store ignores If-Match and writes over what another server wrote; several servers, and a witness, need conditional writes", b.config.Bucket)
	case !IsTaken(err):
		return err
	}
	// Nothing locks it; who may not delete leaves it to the lifecycle rule.
	if err = probes.Remove(ctx, path); err != nil && statusOf(err) == 0 {
		return err
	}
	return nil
}
