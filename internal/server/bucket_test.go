package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/s3test"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestOverBucket runs the tests of the protocol with a store in a bucket of a real
// S3 server: what holds over a directory holds there.
func TestOverBucket(t *testing.T) {
	t.Setenv(testServer, s3test.Start(t, s3test.Options{}).URL)
	for name, test := range map[string]func(*testing.T){
		"late joiner": TestLateJoiner, "late joiner needs leave": TestLateJoinerNeedsLeave, "anchor": TestAnchorEndsAHole,
		"revoked": TestRevokedAgentWritesNothing, "log": TestLogIsStoredAndRepeatsAreHarmless, "restarts": TestRestartBetweenAnyTwoObjects,
		"two servers": TestTwoServersOverOneStore, "at once": TestConcurrentUploadsOfOneAgent, "agents in parallel": TestAgentsInParallel,
		"headers": TestRefusedHeaders, "cut body": TestBodyThatEndsEarly, "order": TestOutOfOrder, "second agent": TestSecondAgentCannotTouchTheFirst,
		"clock": TestClockThatRanBackwardsIsTaken, "get": TestGet, "too many": TestTooManyRequests, "second epoch": TestSecondEpochNeedsTheFirst,
		"listing": TestListing, "auditor": TestAuditorReads, "one time": TestOneTimeToken, "enrol": TestEnrolRefusesWhatIsTaken,
		"enrol at once": TestEnrolAtOnceHasOneWinner, "agents": TestAgents, "size": TestSize, "large": TestLargePayload,
		"tampered batch": TestTamperedBatch, "owed": TestRefusedPayloadIsOwed, "settled": TestOwedPayloadIsSettled,
		"another manifest": TestRefusalDoesNotHelpAnotherManifest, "tampered seals": TestTamperedSeals, "another name": TestPayloadUnderAnotherName,
		"other bytes": TestRepeatWithOtherBytes, "same payload": TestSamePayloadUnderAnotherManifest, "fork": TestFork,
		"evidence": TestForkEvidenceIsBounded, "silence": TestSilenceIsTold, "witness": TestWitness, "witness and forks": TestWitnessSeesFork,
		"older state": TestOlderCopyOfTheState, "restart reads little": TestRestartReadsLittle, "head": TestHeadThatDoesNotFit,
		"retention": testBucketRetention, "unlocked retention": testUnlockedRetention, "holds": testBucketHolds, "holds at upload": testHoldsAtUpload, "hold set during an upload": testHoldDuringUpload, "fresh": testFreshness, "one witness": testOneWitness,
		"mistakes":        testBucketMistakes,
		"witness at once": TestWitnessAtOnce, "witness alone": TestWitnessAloneIsToldTheNextKey, "stored keys": TestStoredLogSaysItsKeys, "add key": TestAddKeyRefuses, "rotated key": TestRotatedKey, "verifies": TestStoredArchiveVerifies,
	} {
		t.Run(name, test)
	}
}

// testBucketRetention: what the store has locked does not go, whoever asks.
func testBucketRetention(t *testing.T) {
	f := newFixture(t)
	f.ship(f.epoch.Open())
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	f.ship(data)
	f.deps.Now = func() time.Time { return data.Manifest.KeepUntil.Add(time.Hour) }
	if done, err := ApplyRetention(t.Context(), f.config, f.deps, false); err == nil || done.Removed != 0 {
		t.Errorf("a locked payload was purged: %+v, %v", done, err)
	}
	f.wantStore(f.epoch.Files)
}

// testUnlockedRetention: a payload whose term is over and that no lock keeps goes
// with all its versions, unless a hold covers it.
func testUnlockedRetention(t *testing.T) {
	f := newFixture(t)
	f.config.S3.Lock = "off"
	f.start()
	f.ship(f.epoch.Open())
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	f.ship(data)
	f.deps.Now = func() time.Time { return data.Manifest.KeepUntil.Add(time.Hour) }
	apply := func(removed, held int) {
		t.Helper()
		if done, err := ApplyRetention(t.Context(), f.config, f.deps, false); err != nil || done.Removed != removed || done.Held != held {
			t.Errorf("%+v, %v; want %d removed, %d held", done, err, removed, held)
		}
	}
	if err := SetHold(t.Context(), f.config, f.deps, Hold{Name: "case-17", Agent: "gpu-07", Reason: "a letter"}); err != nil {
		t.Fatal(err)
	}
	apply(0, 1)
	if err := LiftHold(t.Context(), f.config, f.deps, "case-17"); err != nil {
		t.Fatal(err)
	}
	apply(1, 0)
	apply(0, 0)
	delete(f.epoch.Files, data.Manifest.PayloadPath)
	f.wantStore(f.epoch.Files)
}

