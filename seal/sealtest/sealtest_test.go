package sealtest_test

import (
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// What the builder makes by itself must verify, or the tests that change one
// thing in it prove nothing.
func TestBuiltEpochVerifies(t *testing.T) {
	epoch := sealtest.New(t, sealtest.Config{})
	epoch.Open()
	epoch.Data(sealtest.Chat(), epoch.Records(5))
	epoch.Heartbeat()
	epoch.Data(sealtest.Chat(), append(epoch.Records(2), epoch.Unparsed(3)), sealtest.WithLines(seal.Lines{Read: 5, Recorded: 2, Unparsed: 3}))
	epoch.Close()
	checkpoint := epoch.Checkpoint()
	chain := seal.NewChain(epoch.Origin, epoch.PublicKey())
	for _, b := range epoch.Batches {
		if _, err := chain.Add(b.ManifestFile); err != nil {
			t.Errorf("batch %d: %v", b.Manifest.Batch, err)
		}
		signature := epoch.Files[b.Manifest.Origin.SignaturePath(b.Manifest.Batch)]
		if err := seal.SSHVerify(b.ManifestFile, signature, epoch.PublicKey()); err != nil {
			t.Errorf("batch %d: %v", b.Manifest.Batch, err)
		}
	}
	tree := chain.Tree()
	got, err := seal.VerifyCheckpoint(epoch.Files[checkpoint.Path()], epoch.PublicKey())
	if err != nil || got.Size != 5 || got.Root != tree.Root() {
		t.Errorf("checkpoint %+v, %v", got, err)
	}
}

func TestOptionsMakeWrongBatches(t *testing.T) {
	tests := map[string]sealtest.Option{
		"other identity": sealtest.SignedBy(sealtest.Key("another")),
		"other ratchet":  sealtest.RatchetedBy(sealtest.Key("another")),
		"other time":     sealtest.WithManifest(func(m *seal.Manifest) { m.Sealed = m.Sealed.AddDate(0, 0, -1) }),
		"other number":   sealtest.WithManifest(func(m *seal.Manifest) { m.Batch = 7 }),
	}
	for name, option := range tests {
		t.Run(name, func(t *testing.T) {
			epoch := sealtest.New(t, sealtest.Config{})
			chain := seal.NewChain(epoch.Origin, epoch.PublicKey())
			if _, err := chain.Add(epoch.Open().ManifestFile); err != nil {
				t.Fatal(err)
			}
			if _, err := chain.Add(epoch.Heartbeat(option).ManifestFile); err == nil {
				t.Error("the wrong batch verifies")
			}
		})
	}
}
