package bucket

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/wire"
)

// shortestLock is the least that anything is locked. A payload may reach the
// store when its term is over, or nearly; S3 takes no date of the past.
const shortestLock = 24 * time.Hour

// Object is what is put under a path.
type Object struct {
	Path   string // below the prefix
	Body   io.Reader
	Size   int64
	SHA256 [32]byte
	Type   string // Content-Type
	// Keep is until when it is locked, at least a day from now; zero: not locked.
	Keep time.Time
	// Hold sets a legal hold besides.
	Hold bool
	// Replaces is the tag of what it takes the place of; empty: the name must be free.
	Replaces string
}

// Put stores an object in one attempt and returns its tag. The error is one that
// IsTaken when the name is taken, or holds something else than what is to be
// replaced.
//
// A batch is at most 1 GiB and S3 takes 5 GiB in one request, so nothing is ever
// uploaded in parts: an upload that was cut leaves nothing behind.
func (b *Bucket) Put(ctx context.Context, o Object) (tag string, err error) {
	input := &s3.PutObjectInput{
		Bucket: &b.config.Bucket, Key: b.key(o.Path), Body: o.Body, ContentLength: &o.Size,
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(o.SHA256[:])),
		ContentType:    &o.Type, IfNoneMatch: aws.String("*"),
	}
	if o.Replaces != "" {
		input.IfNoneMatch, input.IfMatch = nil, &o.Replaces
	}
	b.protect(input, o.Keep)
	if o.Hold {
		input.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
	}
	stored, err := b.client.PutObject(ctx, input, signedDigest(hex.EncodeToString(o.SHA256[:])))
	if err != nil {
		return "", err
	}
	return aws.ToString(stored.ETag), nil
}

// protect asks for the lock and the encryption of what is put.
func (b *Bucket) protect(input *s3.PutObjectInput, until time.Time) {
	if b.Locks() && !until.IsZero() {
		if soonest := b.now().Add(shortestLock); until.Before(soonest) {
			until = soonest
		}
		input.ObjectLockMode = b.config.Lock.mode()
		input.ObjectLockRetainUntilDate = aws.Time(until.UTC())
	}
	if b.config.LegalHold && !until.IsZero() {
		input.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
	}
	if b.config.Encryption != "" {
		input.ServerSideEncryption = types.ServerSideEncryption(b.config.Encryption)
	}
	if b.config.KMSKey != "" {
		input.SSEKMSKeyId = &b.config.KMSKey
	}
}

// Stored is what Get found. Read fails with an error of its own when the answer
// ends before the length that it declared: only io.EOF means that this was all.
type Stored struct {
	io.ReadCloser
	Size int64 // -1 when the store does not say
	Tag  string

	read int64
}

// errCut tells that an answer was shorter than it said.
var errCut = errors.New("read back: the answer is not as long as it says and may be cut off")

// Read implements io.Reader.
func (s *Stored) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.read += int64(n)
	if errors.Is(err, io.EOF) && s.Size >= 0 && s.read != s.Size {
		return n, errCut
	}
	return n, err
}

// Get opens what is stored from an offset on. The error is one that IsMissing
// when there is nothing.
func (b *Bucket) Get(ctx context.Context, path string, from int64) (*Stored, error) {
	input := &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: b.key(path)}
	if from > 0 {
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	response, err := b.client.GetObject(ctx, input)
	if err != nil {
		return nil, err
	}
	if encoding := aws.ToString(response.ContentEncoding); encoding != "" && encoding != "identity" {
		return nil, errors.Join(
			fmt.Errorf("read back: the store changes what it stores (content-encoding %s)", wire.Quote(encoding)), response.Body.Close())
	}
	s := &Stored{ReadCloser: response.Body, Size: -1, Tag: aws.ToString(response.ETag)}
	if response.ContentLength != nil {
		s.Size = *response.ContentLength
	}
	return s, nil
}

// Read returns what is stored, at most limit bytes, and its tag.
func (b *Bucket) Read(ctx context.Context, path string, limit int64) (data []byte, tag string, err error) {
	stored, err := b.Get(ctx, path, 0)
	if err != nil {
		return nil, "", err
	}
	data, err = io.ReadAll(io.LimitReader(stored, limit+1))
	if err = errors.Join(err, stored.Close()); err != nil {
		return nil, "", err
	}
	if int64(len(data)) > limit {
		return nil, "", fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, stored.Tag, nil
}

// Info is what a store says of an object without handing it out.
type Info struct {
	Size     int64
	Modified time.Time // by the store's clock
}

// Head looks at what is stored. The error is one that IsMissing when there is nothing.
func (b *Bucket) Head(ctx context.Context, path string) (Info, error) {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(path)})
	if err != nil {
		return Info{}, err
	}
	return Info{Size: aws.ToInt64(head.ContentLength), Modified: aws.ToTime(head.LastModified)}, nil
}

// Listed is one stored object.
type Listed struct {
	Path string
	Size int64
}

// List returns at most limit objects, no more than 1,000, whose paths begin with
// prefix, behind the path after, in the order of their paths' bytes. With fewer
// than limit there are no more.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int32) ([]Listed, error) {
	input := &s3.ListObjectsV2Input{Bucket: &b.config.Bucket, Prefix: b.key(prefix), MaxKeys: &limit}
	if after != "" {
		input.StartAfter = b.key(after)
	}
	var all []Listed
	for {
		page, err := b.client.ListObjectsV2(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Contents {
			path, ok := strings.CutPrefix(aws.ToString(item.Key), b.prefix)
			if ok && len(all) < int(limit) {
				all = append(all, Listed{Path: path, Size: aws.ToInt64(item.Size)})
			}
		}
		// A store may return less than it was asked for.
		if len(all) >= int(limit) || !aws.ToBool(page.IsTruncated) || aws.ToString(page.NextContinuationToken) == "" {
			return all, nil
		}
		input.ContinuationToken = page.NextContinuationToken
	}
}

// Remove removes every version of an object, and what marks one as deleted. The
// store refuses what is locked.
func (b *Bucket) Remove(ctx context.Context, path string) error {
	return b.versions(ctx, path, func(version string) error {
		_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: b.key(path), VersionId: &version})
		return err
	})
}

// Hold sets or lifts the legal hold of what is stored: while it is on, the store
// removes it for nobody, whatever its lock says.
func (b *Bucket) Hold(ctx context.Context, path string, on bool) error {
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	_, err := b.client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
		Bucket: &b.config.Bucket, Key: b.key(path), LegalHold: &types.ObjectLockLegalHold{Status: status},
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	return err
}

// versions visits the versions and delete markers of a path.
func (b *Bucket) versions(ctx context.Context, path string, visit func(version string) error) error {
	key := *b.key(path)
	input := &s3.ListObjectVersionsInput{Bucket: &b.config.Bucket, Prefix: &key}
	for {
		page, err := b.client.ListObjectVersions(ctx, input)
		if err != nil {
			return err
		}
		var found []string
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == key {
				found = append(found, aws.ToString(v.VersionId))
			}
		}
		for _, m := range page.DeleteMarkers {
			if aws.ToString(m.Key) == key {
				found = append(found, aws.ToString(m.VersionId))
			}
		}
		for _, version := range found {
			if err := visit(version); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) || aws.ToString(page.NextKeyMarker) > key {
			return nil
		}
		input.KeyMarker, input.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
	}
}

// key is the name in the bucket of a path.
func (b *Bucket) key(path string) *string {
	path = b.prefix + path
	return &path
}
