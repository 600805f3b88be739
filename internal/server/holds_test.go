package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// newGoverned is a fixture over a bucket whose locks root may bypass, where nothing is
// held.
func newGoverned(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.config.S3.Lock = "governance"
	f.start()
	f.ship(f.epoch.Open())
	return f
}

// shipped ships a new payload of a service and returns its path.
func (f *fixture) shipped(service string) string {
	f.t.Helper()
	b := f.epoch.Data(seal.Stream{Environment: "prod", Service: service, Class: "standard"}, f.epoch.Records(2))
	f.ship(b)
	return b.Manifest.PayloadPath
}

// heldByBucket wants the bucket itself to hold these payloads, or not.
func (f *fixture) heldByBucket(want map[string]bool) {
	f.t.Helper()
	client := f.s3.Client(f.t, f.s3.Root)
	name, prefix, _ := strings.Cut(strings.TrimPrefix(f.config.Store, bucketScheme), "/")
	for path, want := range want {
		head, err := client.HeadObject(f.t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: aws.String(prefix + "/" + path)})
		if err != nil {
			f.t.Fatal(err)
		}
		if got := head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn; got != want {
			f.t.Errorf("%s is held by the bucket: %v, want %v", path, got, want)
		}
	}
}

func (f *fixture) hold(h Hold) {
	f.t.Helper()
	if err := SetHold(f.t.Context(), f.config, f.deps, h); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) lift(name string) {
	f.t.Helper()
	if err := LiftHold(f.t.Context(), f.config, f.deps, name); err != nil {
		f.t.Fatal(err)
	}
}

// testBucketHolds: a legal hold is one of the bucket too, while it is set, of what it
// covers: the store removes that for nobody.
func testBucketHolds(t *testing.T) {
	f := newGoverned(t)
	chat, embed := f.shipped("chat"), f.shipped("embed")
	name, prefix, _ := strings.Cut(strings.TrimPrefix(f.config.Store, bucketScheme), "/")
	client := f.s3.Client(t, f.s3.Root)
	remove := func(path string) error {
		key := prefix + "/" + path
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: &key, VersionId: head.VersionId, BypassGovernanceRetention: aws.Bool(true)})
		return err
	}
	f.heldByBucket(map[string]bool{chat: false, embed: false})
	f.hold(Hold{Name: "case-17", Service: "chat", Reason: "a letter"})
	f.heldByBucket(map[string]bool{chat: true, embed: false})
	f.hold(Hold{Name: "case-18", Agent: "gpu-07", Reason: "another letter"})
	f.heldByBucket(map[string]bool{chat: true, embed: true})
	f.lift("case-18") // the other one still covers chat
	f.heldByBucket(map[string]bool{chat: true, embed: false})
	if done, err := ApplyRetention(t.Context(), f.config, f.deps, false); err != nil || done.Removed != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	f.heldByBucket(map[string]bool{chat: true, embed: false})
	if err := remove(chat); err == nil {
		t.Error("the store removed what is held")
	}
	f.lift("case-17")
	f.heldByBucket(map[string]bool{chat: false})
	if err := remove(chat); err != nil {
		t.Errorf("what is not held any more: %v", err)
	}
}

// testHoldsAtUpload: what arrives under a hold is held from its first moment on, also
// what arrives while a server does not know of the hold yet, or not of its end.
func testHoldsAtUpload(t *testing.T) {
	f := newGoverned(t)
	now := f.deps.Now()
	f.deps.Now = func() time.Time { return now }
	f.start()
	f.server.registry.fresh = bucketFresh // as a real server: it looks every ten seconds
	before := f.shipped("chat")           // it knows that there is no hold
	var meanwhile string
	f.deps.Pause = func(_ context.Context, wait time.Duration) error {
		meanwhile = f.shipped("chat")
		now = now.Add(wait)
		return nil
	}
	f.hold(Hold{Name: "case-17", Service: "chat", Class: "standard", Reason: "a letter"})
	f.heldByBucket(map[string]bool{before: true, meanwhile: true})
	after, other := f.shipped("chat"), f.shipped("embed")
	f.heldByBucket(map[string]bool{after: true, other: false})

	f.lift("case-17") // while one more arrives under it
	free := f.shipped("chat")
	f.heldByBucket(map[string]bool{before: false, after: false, meanwhile: false, free: false})
	if holds, err := Holds(t.Context(), f.config, f.deps); err != nil || len(holds) != 0 {
		t.Errorf("%+v, %v", holds, err)
	}
}

// testHoldDuringUpload: a hold is set, and all that is stored is held, between the
// server's look and the end of its write. A write of which the answer was lost, too.
func testHoldDuringUpload(t *testing.T) {
	for what, lost := range map[string]bool{"answered": false, "answer lost": true} {
		f := newGoverned(t)
		data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
		quiet := f.deps
		done := false
		f.deps.Transport = hooked(func(r *http.Request) (*http.Response, error) {
			write := r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/records/") && !done
			if write {
				done = true
				if err := SetHold(t.Context(), f.config, quiet, Hold{Name: "case-17", Service: "chat", Reason: "a letter"}); err != nil {
					t.Error(err)
				}
			}
			response, err := http.DefaultTransport.RoundTrip(r)
			if err == nil && write && lost {
				response.Body.Close()
				return nil, errCutOff
			}
			return response, err
		})
		f.start()
		payload := f.object(data, seal.PayloadObject)
		if lost {
			f.want(http.StatusServiceUnavailable, payload)
			f.want(http.StatusOK, payload)
		} else {
			f.want(http.StatusCreated, payload)
		}
		if !done {
			t.Errorf("%s: nothing was written", what)
		}
		f.heldByBucket(map[string]bool{payload.path: true})
	}
}

type hooked func(*http.Request) (*http.Response, error)

func (h hooked) RoundTrip(r *http.Request) (*http.Response, error) { return h(r) }
