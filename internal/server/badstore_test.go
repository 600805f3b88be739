package server

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/auditail/auditail/internal/s3test"
)

// storeFaults is how many requests to a bucket lie between two that TestDeedsOverABadBucket
// lets fail, each in one way; with 1 each is let fail in each way.
var storeFaults = flag.Int("store.faults", 3, "every how many requests to the bucket one fails; 1: each, in every way")

// badStore is the way to a bucket, on which one request fails.
type badStore struct {
	next http.RoundTripper

	mu    sync.Mutex
	seen  int
	fails int // the number of the request, from 1; 0: none
	how   string
}

// The ways in which a request to a store fails: it was never done, or it was done
// and the answer says nothing of it.
var storeFaultKinds = []string{"never sent", "refused", "done and cut off", "done and reported as failed", "answer cut"} //nolint:gochecknoglobals // a constant

var errCutOff = errors.New("connection reset by peer")

// RoundTrip implements http.RoundTripper.
func (b *badStore) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.seen++
	how := ""
	if b.seen == b.fails {
		how = b.how
	}
	b.mu.Unlock()
	if how == "never sent" || how == "refused" {
		if r.Body != nil {
			r.Body.Close()
		}
		if how == "refused" {
			return slowDown(r), nil
		}
		return nil, errCutOff
	}
	response, err := b.next.RoundTrip(r)
	if err != nil || how == "" {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	switch {
	case err != nil:
		return nil, err
	case how == "answer cut":
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(body[:len(body)/2])), failing{}))
		return response, nil
	case how == "done and cut off":
		return nil, errCutOff
	}
	return slowDown(r), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCutOff }

func slowDown(r *http.Request) *http.Response {
	const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`
	return &http.Response{
		StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// fail lets the n-th request from now on fail, and returns how many there were before.
func (b *badStore) fail(n int, how string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.fails, b.how = 0, n, how
}

func (b *badStore) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

// uploading is the deed of an agent that ships its log.
func uploading() deed {
	return deed{
		prepare: func(w *deedWorld) {
			w.epoch.Data(w.batch.Manifest.Stream, w.epoch.Records(2))
			w.epoch.Heartbeat()
		},
		do: func(w *deedWorld) error {
			for _, b := range w.epoch.Batches[3:] {
				for _, r := range w.uploads(b) {
					if got := w.do(r); got.status != http.StatusCreated && got.status != http.StatusOK {
						return wantRetry(got)
					}
				}
			}
			return nil
		},
		done:  func(*deedWorld) bool { return true },
		holds: func(w *deedWorld) { w.wantStore(w.epoch.Files) },
	}
}

// TestDeedsOverABadBucket lets requests to the bucket fail, one in each run, in the
// middle of uploads and of each deed, never done and done but not said. What was
// acknowledged is there once, in one version; what failed can be asked for again.
func TestDeedsOverABadBucket(t *testing.T) {
	t.Setenv(testServer, s3test.Start(t, s3test.Options{}).URL)
	all := deeds()
	all["uploads"] = uploading()
	delete(all, "retention purge") // the bucket refuses it: testBucketRetention
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			failed, last := 0, 0
			for n, reached := 1, true; reached; n += *storeFaults {
				for kind := range storeFaultKinds {
					if *storeFaults > 1 && kind != n%len(storeFaultKinds) {
						continue
					}
					var err error
					if err, reached = oneStoreFault(t, d, n, storeFaultKinds[kind]); err != nil {
						failed++
					}
				}
				last = n
			}
			t.Logf("up to request %d, %d runs ended in a failure that was told", last, failed)
			if failed == 0 {
				t.Error("no failure was seen")
			}
		})
	}
}

// oneStoreFault lets the n-th request of a deed fail. It returns what the deed failed
// with, and whether there were so many requests.
func oneStoreFault(t *testing.T, d deed, n int, how string) (err error, reached bool) {
	t.Helper()
	bad := &badStore{next: http.DefaultTransport}
	w := &deedWorld{fixture: newBucketFixture(t, unsyncedFS{}), ctx: t.Context(), journal: new(journal)}
	w.deps.Transport = bad
	w.prepared(d)
	at := fmt.Sprintf("request %d %s", n, how)
	bad.fail(n, how)
	err = d.do(w)
	reached = bad.requests() >= n
	bad.fail(0, "")
	if err != nil {
		if err := d.do(w); err != nil {
			t.Fatalf("%s: asked again: %v", at, err)
		}
	}
	w.check(d, at)
	w.start()
	w.check(d, at+", restarted")
	w.wantOneVersion()
	return err, reached
}

// wantOneVersion wants nothing in the archive to have been written twice, or deleted.
func (f *fixture) wantOneVersion() {
	f.t.Helper()
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(f.config.Store, bucketScheme), "/")
	if len(f.s3.Files(f.t, bucket, prefix+"/")) == 0 {
		f.t.Error("the archive is empty")
	}
}
