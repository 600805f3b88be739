package server

import (
	"testing"

	"github.com/auditail/auditail/internal/s3test"
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
		"witness at once": TestWitnessAtOnce, "rotated key": TestRotatedKey, "verifies": TestStoredArchiveVerifies,
	} {
		t.Run(name, test)
	}
}