// testFreshness: what another server or command changed counts within ten seconds,
// a new token at once.
func testFreshness(t *testing.T) {
	f := newFixture(t)
	now := f.deps.Now()
	f.deps.Now = func() time.Time { return now }
	f.start()
	f.server.registry.fresh = bucketFresh
	all := f.uploads(f.epoch.Open())
	f.want(http.StatusCreated, all[0])
	if err := Revoke(t.Context(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	f.want(http.StatusOK, all[0])
	now = now.Add(bucketFresh)
	f.want(http.StatusForbidden, all[0], "revoked")
	if err := Restore(t.Context(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	token, err := NewToken(t.Context(), f.config, f.deps, "gpu-07", "")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(retryFresh)
	all[0].token = token
	f.want(http.StatusOK, all[0])
}

// testOneWitness: a server with another witness key does not start over the bucket
// of others; with theirs it does.
func testOneWitness(t *testing.T) {
	f := newFixture(t)
	second := *f
	second.config.State = filepath.Join(t.TempDir(), "second")
	second.config.ID = "second"
	_, err := New(t.Context(), second.config, second.deps)
	if err == nil || !strings.Contains(err.Error(), "set witness_key to the copy") || !strings.Contains(err.Error(), f.server.witness.String()) {
		t.Fatalf("error %v, want one that names the witness and how to mend it", err)
	}
	looked := func() Finding {
		for _, found := range Check(t.Context(), second.config, second.deps) {
			if found.What == "witness" {
				return found
			}
		}
		return Finding{}
	}
	second.config.WitnessKey = filepath.Join(second.config.State, "witness.key")
	if found := looked(); found.OK || !strings.Contains(found.Detail, "set witness_key to the copy") {
		t.Errorf("%+v", found)
	}
	second.config.WitnessKey = filepath.Join(f.config.State, "none.key")
	if found := looked(); found.OK || !strings.Contains(found.Detail, "read witness key") {
		t.Errorf("%+v", found)
	}
	second.config.WitnessKey = filepath.Join(f.config.State, "witness.key")
	if found := looked(); !found.OK {
		t.Errorf("%+v", found)
	}
	second.start()
	f.ship(f.epoch.Open())
	f.cosigned(f.epoch, 0, f.epoch.Checkpoint())
	second.cosigned(f.epoch, 1, f.epoch.Checkpoint())
}

// testBucketMistakes: each is one sentence that says what to change.
func testBucketMistakes(t *testing.T) {
	f := newFixture(t)
	s3test.At(os.Getenv(testServer)).MakeBucket(t, "rewritable", false)
	for name, test := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no state":       {func(c *Config) { c.State = "" }, "set --state"},
		"no prefix":      {func(c *Config) { c.Store = "s3://evidence" }, "s3://acme-audit/v1"},
		"no bucket":      {func(c *Config) { c.Store = "s3://nowhere-at-all/v1" }, "there is no such bucket"},
		"no lock":        {func(c *Config) { c.Store = "s3://rewritable/v1" }, "has no Object Lock"},
		"wrong region":   {func(c *Config) { c.S3.Region = "us-east-1" }, "in another region"},
		"unknown key":    {func(c *Config) { c.S3.AccessKey = "nobody" }, "does not know this access key"},
		"lonely key":     {func(c *Config) { c.S3.AccessKey = "" }, "must stand together"},
		"unknown lock":   {func(c *Config) { c.S3.Lock = "strict" }, "none of: compliance governance off"},
		"term":           {func(c *Config) { c.S3.SealTerm = "long" }, "seal_term"},
		"store is away":  {func(c *Config) { c.S3.Endpoint = "http://127.0.0.1:1" }, "connection refused"},
		"secret missing": {func(c *Config) { c.S3.SecretKey.Env = "AUDITAIL_TEST_NOT_SET" }, "read secret_key"},
	} {
		c := f.config
		test.change(&c)
		_, err := New(t.Context(), c, f.deps)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
			t.Errorf("%s: error %v, want one sentence with %q", name, err, test.says)
		}
	}
}
