package server

import (
	"context"
	"net/http"
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// lateFixture returns a server to which an agent comes that wrote elsewhere
// before, and its batches 0 to 5, of which 4 is the first with a payload here.
func lateFixture(t *testing.T, start string) (*fixture, []seal.Batch) {
	t.Helper()
	f := newFixture(t)
	e := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	token, err := Enrol(context.Background(), f.config, f.deps, e.Origin.Log, e.PublicKey(), start, "")
	if err != nil {
		t.Fatal(err)
	}
	f.epoch, f.token = e, token
	return f, []seal.Batch{
		e.Open(), e.Data(sealtest.Chat(), e.Records(2)), e.Heartbeat(), e.Heartbeat(), e.Data(sealtest.Chat(), e.Records(3)), e.Heartbeat(),
	}
}

// TestLateJoiner: an output that was added later starts in the middle of its log.
func TestLateJoiner(t *testing.T) {
	for _, start := range []string{StartAnywhere, "0001/4"} {
		f, b := lateFixture(t, start)
		f.ship(b[4])
		f.start()
		f.ship(b[5])
		f.want(http.StatusCreated, f.checkpoint(f.epoch.Checkpoint()))
		f.cosigned(f.epoch, 0, f.epoch.Checkpoint())
		for _, r := range append(f.uploads(b[4]), f.uploads(b[5])...) {
			f.want(http.StatusOK, r)
		}
		// Nothing before is taken any more, and nothing is left out behind.
		if got := f.do(f.object(b[3], seal.ManifestObject)); got.status == http.StatusCreated {
			t.Errorf("start %q: a manifest before the beginning is taken", start)
		}
		f.epoch.Heartbeat()
		f.want(http.StatusFailedDependency, f.object(f.epoch.Heartbeat(), seal.ManifestObject))
		f.start()
		f.ship(f.epoch.Batches[6])
		all, err := Agents(context.Background(), f.config, f.deps)
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		if got := all[1]; got.Epoch != 1 || got.NextBatch != 7 || len(got.Anchors) != 1 || got.Anchors[0] != (Anchor{1, 4}) {
			t.Errorf("start %q: %+v", start, got)
		}

		// The next epoch follows as ever.
		size, root := f.epoch.Head()
		n := f.epoch.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: f.epoch.Origin, Size: size, Root: root}.String())
		f.ship(n.Open(), n.Heartbeat())
	}
}

func TestLateJoinerNeedsLeave(t *testing.T) {
	f, b := lateFixture(t, "")
	f.want(http.StatusFailedDependency, f.object(b[4], seal.PayloadObject))
	f.want(http.StatusFailedDependency, f.object(b[3], seal.ManifestObject))

	f, b = lateFixture(t, "0001/4")
	f.want(http.StatusFailedDependency, f.object(b[3], seal.ManifestObject))
	f.want(http.StatusFailedDependency, f.object(b[5], seal.ManifestObject))

	// A key that is not the log's begins nothing, and what it tried is forgotten.
	f, _ = lateFixture(t, StartAnywhere)
	thief := sealtest.New(t, sealtest.Config{Agent: "gpu-08", Identity: sealtest.Key("thief")})
	thief.Open()
	f.want(http.StatusUnprocessableEntity, f.object(thief.Heartbeat(), seal.ManifestObject))
	f.ship(f.epoch.Batches...)
}

// TestAnchorEndsAHole: a store that was restored from an older copy goes on where
// its operator says.
func TestAnchorEndsAHole(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open(), e.Heartbeat())
	e.Heartbeat()
	e.Heartbeat()
	four := e.Data(sealtest.Chat(), e.Records(1))
	f.want(http.StatusFailedDependency, f.object(four, seal.PayloadObject))
	if err := AddAnchor(context.Background(), f.config, f.deps, "gpu-07", Anchor{1, 4}); err != nil {
		t.Fatal(err)
	}
	f.ship(four, e.Heartbeat())
	f.start()
	f.ship(e.Heartbeat())
	for _, r := range f.uploads(e.Batches[1]) {
		f.want(http.StatusOK, r)
	}
	all, err := Agents(context.Background(), f.config, f.deps)
	if err != nil || all[0].NextBatch != 7 {
		t.Fatalf("%+v, %v", all, err)
	}
}

func TestRevokedAgentWritesNothing(t *testing.T) {
	f := newFixture(t)
	f.ship(f.epoch.Open())
	if err := Revoke(context.Background(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	next := f.object(f.epoch.Heartbeat(), seal.ManifestObject)
	f.want(http.StatusForbidden, next, "revoked")
	f.refused(http.StatusForbidden, addCheckpoint(t, f.epoch, 0, f.epoch.Checkpoint()), "revoked")
	if err := Restore(context.Background(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	f.want(http.StatusCreated, next)
	old := f.token
	token, err := NewToken(context.Background(), f.config, f.deps, "gpu-07", "")
	if err != nil {
		t.Fatal(err)
	}
	next = f.object(f.epoch.Heartbeat(), seal.ManifestObject)
	f.want(http.StatusUnauthorized, next)
	next.token = token
	f.want(http.StatusCreated, next)
	if token == old {
		t.Error("the token did not change")
	}
}
