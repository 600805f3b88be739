package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"testing"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/internal/keys"
)

const identityFile = "/var/lib/auditail/keys/identity.pem"

// TestAdopt cuts the power behind every operation that puts a key in the place of
// another: there is always one of them under the identity's name, the next start
// ends it, and the old one is nowhere then.
func TestAdopt(t *testing.T) {
	disk := faulty.New()
	old, _, err := keys.LoadOrMakeIdentity(disk, identityFile)
	if err != nil {
		t.Fatal(err)
	}
	oldFile, err := durable.ReadFile(disk, identityFile, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	next, made, err := keys.MakeSuccessor(disk, identityFile)
	if err != nil || !made || next.Equal(old) {
		t.Fatal(made, err)
	}
	if again, made, err := keys.MakeSuccessor(disk, identityFile); err != nil || made || !again.Equal(next) {
		t.Fatalf("asked for twice: %t, %v", made, err)
	}
	type moment struct {
		op    faulty.Operation
		image *faulty.Image
	}
	var moments []moment
	disk.Observe(func(op faulty.Operation, image *faulty.Image) { moments = append(moments, moment{op, image}) })
	if err := keys.Adopt(disk, identityFile); err != nil {
		t.Fatal(err)
	}
	disk.Observe(nil)
	for i, m := range moments {
		random := rand.New(rand.NewPCG(uint64(i), 3)) //nolint:gosec // a test's dice
		for how, left := range map[string]*faulty.FS{
			"kill": m.image.Kill(), "all lost": m.image.PowerCut(random, faulty.All), "some lost": m.image.PowerCut(random, faulty.Some),
		} {
			where := how + " behind " + m.op.Name
			waiting, err := keys.LoadSuccessor(left, identityFile)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			key, err := keys.LoadIdentity(left, identityFile)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			switch {
			case waiting != nil && key.Equal(old) && waiting.Equal(next):
				if err := keys.Adopt(left, identityFile); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
			case waiting == nil && key.Equal(next):
			default:
				t.Fatalf("%s: identity is new: %t, one waits: %t", where, key.Equal(next), waiting != nil)
			}
			wantOnly(t, left, next, oldFile, where)
		}
	}
	wantOnly(t, disk, next, oldFile, "no crash")
}

func wantOnly(t *testing.T, disk *faulty.FS, key ed25519.PrivateKey, gone []byte, where string) {
	t.Helper()
	if got, err := keys.LoadIdentity(disk, identityFile); err != nil || !got.Equal(key) {
		t.Fatalf("%s: the identity is not the new key: %v", where, err)
	}
	entries, err := disk.ReadDir("/var/lib/auditail/keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := durable.ReadFile(disk, "/var/lib/auditail/keys/"+e.Name(), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(data, gone) {
			t.Errorf("%s: the old key is still in %s", where, e.Name())
		}
	}
}
