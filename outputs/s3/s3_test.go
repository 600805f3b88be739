package s3output_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/internal/s3test"
	"github.com/auditail/auditail/outputs"
	s3output "github.com/auditail/auditail/outputs/s3"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

const (
	evidence = "evidence"
	year     = 365 * 24 * time.Hour
)

// agentPolicy is what an agent needs, and nothing more: the policy of the README.
const agentPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":["agent1"]},"Action":["s3:GetBucketVersioning","s3:GetBucketObjectLockConfiguration","s3:ListBucket"],"Resource":["arn:aws:s3:::evidence"]},
{"Effect":"Allow","Principal":{"AWS":["agent1"]},"Action":["s3:PutObject","s3:PutObjectRetention","s3:PutObjectLegalHold","s3:GetObject","s3:GetObjectVersion","s3:GetObjectRetention"],"Resource":["arn:aws:s3:::evidence/*"]}]}`

// store is a real server with a bucket and an agent that may put and get.
type store struct {
	*s3test.Server
	agent s3test.Credentials
}

func newStore(t *testing.T, o s3test.Options) *store {
	t.Helper()
	// The SDK would trust what these name, and ask an instance for credentials.
	for _, name := range []string{"AWS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_PROFILE", "AWS_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s := &store{Server: s3test.Start(t, o)}
	s.MakeBucket(t, evidence, true)
	s.agent = s.MakeUser(t, "agent1")
	s.SetPolicy(t, evidence, agentPolicy)
	return s
}

func (s *store) config() s3output.Config {
	return s3output.Config{
		Name: "worm", SealTerm: year, Config: bucket.Config{
			Endpoint: s.URL, Region: s3test.Region, Bucket: evidence, Prefix: "v1", CAFile: s.CAFile,
			AccessKey: s.agent.AccessKey, SecretKey: func() ([]byte, error) { return []byte(s.agent.SecretKey + "\n"), nil },
			Timeout: 20 * time.Second,
		},
	}
}

func start(t *testing.T, c s3output.Config, d s3output.Deps) *s3output.Output {
	t.Helper()
	d.Agent, d.Version = "gpu-07", "0.1.0"
	o, err := s3output.New(t.Context(), c, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return o
}

// epoch is a log with two payloads of different terms.
func epoch(t *testing.T) *sealtest.Epoch {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	until := func(term time.Duration) sealtest.Option {
		return sealtest.WithManifest(func(m *seal.Manifest) { m.KeepUntil = now.Add(term) })
	}
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(500), until(48*time.Hour))
	e.Heartbeat()
	e.Data(seal.Stream{Environment: "prod", Service: "embed", Class: "legal"}, e.Records(3), until(year))
	e.Close()
	return e
}

func ship(t *testing.T, o outputs.Output, batches []seal.Batch) (stored int) {
	t.Helper()
	for _, b := range batches {
		receipt, err := o.Ship(t.Context(), b)
		if err != nil {
			t.Fatalf("ship batch %d: %v", b.Manifest.Batch, err)
		}
		stored += receipt.Stored
	}
	return stored
}

func wantFiles(t *testing.T, s *store, want map[string][]byte) {
	t.Helper()
	if got := s.Files(t, evidence, "v1/"); !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the bucket holds %d files %q, want the %d sealed ones", len(got), slices.Sorted(maps.Keys(got)), len(want))
	}
}

// TestShip: an epoch arrives once under its archive names, each object locked
// until its own term, over TLS with an authority of one's own and as a user who
// may put and get alone.
func TestShip(t *testing.T) {
	s := newStore(t, s3test.Options{TLS: true})
	e := epoch(t)
	o := start(t, s.config(), s3output.Deps{})
	if err := o.Probe(t.Context()); err != nil {
		t.Fatalf("probe: %v", err)
	}
	if stored := ship(t, o, e.Batches); stored != len(e.Files) {
		t.Errorf("%d objects were new, want %d", stored, len(e.Files))
	}
	if stored := ship(t, start(t, s.config(), s3output.Deps{}), e.Batches); stored != 0 {
		t.Errorf("shipping again stored %d objects", stored)
	}
	wantFiles(t, s, e.Files)
	for _, b := range e.Batches {
		for _, object := range b.Objects {
			want := b.Manifest.Sealed.Add(year)
			if object.Kind == seal.PayloadObject {
				want = b.Manifest.KeepUntil
			}
			if least := time.Now().Add(23 * time.Hour); want.Before(least) {
				want = least // sealtest's clock is of the past
			}
			head := s.head(t, object.Path)
			if head.ObjectLockMode != types.ObjectLockModeCompliance || head.ObjectLockRetainUntilDate == nil ||
				head.ObjectLockRetainUntilDate.Before(want.Add(-time.Second)) {
				t.Errorf("%s is locked %q until %v, want COMPLIANCE until %s", object.Path, head.ObjectLockMode, head.ObjectLockRetainUntilDate, want)
			}
		}
	}
}

func (s *store) head(t *testing.T, path string) *s3.HeadObjectOutput {
	t.Helper()
	head, err := s.Client(t, s.Root).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(evidence), Key: aws.String("v1/" + path)})
	if err != nil {
		t.Fatalf("head %s: %v", path, err)
	}
	return head
}

// TestStoreRefuses: what the lock is for. Nobody, the owner included, deletes a
// version, shortens its retention or writes another one that auditail takes.
func TestStoreRefuses(t *testing.T) {
	s := newStore(t, s3test.Options{})
	e := epoch(t)
	c := s.config()
	c.LegalHold = true
	o := start(t, c, s3output.Deps{})
	ship(t, o, e.Batches)
	for name, user := range map[string]s3test.Credentials{"agent": s.agent, "owner": s.Root} {
		client := s.Client(t, user)
		for path := range e.Files {
			key := aws.String("v1/" + path)
			version := s.head(t, path).VersionId
			bypass := user == s.Root
			tries := map[string]func() error{
				"remove a version": func() error {
					_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(evidence), Key: key, VersionId: version, BypassGovernanceRetention: &bypass})
					return err
				},
				"shorten retention": func() error {
					_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
						Bucket: aws.String(evidence), Key: key, VersionId: version, BypassGovernanceRetention: &bypass,
						Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))},
					})
					return err
				},
				"weaken the mode": func() error {
					_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
						Bucket: aws.String(evidence), Key: key, VersionId: version, BypassGovernanceRetention: &bypass,
						Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(2 * year))},
					})
					return err
				},
				"overwrite": func() error {
					_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(evidence), Key: key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
					return err
				},
			}
			for what, try := range tries {
				if try() == nil {
					t.Errorf("the %s could %s of %s", name, what, path)
				}
			}
		}
	}
	wantFiles(t, s, e.Files)
}

// TestFork: other bytes under a name stop the output; a plain write behind its
// back, which versioning allows, does too.
func TestFork(t *testing.T) {
	s := newStore(t, s3test.Options{})
	e := epoch(t)
	o := start(t, s.config(), s3output.Deps{})
	for _, b := range e.Batches {
		for _, object := range b.Objects {
			_, err := s.Client(t, s.Root).PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String(evidence), Key: aws.String("v1/" + object.Path), Body: bytes.NewReader(append(slices.Clone(e.Files[object.Path]), 'x')),
			})
			if err != nil {
				t.Fatal(err)
			}
			alone := b
			alone.Objects = []seal.Object{object}
			_, err = o.Ship(t.Context(), alone)
			if named := (*outputs.ObjectError)(nil); !errors.Is(err, outputs.ErrFork) || !errors.As(err, &named) || named.Path != object.Path {
				t.Errorf("%s: %v, want a fork", object.Path, err)
			}
		}
	}
}

// TestRestart: the store is killed while batches are on their way, and an answer
// is lost behind each object that was stored.
func TestRestart(t *testing.T) {
	s := newStore(t, s3test.Options{})
	e := epoch(t)
	lost := make(map[string]bool)
	c := s.config()
	o := start(t, c, s3output.Deps{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && r.Method == http.MethodPut && response.StatusCode == http.StatusOK && strings.HasPrefix(r.URL.Path, "/evidence/v1/") && !lost[r.URL.Path] {
			lost[r.URL.Path] = true
			response.Body.Close()
			return nil, io.ErrUnexpectedEOF
		}
		return response, err
	})})
	for i, b := range e.Batches {
		s.Stop()
		back := make(chan struct{})
		time.AfterFunc(time.Duration(i)*300*time.Millisecond, func() { defer close(back); s.Restart(t) })
		ship(t, o, []seal.Batch{b})
		<-back
	}
	if len(lost) != len(e.Files) {
		t.Errorf("only %d answers were lost", len(lost))
	}
	wantFiles(t, s, e.Files)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestMistakes: each ends in one clear sentence, ships nothing and loses nothing.
func TestMistakes(t *testing.T) {
	s := newStore(t, s3test.Options{})
	s.MakeBucket(t, "rewritable", false)
	other := s.MakeUser(t, "stranger")
	for name, test := range map[string]struct {
		change func(*s3output.Config, *s3output.Deps)
		want   string
	}{
		"missing bucket": {func(c *s3output.Config, _ *s3output.Deps) { c.Bucket = "nowhere" }, "there is no such bucket"},
		"no object lock": {func(c *s3output.Config, _ *s3output.Deps) {
			c.Bucket, c.AccessKey = "rewritable", s.Root.AccessKey
			c.SecretKey = func() ([]byte, error) { return []byte(s.Root.SecretKey), nil }
		}, "has no Object Lock"},
		"wrong region": {func(c *s3output.Config, _ *s3output.Deps) { c.Region = "us-east-1" }, "in another region"},
		"unknown key":  {func(c *s3output.Config, _ *s3output.Deps) { c.AccessKey = "nobody" }, "does not know this access key"},
		"wrong secret": {func(c *s3output.Config, _ *s3output.Deps) {
			c.SecretKey = func() ([]byte, error) { return []byte("wrong"), nil }
		}, "does not belong to the access key"},
		"no rights": {func(c *s3output.Config, _ *s3output.Deps) {
			c.AccessKey, c.SecretKey = other.AccessKey, func() ([]byte, error) { return []byte(other.SecretKey), nil }
		}, "may not read whether it has versioning"},
		"no credentials": {func(c *s3output.Config, _ *s3output.Deps) { c.AccessKey, c.SecretKey = "", nil }, "no credentials"},
		"secret is gone": {func(c *s3output.Config, _ *s3output.Deps) {
			c.SecretKey = func() ([]byte, error) { return nil, errors.New("open /etc/auditail/s3: no such file") }
		}, "read secret_key: open /etc/auditail/s3"},
		"wrong port":    {func(c *s3output.Config, _ *s3output.Deps) { c.Endpoint = "http://127.0.0.1:1" }, "connection refused"},
		"name unknown":  {func(c *s3output.Config, _ *s3output.Deps) { c.Endpoint = "http://store.invalid" }, "store.invalid"},
		"two hours off": {func(_ *s3output.Config, d *s3output.Deps) { d.Transport = skewed(2 * time.Hour) }, "correct the host's time"},
		"expired token": {func(_ *s3output.Config, d *s3output.Deps) { d.Transport = refuses(400, "ExpiredToken") }, "session token has expired"},
		"redirect":      {func(_ *s3output.Config, d *s3output.Deps) { d.Transport = refuses(301, "PermanentRedirect") }, "in another region"},
		"ten GB": {func(_ *s3output.Config, d *s3output.Deps) {
			d.Transport = answers(func(*http.Request) *http.Response { return response(503, io.LimitReader(zeros{}, 10<<30)) })
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := s.config(), s3output.Deps{}
			test.change(&c, &d)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			log := &until{text: "delivery delayed", call: cancel}
			d.Log = slog.New(slog.NewTextHandler(log, nil))
			o := start(t, c, d)
			err := o.Probe(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n") || len(err.Error()) > 600 {
				t.Errorf("probe: %v\nwant one sentence with %q", err, test.want)
			}
			_, err = o.Ship(ctx, epoch(t).Batches[0])
			if !errors.Is(err, context.Canceled) || errors.Is(err, outputs.ErrPermanent) || errors.Is(err, outputs.ErrFork) {
				t.Errorf("ship: %v, want that it waits", err)
			}
			if said := log.String(); !strings.Contains(said, "delivery delayed") || strings.Contains(said, "agent1-secret") {
				t.Errorf("log:\n%s", said)
			}
		})
	}
	wantFiles(t, s, map[string][]byte{})
}

// until calls once its text was written.
type until struct {
	mu   sync.Mutex
	all  bytes.Buffer
	text string
	call func()
}

func (u *until) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all.Write(p)
	if bytes.Contains(p, []byte(u.text)) {
		u.call()
	}
	return len(p), nil
}

func (u *until) String() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func response(code int, body io.Reader) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(body),
	}
}

func answers(answer func(*http.Request) *http.Response) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		a := answer(r)
		a.Request = r
		return a, nil
	})
}

func refuses(status int, code string) http.RoundTripper {
	return answers(func(*http.Request) *http.Response {
		return response(status, strings.NewReader(`<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>No.</Message></Error>`))
	})
}

// skewed reaches the real server with requests that were signed at another time:
// the server sees a host whose clock is off, and answers with its own words.
func skewed(by time.Duration) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("X-Amz-Date", time.Now().UTC().Add(by).Format("20060102T150405Z"))
		return http.DefaultTransport.RoundTrip(r)
	})
}

// TestLiar: a store that echoes the headers of a lock and keeps nothing is named
// for what it is, and gets nothing.
func TestLiar(t *testing.T) {
	s := newStore(t, s3test.Options{})
	for name, test := range map[string]struct {
		lie  func(r *http.Request) *http.Response
		want string
	}{
		"deletes locked versions": {func(r *http.Request) *http.Response {
			if r.Method == http.MethodDelete {
				return response(204, http.NoBody)
			}
			return nil
		}, "only repeats the headers of a lock"},
		"shows no lock": {func(r *http.Request) *http.Response {
			if r.Method == http.MethodHead {
				return response(200, http.NoBody)
			}
			return nil
		}, "does not show the lock"},
		"ignores conditions": {func(r *http.Request) *http.Response {
			if r.Method == http.MethodPut {
				a := response(200, http.NoBody)
				a.Header.Set("X-Amz-Version-Id", "v1")
				return a
			}
			return nil
		}, "ignores If-None-Match"},
		"has no versions": {func(r *http.Request) *http.Response {
			if r.Method == http.MethodGet && r.URL.Query().Has("versioning") {
				return response(200, strings.NewReader(`<VersioningConfiguration></VersioningConfiguration>`))
			}
			return nil
		}, "versioning switched off"},
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t, s.config(), s3output.Deps{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if a := test.lie(r); a != nil {
					if r.Body != nil {
						io.Copy(io.Discard, r.Body)
					}
					a.Request = r
					return a, nil
				}
				return http.DefaultTransport.RoundTrip(r)
			})})
			if err := o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("probe: %v, want %q", err, test.want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := o.Ship(ctx, epoch(t).Batches[0]); err == nil {
				t.Error("the liar got a batch")
			}
		})
	}
	wantFiles(t, s, map[string][]byte{})
}

// TestVirtualHost: the bucket in the host name.
func TestVirtualHost(t *testing.T) {
	s := newStore(t, s3test.Options{VirtualDomain: "s3.example"})
	address, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var hosts atomic.Int64
	proxy := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == evidence+".s3.example" {
			hosts.Add(1)
		}
		through := r.Clone(r.Context())
		through.Host = r.URL.Host
		through.URL.Host = address.Host
		return http.DefaultTransport.RoundTrip(through)
	})
	c := s.config()
	c.Endpoint, c.Addressing, c.Prefix = "http://s3.example", bucket.VirtualHost, ""
	o := start(t, c, s3output.Deps{Transport: proxy})
	e := epoch(t)
	ship(t, o, e.Batches[:2])
	if hosts.Load() == 0 {
		t.Error("no request went to the bucket's own host")
	}
	if files := s.Files(t, evidence, "seals/"); len(files) != 5 {
		t.Errorf("%d seals at the root of the bucket: %q", len(files), slices.Sorted(maps.Keys(files)))
	}
}

// TestHead: what the bucket holds of a log, asked for by one who may only read.
func TestHead(t *testing.T) {
	s := newStore(t, s3test.Options{})
	o := start(t, s.config(), s3output.Deps{})
	e := sealtest.New(t, sealtest.Config{})
	want := func(size uint64, root seal.Hash) {
		t.Helper()
		head, err := o.Head(t.Context(), e.Origin.String())
		if err != nil || head.Size != size || head.Root != root {
			t.Errorf("head: %+v, %v, want size %d, root %s", head, err, size, root)
		}
	}
	want(0, seal.EmptyRoot())
	var tree seal.Tree
	for i := range 21 {
		b := e.Heartbeat
		if i == 0 {
			b = e.Open
		}
		batch := b()
		ship(t, o, []seal.Batch{batch})
		tree.Add(seal.LeafHash(batch.ManifestFile))
		if i < 4 || i > 15 {
			want(tree.Size(), tree.Root())
		}
		if i == 18 {
			if err := o.Publish(t.Context(), e.Checkpoint()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestGovernance and what the operator may choose besides.
func TestGovernance(t *testing.T) {
	s := newStore(t, s3test.Options{})
	c := s.config()
	c.Lock = bucket.LockGovernance
	e := epoch(t)
	ship(t, start(t, c, s3output.Deps{}), e.Batches[:1])
	if head := s.head(t, e.Batches[0].Objects[0].Path); head.ObjectLockMode != types.ObjectLockModeGovernance {
		t.Errorf("locked in mode %q", head.ObjectLockMode)
	}
	s.MakeBucket(t, "plain", false)
	c.Lock, c.Bucket, c.AccessKey = bucket.LockOff, "plain", s.Root.AccessKey
	c.SecretKey = func() ([]byte, error) { return []byte(s.Root.SecretKey), nil }
	o := start(t, c, s3output.Deps{})
	if err := o.Probe(t.Context()); err != nil {
		t.Errorf("probe without lock: %v", err)
	}
	ship(t, o, e.Batches)
	if files := s.Files(t, "plain", "v1/"); !maps.EqualFunc(files, e.Files, bytes.Equal) {
		t.Errorf("%d files, want %d", len(files), len(e.Files))
	}
	if probes := s.Files(t, "plain", bucket.ProbeFolder+"/"); len(probes) != 0 {
		t.Errorf("probes are left: %d", len(probes))
	}
}

// TestHeaders: what is asked of the store with each object.
func TestHeaders(t *testing.T) {
	s := newStore(t, s3test.Options{})
	var headers []http.Header
	c := s.config()
	c.Encryption, c.KMSKey, c.LegalHold = "aws:kms", "arn:aws:kms:eu-central-1:1:key/2", true
	o := start(t, c, s3output.Deps{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/v1/") {
			headers = append(headers, r.Header.Clone())
			return nil, errors.New("not sent")
		}
		return http.DefaultTransport.RoundTrip(r)
	})})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _ = o.Ship(ctx, epoch(t).Batches[1]) // it waits: nothing is sent
	if len(headers) == 0 {
		t.Fatal("no object was put")
	}
	for name, want := range map[string]string{
		"If-None-Match": "*", "X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Legal-Hold": "ON",
		"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": c.KMSKey, "Content-Type": "application/zstd",
	} {
		if got := headers[0].Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if headers[0].Get("X-Amz-Checksum-Sha256") == "" || len(headers[0].Get("X-Amz-Content-Sha256")) != 64 {
		t.Errorf("the digest is not in %v", headers[0])
	}
	if agent := headers[0].Get("User-Agent"); !strings.Contains(agent, "auditail/0.1.0") {
		t.Errorf("User-Agent %q", agent)
	}
}
