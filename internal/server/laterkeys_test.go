package server

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// addKey wants a key to be added to an epoch's agent.
func (f *fixture) addKey(e *sealtest.Epoch, key ed25519.PrivateKey) {
	f.t.Helper()
	if err := AddKey(f.t.Context(), f.config, f.deps, e.Origin.Log, public(key)); err != nil {
		f.t.Fatal(err)
	}
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// TestWitnessAloneIsToldTheNextKey: a server that receives nothing of the log never
// sees the rotate manifest. Told the new key it cosigns on; both keys are good until
// the new one has signed a head, the old one is good for nothing from then on.
func TestWitnessAloneIsToldTheNextKey(t *testing.T) {
	f := newFixture(t)
	e, old, next := f.epoch, f.epoch.Identity, sealtest.Key("next identity")
	e.Open()
	f.cosigned(e, 0, e.Checkpoint())
	f.addKey(e, next) // before the agent has signed it in
	e.Heartbeat()
	f.cosigned(e, 1, e.Checkpoint())
	last := e.Checkpoint()
	e.Rotate(next)
	f.cosigned(e, 2, e.Checkpoint())
	e.Heartbeat()

	thief := *e
	thief.Identity = old
	for _, restart := range []bool{false, true} {
		if restart {
			f.start()
		}
		f.refused(http.StatusForbidden, addCheckpoint(t, &thief, 3, thief.Checkpoint()), "signature")
		f.refused(http.StatusForbidden, addCheckpoint(t, e, 2, last), "signature")
		for _, number := range []int{2, 9} { // nor in an epoch that the witness has not seen
			other := sealtest.New(t, sealtest.Config{Epoch: number, Identity: old, Reason: "first"})
			f.refused(http.StatusForbidden, addCheckpoint(t, other, 0, other.Checkpoint()), "signature")
			other.Open()
			f.refused(http.StatusForbidden, addCheckpoint(t, other, 0, other.Checkpoint()), "signature")
		}
	}
	f.cosigned(e, 3, e.Checkpoint())
	third := sealtest.Key("third identity")
	e.Rotate(third)
	f.refused(http.StatusForbidden, addCheckpoint(t, e, 4, e.Checkpoint()), "signature")
	f.addKey(e, third) // after the agent has signed it in
	f.cosigned(e, 4, e.Checkpoint())
	succeeding := e.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: 5, Root: e.Checkpoint().Root}.String())
	succeeding.Open()
	f.cosigned(succeeding, 0, succeeding.Checkpoint())
	if err := Revoke(t.Context(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	f.refused(http.StatusForbidden, addCheckpoint(t, e, 5, e.Checkpoint()), "revoked")

	status, err := Agents(t.Context(), f.config, f.deps)
	if err != nil {
		t.Fatal(err)
	}
	if keys := status[0].LaterKeys; len(keys) != 2 || !keys[0].Seen || !keys[1].Seen || keys[1].Behind != (Anchor{Epoch: 1, Batch: 5}) {
		t.Errorf("later keys %+v", keys)
	}
}

// TestStoredLogSaysItsKeys: what is stored decides over what an operator added: a
// key that was added is good for what lies beyond the store, and no more once the
// store has come further.
func TestStoredLogSaysItsKeys(t *testing.T) {
	f := newFixture(t)
	e, next := f.epoch, sealtest.Key("next identity")
	f.ship(e.Open(), e.Heartbeat())
	f.cosigned(e, 0, e.Checkpoint())
	f.addKey(e, next)
	e.Rotate(next)
	f.cosigned(e, 2, e.Checkpoint()) // the agent ships here no more
	e.Heartbeat()
	e.Rotate(sealtest.Key("third identity"))

	for _, b := range e.Batches[2:] { // it does again, and the log has gone on to a third key
		f.ship(b)
	}
	f.cosigned(e, 3, e.Checkpoint())
	e.Heartbeat()
	rotatedOut := *e
	rotatedOut.Identity = next
	f.refused(http.StatusForbidden, addCheckpoint(t, &rotatedOut, 5, rotatedOut.Checkpoint()), "signature")
	f.cosigned(e, 5, e.Checkpoint())

	// One that was added in vain ends with the next batch that is stored.
	f.addKey(e, sealtest.Key("vain"))
	f.ship(e.Batches[5], e.Heartbeat())
	vain := *e
	vain.Heartbeat()
	vain.Identity = sealtest.Key("vain")
	f.refused(http.StatusForbidden, addCheckpoint(t, &vain, 6, vain.Checkpoint()), "signature")
}

func TestAddKeyRefuses(t *testing.T) {
	f := newFixture(t)
	other := sealtest.New(t, sealtest.Config{Agent: "gpu-08", Identity: sealtest.Key("gpu-08")})
	f.enrol(other)
	f.addKey(f.epoch, sealtest.Key("next identity"))
	log := f.epoch.Origin.Log
	for name, test := range map[string]struct {
		log   seal.Log
		key   ed25519.PublicKey
		words string
	}{
		"first key":          {log, f.epoch.PublicKey(), "enrolled with this key already"},
		"added key":          {log, public(sealtest.Key("next identity")), "enrolled with this key already"},
		"key of another":     {log, other.PublicKey(), "this is the key of " + other.Origin.Log.String() + ", not of " + log.String()},
		"later of another":   {other.Origin.Log, public(sealtest.Key("next identity")), "this is the key of " + log.String()},
		"other organization": {seal.Log{Organization: "audit.example.com/other", Agent: log.Agent}, public(sealtest.Key("x")), "belongs to " + log.String()},
		"not enrolled":       {seal.Log{Organization: log.Organization, Agent: "gpu-99"}, public(sealtest.Key("x")), `"gpu-99" is not enrolled`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := AddKey(t.Context(), f.config, f.deps, test.log, test.key); err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want one that says %q", err, test.words)
			}
		})
	}
	if err := Revoke(t.Context(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	if err := AddKey(t.Context(), f.config, f.deps, log, public(sealtest.Key("x"))); err == nil || !strings.Contains(err.Error(), "agents restore gpu-07") {
		t.Errorf("error %v, want one about the revocation", err)
	}
}
