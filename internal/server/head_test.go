package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/loghead"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// countedReads counts the manifests that are read.
type countedReads struct {
	storage
	manifests int
}

func (c *countedReads) read(ctx context.Context, name string) ([]byte, string, error) {
	if strings.HasSuffix(name, seal.ManifestSuffix) {
		c.manifests++
	}
	return c.storage.read(ctx, name)
}

// TestRestartReadsLittle: the first request behind a restart reads no more of a
// long log than what came behind the head that was kept, and goes on with it as if
// there had been no restart: key, streams, roots of earlier sizes.
func TestRestartReadsLittle(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	old := e.Identity
	f.ship(e.Open(), e.Rotate(sealtest.Key("next identity")))
	var checkpoints []seal.Checkpoint
	for i := range 3*headEvery + 10 {
		if i%50 == 7 {
			f.ship(e.Data(sealtest.Chat(), e.Records(2)))
		} else {
			f.ship(e.Heartbeat())
		}
		checkpoints = append(checkpoints, e.Checkpoint())
	}
	f.start()
	counted := &countedReads{storage: f.server.store}
	f.server.store = counted
	f.ship(e.Data(sealtest.Chat(), e.Records(3)))
	if counted.manifests > headEvery+10 {
		t.Errorf("%d manifests were read, want at most those behind the head", counted.manifests)
	}
	counted.manifests = 0
	f.want(http.StatusCreated, f.checkpoint(checkpoints[len(checkpoints)-headEvery]))
	if counted.manifests > 2*headEvery {
		t.Errorf("%d manifests were read for a checkpoint of a moment ago", counted.manifests)
	}
	f.want(http.StatusCreated, f.checkpoint(checkpoints[3])) // slow, and right
	f.cosigned(e, 0, e.Checkpoint())

	// The key of now is the one that was signed in.
	f.start()
	f.want(http.StatusUnprocessableEntity, f.object(e.Heartbeat(sealtest.SignedBy(old)), seal.ManifestObject), "signature")
}

// TestHeadOverHTTP: an agent learns how far its own log is stored, also behind a
// restart, and nobody learns it of another's.
func TestHeadOverHTTP(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	want := func(origin seal.Origin, want seal.Head) {
		t.Helper()
		got := f.do(request{method: http.MethodGet, path: loghead.Path(origin), token: f.token})
		if head, err := loghead.Parse(origin, string(got.body)); err != nil || head != want || got.status != http.StatusOK || got.header.Get("Content-Type") != loghead.Type {
			t.Errorf("%s: status %d, %+v, %v; want %+v", origin, got.status, head, err, want)
		}
	}
	next, last := e.Origin, e.Origin
	next.Epoch, last.Epoch = 2, seal.MaxEpoch
	nothing := seal.Head{Root: seal.EmptyRoot()}
	want(e.Origin, nothing)
	f.ship(e.Open(), e.Data(sealtest.Chat(), e.Records(2)))
	beat := e.Heartbeat()
	f.want(http.StatusCreated, f.object(beat, seal.ManifestObject)) // the signature is missing yet
	size, root := e.Head()
	for range 2 {
		want(e.Origin, seal.Head{Size: size, Root: root})
		want(next, nothing)
		want(last, nothing)
		f.start()
	}
	other := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	for what, r := range map[string]request{
		"another's log": {method: http.MethodGet, path: loghead.Path(other.Origin), token: f.token},
		"an auditor":    {method: http.MethodGet, path: loghead.Path(e.Origin), token: f.account("jane", Auditor, time.Time{})},
	} {
		if got := f.do(r); got.status != http.StatusForbidden {
			t.Errorf("%s: status %d: %s", what, got.status, got.body)
		}
	}
	f.want(http.StatusUnauthorized, request{method: http.MethodGet, path: loghead.Path(e.Origin)})
	f.want(http.StatusUnprocessableEntity, f.upload(loghead.Path(e.Origin), []byte("x"), nil))

	// Of a log that begins in its middle there is no root to tell.
	g, b := lateFixture(t, StartAnywhere)
	g.ship(b[4], b[5])
	got := g.do(request{method: http.MethodGet, path: loghead.Path(g.epoch.Origin), token: g.token})
	if head, err := loghead.Parse(g.epoch.Origin, string(got.body)); err != nil || head != (seal.Head{Size: 6}) {
		t.Errorf("%+v, %v: %s", head, err, got.body)
	}
}

// TestHeadThatDoesNotFit: a head that was kept of another store, or is damaged, is
// not used: the log is read from its beginning.
func TestHeadThatDoesNotFit(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	for range headEvery + 3 {
		f.ship(e.Heartbeat())
	}
	name := headName(e.Origin)
	good, _, err := f.server.state.read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"another manifest": strings.Replace(string(good), `"last":"`, `"last":"00`, 1),
		"ahead":            strings.Replace(string(good), `"next":64`, `"next":6400`, 1),
		"no keys":          strings.Replace(string(good), `"keys":[{`, `"keys":[],"x":[{`, 1),
		"tree":             strings.Replace(string(good), `"frontier":["`, `"frontier":["QUJD","`, 1),
		"not JSON":         "{",
		"empty":            "",
	} {
		t.Run(what, func(t *testing.T) {
			if text == string(good) {
				t.Fatal("nothing was changed")
			}
			if err := set(t.Context(), f.server.state, name, []byte(text)); err != nil {
				t.Fatal(err)
			}
			f.start()
			f.ship(e.Heartbeat())
			f.want(http.StatusCreated, f.checkpoint(e.Checkpoint()))
		})
	}
}
