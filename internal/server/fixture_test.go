package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/internal/s3test"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// fixture is a server over fresh directories with one enrolled agent.
type fixture struct {
	t      *testing.T
	config Config
	deps   Deps
	server *Server
	log    *syncBuffer
	token  string
	epoch  *sealtest.Epoch
	s3     *s3test.Server // nil over a directory
}

// syncBuffer collects what the server logs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newFixture does not wait for the disk; tests that end in the real one use
// newFixtureOver(t, durable.OS{}).
func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOver(t, unsyncedFS{})
}

// overBucket is the test that runs others with a store in a bucket.
const overBucket = "TestOverBucket/"

// testServer names the S3 server that the tests under overBucket share.
const testServer = "AUDITAIL_TEST_S3"

// newBucketFixture is a fixture over a bucket of its own.
func newBucketFixture(t *testing.T, fsys durable.FS) *fixture {
	t.Helper()
	for _, name := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "") // the SDK would take them for its own
	}
	s, name := s3test.At(os.Getenv(testServer)), strings.ToLower(rand.Text())
	s.MakeBucket(t, name, true)
	t.Setenv("AUDITAIL_TEST_S3_SECRET", s.Root.SecretKey)
	c := DefaultConfig()
	c.Store, c.State = "s3://"+name+"/v1", filepath.Join(t.TempDir(), "state")
	c.S3 = S3Config{
		Endpoint: s.URL, Region: s3test.Region, AccessKey: s.Root.AccessKey, SecretKey: config.Secret{Env: "AUDITAIL_TEST_S3_SECRET"},
	}
	return newFixtureWith(t, fsys, c, s)
}

func newFixtureOver(t *testing.T, fsys durable.FS) *fixture {
	t.Helper()
	if strings.HasPrefix(t.Name(), overBucket) {
		return newBucketFixture(t, fsys)
	}
	store := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(store, storeDirMode); err != nil {
		t.Fatal(err)
	}
	return newFixtureAt(t, fsys, store)
}

func newFixtureAt(t *testing.T, fsys durable.FS, store string) *fixture {
	t.Helper()
	c := DefaultConfig()
	c.Store = store
	return newFixtureWith(t, fsys, c, nil)
}

func newFixtureWith(t *testing.T, fsys durable.FS, c Config, s *s3test.Server) *fixture {
	t.Helper()
	log := new(syncBuffer)
	f := &fixture{t: t, log: log, epoch: sealtest.New(t, sealtest.Config{}), config: c, s3: s}
	f.deps = Deps{
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FS:     fsys,
		Now:    func() time.Time { return time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC) },
		Pause:  func(context.Context, time.Duration) error { return nil },
	}
	if _, memory := fsys.(*faulty.FS); !memory {
		f.deps.Lock = durable.Lock
	}
	f.token = f.enrol(f.epoch)
	f.start()
	return f
}

func (f *fixture) enrol(e *sealtest.Epoch) string {
	f.t.Helper()
	token, err := Enrol(context.Background(), f.config, f.deps, e.Origin.Log, e.PublicKey(), "", "")
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// start makes a new server over the same directories, as a restart does.
func (f *fixture) start() {
	f.t.Helper()
	s, err := New(context.Background(), f.config, f.deps)
	if err != nil {
		f.t.Fatal(err)
	}
	s.registry.fresh = 0 // a bucket's servers see a change later; a test does not wait for that
	f.server = s
}

// request is a PUT that a test may bend before it is sent.
type request struct {
	method, path, token string
	header              http.Header
	body                []byte
	length              int64 // -1 for none
}

// upload returns the correct PUT of an object; manifest is that of a payload's batch.
func (f *fixture) upload(path string, body, manifest []byte) request {
	digest := seal.DigestOf(body)
	r := request{
		method: http.MethodPut, path: path, token: f.token, body: body, length: int64(len(body)),
		header: http.Header{
			"If-None-Match": {"*"},
			"Repr-Digest":   {"sha-256=:" + base64.StdEncoding.EncodeToString(digest[:]) + ":"},
		},
	}
	if manifest != nil {
		r.header.Set(manifestHeader, base64.StdEncoding.EncodeToString(manifest))
	}
	return r
}

// uploads returns the correct PUTs of a batch in ship order.
func (f *fixture) uploads(b seal.Batch) []request {
	f.t.Helper()
	var all []request
	for _, o := range b.Objects {
		body, err := o.Open()
		if err != nil {
			f.t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			f.t.Fatal(err)
		}
		var manifest []byte
		if o.Kind == seal.PayloadObject {
			manifest = b.ManifestFile
		}
		all = append(all, f.upload(o.Path, data, manifest))
	}
	return all
}

// batch returns one PUT of a batch.
func (f *fixture) object(b seal.Batch, kind seal.ObjectKind) request {
	f.t.Helper()
	for i, o := range b.Objects {
		if o.Kind == kind {
			return f.uploads(b)[i]
		}
	}
	f.t.Fatalf("batch %d has no object of kind %d", b.Manifest.Batch, kind)
	return request{}
}

func (f *fixture) checkpoint(c seal.Checkpoint) request { return f.upload(c.Path(), c.File, nil) }

func (r request) http() *http.Request {
	var body io.Reader = bytes.NewReader(r.body)
	if r.method == http.MethodGet || r.method == http.MethodHead {
		body = nil
	}
	h := httptest.NewRequestWithContext(context.Background(), r.method, "http://central"+objectsPrefix+r.path, body)
	h.ContentLength = r.length
	maps.Copy(h.Header, r.header)
	if r.token != "" {
		h.Header.Set("Authorization", "Bearer "+r.token)
	}
	return h
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (f *fixture) do(r request) answer { return f.serve(r.http()) }

func (f *fixture) serve(r *http.Request) answer {
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

// want sends a request and checks the status, and of a problem its form and words.
func (f *fixture) want(status int, r request, words ...string) problem {
	f.t.Helper()
	got := f.do(r)
	if got.status != status {
		f.t.Fatalf("%s %s: status %d, want %d: %s", r.method, r.path, got.status, status, got.body)
	}
	var p problem
	if status < 300 {
		return p
	}
	if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
		f.t.Errorf("%s: Content-Type %q", r.path, kind)
	}
	if err := json.Unmarshal(got.body, &p); err != nil || p.Status != status || p.Title == "" || p.Detail == "" {
		f.t.Errorf("%s: not a problem document: %s (%v)", r.path, got.body, err)
	}
	for _, word := range words {
		if !strings.Contains(p.Detail, word) {
			f.t.Errorf("%s: detail %q does not say %q", r.path, p.Detail, word)
		}
	}
	if retry := got.header.Get("Retry-After"); (retry != "") != (status == 429 || status == 503 || status == 507) {
		f.t.Errorf("%s: status %d with Retry-After %q", r.path, status, retry)
	}
	return p
}

// ship sends all objects of batches and wants each to be new.
func (f *fixture) ship(batches ...seal.Batch) {
	f.t.Helper()
	for _, b := range batches {
		for _, r := range f.uploads(b) {
			f.want(http.StatusCreated, r)
		}
	}
}
