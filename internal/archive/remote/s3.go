package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/bucket"
)

// S3Config says where a bucket is. What is empty comes from the environment and
// the shared files of the AWS tools, as credentials do.
type S3Config struct {
	Endpoint string // of a store that is not AWS
	Region   string
	Client   *http.Client            // nil: that of the SDK
	Provider aws.CredentialsProvider // nil: the default chain
}

// Bucket is an archive in a bucket. It reads of every name the oldest version
// that is there: what was sealed was written first, and write-once storage keeps
// it, whatever is put over it later.
type Bucket struct {
	client         *s3.Client
	bucket, prefix string

	mu       sync.Mutex
	versions map[string]string // of names that have several versions, or a delete marker: the one to read
}

// maxOdd bounds the names with several versions that a listing remembers.
const maxOdd = 200_000

// OpenS3 opens the archive at s3://bucket/prefix. Nothing is asked of the store yet.
func OpenS3(ctx context.Context, name string, c S3Config) (*Bucket, error) {
	rest, ok := strings.CutPrefix(name, "s3://")
	where, prefix, _ := strings.Cut(rest, "/")
	if !ok || where == "" {
		return nil, fmt.Errorf("%q is not s3://<bucket>/<prefix>", name)
	}
	var options []func(*config.LoadOptions) error
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Client != nil {
		options = append(options, config.WithHTTPClient(c.Client))
	}
	if c.Provider != nil {
		options = append(options, config.WithCredentialsProvider(c.Provider))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		if c.Endpoint == "" && loaded.BaseEndpoint == nil {
			return nil, errors.New("no region: set AWS_REGION or give --region")
		}
		loaded.Region = "us-east-1" // a store that is not AWS seldom minds
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
		o.UsePathStyle = o.BaseEndpoint != nil
		// The digests of the manifests are what counts; a store's own may be missing.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Bucket{client: client, bucket: where, prefix: prefix, versions: make(map[string]string)}, nil
}

// Close implements io.Closer.
func (b *Bucket) Close() error { return nil }

// object gathers the versions of one key, which a listing gives newest first.
type object struct {
	key     string
	last    string // version id
	oldest  types.ObjectVersion
	number  int
	differ  bool // bytes of versions
	deleted bool // the newest is a delete marker
	markers int
}

// List implements archive.Source: every version and delete marker of the prefix.
func (b *Bucket) List(ctx context.Context, found func(archive.Entry) error) error {
	pages := s3.NewListObjectVersionsPaginator(b.client, &s3.ListObjectVersionsInput{Bucket: &b.bucket, Prefix: &b.prefix})
	var o object
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list versions of s3://%s/%s: %w", b.bucket, b.prefix, bucket.Sentence(b.bucket, err))
		}
		// Versions and markers come in two lists, each in the order of the keys.
		versions, markers := page.Versions, page.DeleteMarkers
		for len(versions) > 0 || len(markers) > 0 {
			marker := len(versions) == 0 || len(markers) > 0 && before(markers[0], versions[0])
			var key string
			if marker {
				key = aws.ToString(markers[0].Key)
			} else {
				key = aws.ToString(versions[0].Key)
			}
			if key != o.key {
				if err := b.entry(&o, found); err != nil {
					return err
				}
				o = object{key: key}
			}
			if marker {
				o.markers++
				o.deleted = o.deleted || aws.ToBool(markers[0].IsLatest)
				markers = markers[1:]
			} else {
				o.add(versions[0])
				versions = versions[1:]
			}
		}
	}
	return b.entry(&o, found)
}

// before tells whether a marker comes before a version: by key, the newest first.
func before(m types.DeleteMarkerEntry, v types.ObjectVersion) bool {
	order := cmp.Compare(aws.ToString(m.Key), aws.ToString(v.Key))
	return order < 0 || order == 0 && aws.ToTime(m.LastModified).After(aws.ToTime(v.LastModified))
}

func (o *object) add(v types.ObjectVersion) {
	// Some stores repeat the last version of a page at the head of the next.
	if id := aws.ToString(v.VersionId); o.number > 0 && id == o.last {
		return
	}
	o.last = aws.ToString(v.VersionId)
	if o.number > 0 && (aws.ToString(v.ETag) != aws.ToString(o.oldest.ETag) || aws.ToInt64(v.Size) != aws.ToInt64(o.oldest.Size)) {
		o.differ = true
	}
	if o.number == 0 || !aws.ToTime(v.LastModified).After(aws.ToTime(o.oldest.LastModified)) {
		o.oldest = v
	}
	o.number++
}

// entry hands over one name. A name of which nothing but delete markers is left
// is not there.
func (b *Bucket) entry(o *object, found func(archive.Entry) error) error {
	path, ok := strings.CutPrefix(o.key, b.prefix)
	if o.number == 0 || !ok || path == "" || strings.HasSuffix(path, "/") && aws.ToInt64(o.oldest.Size) == 0 {
		return nil // folders that consoles make have empty objects
	}
	if o.number > 1 || o.markers > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.versions) >= maxOdd {
			return fmt.Errorf("more than %d names of s3://%s/%s have several versions: this bucket is no write-once archive", maxOdd, b.bucket, b.prefix)
		}
		b.versions[path] = aws.ToString(o.oldest.VersionId)
	}
	e := archive.Entry{Path: path, Size: aws.ToInt64(o.oldest.Size), Regular: true, Hidden: o.deleted}
	if e.Versions = o.number; o.number > 1 {
		e.Overwritten = o.differ
	}
	return found(e)
}

// Open implements archive.Source.
func (b *Bucket) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	b.mu.Lock()
	version := b.versions[path]
	b.mu.Unlock()
	open := func(from int64, etag string) (io.ReadCloser, string, error) {
		in := &s3.GetObjectInput{Bucket: &b.bucket, Key: aws.String(b.prefix + path)}
		if version != "" {
			in.VersionId = &version
		}
		if from > 0 {
			in.Range, in.IfMatch = aws.String(fmt.Sprintf("bytes=%d-", from)), &etag
		}
		out, err := b.client.GetObject(ctx, in)
		if err != nil {
			if missing := new(types.NoSuchKey); errors.As(err, &missing) {
				return nil, "", fs.ErrNotExist
			}
			return nil, "", fmt.Errorf("get s3://%s/%s%s: %w", b.bucket, b.prefix, path, bucket.Sentence(b.bucket, err))
		}
		return out.Body, aws.ToString(out.ETag), nil
	}
	return openResuming(open)
}

// isS3 tells the names that OpenS3 takes.
func isS3(name string) bool {
	u, err := url.Parse(name)
	return err == nil && u.Scheme == "s3"
}
