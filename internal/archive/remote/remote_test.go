package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/archive/remote"
	"github.com/auditail/auditail/internal/s3test"
	"github.com/auditail/auditail/seal/sealtest"
)

// build makes a sound archive of a few batches.
func build(t *testing.T) *sealtest.Epoch {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	for range 4 {
		e.Data(sealtest.Chat(), e.Records(10))
	}
	e.Close()
	e.Checkpoint()
	return e
}

// verify returns the findings over a source as "level code path".
func verify(t *testing.T, source archive.Source, e *sealtest.Epoch) (found []string) {
	t.Helper()
	trust, _, err := archive.ParseTrust(strings.NewReader(e.Trust()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Verify(t.Context(), source, archive.Options{Trust: trust, Found: func(f archive.Finding) {
		found = append(found, fmt.Sprintf("%s %s %s", f.Level, f.Code, f.Path))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestBucket: a real S3 server with versions. What was put over the evidence, or
// hides it, is found, and the evidence is what is verified.
func TestBucket(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	server := s3test.Start(t, s3test.Options{})
	server.MakeBucket(t, "audit", true)
	client := server.Client(t, server.Root)
	put := func(key string, data []byte) {
		t.Helper()
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("audit"), Key: aws.String("v1/" + key), Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
	}
	e := build(t)
	for path, data := range e.Files {
		put(path, data)
	}
	open := func(name string) *remote.Bucket {
		t.Helper()
		source, err := remote.OpenS3(t.Context(), name, remote.S3Config{
			Endpoint: server.URL, Region: s3test.Region, Client: server.HTTPClient(t), Provider: server.Root,
		})
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	if found := verify(t, open("s3://audit/v1"), e); len(found) > 0 {
		t.Fatalf("the archive as it was put: %q", found)
	}
	trust, _, _ := archive.ParseTrust(strings.NewReader(e.Trust())) // ParseTrust is not under test
	if _, err := archive.Prove(t.Context(), open("s3://audit/v1/"), archive.ProveOptions{Trust: trust, ID: firstID(t, e)}); err != nil {
		t.Errorf("prove: %v", err)
	}

	repeated, forged, deleted := e.Origin.ManifestPath(1), e.Batches[2].Manifest.PayloadPath, e.Origin.SignaturePath(3)
	put(repeated, e.Files[repeated])
	put(forged, sealtest.Compress(t, []byte("{}\n")))
	put(e.Origin.ManifestPath(2), []byte("nothing"))
	for _, key := range []string{deleted, e.Batches[4].Manifest.PayloadPath} {
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("audit"), Key: aws.String("v1/" + key)}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"violation version-hidden " + e.Batches[4].Manifest.PayloadPath,
		"violation versions-differ " + forged,
		"notice versions-repeat " + repeated,
		"violation versions-differ " + e.Origin.ManifestPath(2),
		"violation version-hidden " + deleted,
	}
	if diff := cmp.Diff(want, verify(t, open("s3://audit/v1"), e)); diff != "" {
		t.Error(diff)
	}

	if _, err := archive.Verify(t.Context(), open("s3://audit/nowhere"), archive.Options{Found: func(archive.Finding) {}}); !errors.Is(err, archive.ErrNoArchive) {
		t.Errorf("an empty prefix: %v", err)
	}
	if err := open("s3://missing/v1").List(t.Context(), func(archive.Entry) error { return nil }); err == nil {
		t.Error("a bucket that does not exist has a listing")
	}
}

// TestPagesOfBucket: a listing of more than a page, by a server that repeats the last
// version of a page at the head of the next.
func TestPagesOfBucket(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	server := s3test.Start(t, s3test.Options{})
	server.MakeBucket(t, "audit", true)
	client := server.Client(t, server.Root)
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	for len(e.Files) < 1005 {
		e.Heartbeat()
	}
	e.Close()
	e.Checkpoint()
	paths := make(chan string)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for path := range paths {
				_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("audit"), Key: aws.String("v1/" + path), Body: bytes.NewReader(e.Files[path])})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for path := range e.Files {
		paths <- path
	}
	close(paths)
	workers.Wait()
	source, err := remote.OpenS3(t.Context(), "s3://audit/v1", remote.S3Config{
		Endpoint: server.URL, Region: s3test.Region, Client: server.HTTPClient(t), Provider: server.Root,
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := verify(t, source, e); len(found) > 0 {
		t.Errorf("a sound archive: %q", found)
	}
}

func firstID(t *testing.T, e *sealtest.Epoch) string {
	t.Helper()
	var r struct{ ID string }
	line, _, _ := bytes.Cut(sealtest.Plain(t, e.Files[e.Batches[1].Manifest.PayloadPath]), []byte("\n"))
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// central answers as the central server does, a few objects a page, and now and
// then badly.
type central struct {
	files map[string][]byte
	fail  func(w http.ResponseWriter, r *http.Request) bool
}

func (c *central) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/base/v1/objects/")
	switch {
	case !ok || r.Method != http.MethodGet:
		http.NotFound(w, r)
	case r.Header.Get("Authorization") != "Bearer secret":
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"title":"Forbidden","detail":"the token was revoked"}`)
	case c.fail != nil && c.fail(w, r):
	case path == "":
		type object struct {
			Path string `json:"path"`
			Size int    `json:"size"`
		}
		var page struct {
			Objects []object `json:"objects"`
			Next    string   `json:"next,omitempty"`
		}
		for _, name := range slices.Sorted(maps.Keys(c.files)) {
			if name <= r.URL.Query().Get("after") {
				continue
			}
			if len(page.Objects) == 5 {
				page.Next = page.Objects[4].Path
				break
			}
			page.Objects = append(page.Objects, object{name, len(c.files[name])})
		}
		json.NewEncoder(w).Encode(page)
	default:
		data, ok := c.files[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func TestCentralServer(t *testing.T) {
	e := build(t)
	c := &central{files: e.Files}
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	open := func(token string) *remote.Central {
		t.Helper()
		source, err := remote.OpenServer(server.URL+"/base/", token, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	if found := verify(t, open("secret"), e); len(found) > 0 {
		t.Errorf("findings %q", found)
	}

	// A connection that breaks off in every body, and a server that is busy now
	// and then, are no findings.
	asked := make(map[string]int)
	c.fail = func(w http.ResponseWriter, r *http.Request) bool {
		path := strings.TrimPrefix(r.URL.Path, "/base/v1/objects/")
		if asked[path]++; asked[path] > 1 || path == "" {
			return false
		}
		data := e.Files[path]
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
	if found := verifyAlone(t, open("secret"), e); len(found) > 0 || len(asked) < len(e.Files) {
		t.Errorf("findings %q after %d broken answers", found, len(asked))
	}
	c.fail = nil

	delete(e.Files, e.Batches[2].Manifest.PayloadPath)
	if diff := cmp.Diff([]string{"violation payload-missing " + e.Batches[2].Manifest.PayloadPath}, verify(t, open("secret"), e)); diff != "" {
		t.Error(diff)
	}
	if _, err := open("secret").Open(t.Context(), "seals/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing object: %v", err)
	}

	err := open("wrong").List(t.Context(), func(archive.Entry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden: the token was revoked") {
		t.Errorf("a wrong token: %v", err)
	}
}

// verifyAlone verifies with one worker: the test's server counts without a lock.
func verifyAlone(t *testing.T, source archive.Source, e *sealtest.Epoch) (found []string) {
	t.Helper()
	for path := range e.Files {
		f, err := source.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || !bytes.Equal(data, e.Files[path]) {
			found = append(found, fmt.Sprintf("%s: %d bytes, %v", path, len(data), err))
		}
	}
	return found
}

// A listing that goes in circles, or is no listing, is an error, never a short archive.
func TestListingsThatLie(t *testing.T) {
	for name, body := range map[string]string{
		"out of order":   `{"objects":[{"path":"seals/b","size":1},{"path":"seals/a","size":1}]}`,
		"the same twice": `{"objects":[{"path":"seals/b","size":1},{"path":"seals/b","size":1}]}`,
		"in circles":     `{"objects":[{"path":"seals/b","size":1}],"next":"seals/a"}`,
		"without end":    `{"objects":[],"next":"seals/a"}`,
		"no listing":     `<html>`,
		"cut":            `{"objects":[{"path":"sea`,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
			t.Cleanup(server.Close)
			source, err := remote.OpenServer(server.URL, "secret", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := source.List(t.Context(), func(archive.Entry) error { return nil }); err == nil {
				t.Error("listed")
			}
		})
	}
}

func TestNamesThatAreNoServers(t *testing.T) {
	for name, token := range map[string]string{
		"http://audit.example.com":       "secret", // the token in the clear
		"https://":                       "secret",
		"https://user@audit.example.com": "secret",
		"https://audit.example.com?a=b":  "secret",
		"https://audit.example.com":      "",
		"https://audit.example.com/%zz":  "secret",
	} {
		if _, err := remote.Open(t.Context(), name, remote.Options{Token: token}); err == nil {
			t.Errorf("%s with token %q is opened", name, token)
		}
	}
	for _, name := range []string{"s3://", "s3:///prefix"} {
		if _, err := remote.Open(t.Context(), name, remote.Options{S3: remote.S3Config{Region: "x"}}); err == nil {
			t.Errorf("%s is opened", name)
		}
	}
}

// A redirect does not carry the token away.
func TestRedirectIsRefused(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	t.Cleanup(server.Close)
	source, err := remote.OpenServer(server.URL, "secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := source.List(t.Context(), func(archive.Entry) error { return nil }); err == nil {
		t.Error("listed")
	}
}
