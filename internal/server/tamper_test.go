package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestTamperedBatch wants every batch whose manifest is wrong in one way to be
// refused, payload and manifest, and the right one to be taken afterwards.
func TestTamperedBatch(t *testing.T) {
	stranger := sealtest.Key("stranger")
	for name, test := range map[string]struct {
		option sealtest.Option
		words  string
	}{
		"other identity":   {sealtest.SignedBy(stranger), "identity signature"},
		"other ratchet":    {sealtest.RatchetedBy(stranger), "ratchet"},
		"hole in records":  {sealtest.WithManifest(func(m *seal.Manifest) { m.RecordsFrom++; m.RecordsTo++ }), "record count"},
		"other chain":      {sealtest.WithManifest(func(m *seal.Manifest) { m.Previous = seal.DigestOf(nil) }), "chain"},
		"lines unbalanced": {sealtest.WithManifest(func(m *seal.Manifest) { m.Lines.Read++ }), "balance"},
		"other organization": {
			sealtest.WithManifest(func(m *seal.Manifest) { m.Origin.Organization = "audit.example.com/other" }), "origin",
		},
		"other payload": {sealtest.WithManifest(func(m *seal.Manifest) { m.Payload = seal.DigestOf(nil) }), "names another SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			good := sealtest.New(t, sealtest.Config{})
			f.ship(good.Open())
			f.epoch.Open()
			bad := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2), test.option)
			f.want(http.StatusUnprocessableEntity, f.object(bad, seal.PayloadObject), test.words)
			if got := f.do(f.object(bad, seal.ManifestObject)); got.status != http.StatusUnprocessableEntity && got.status != http.StatusFailedDependency {
				t.Errorf("the manifest was answered with %d", got.status)
			}
			f.ship(good.Data(sealtest.Chat(), good.Records(2)))
			f.wantStore(good.Files)
		})
	}
}

// TestRefusedPayloadIsOwed wants a payload that its own manifest contradicts,
// or that is too large, never to be stored; the manifest then ships without it,
// after a restart too, and the log goes on.
func TestRefusedPayloadIsOwed(t *testing.T) {
	const beyond = 32 << 20
	for name, test := range map[string]struct {
		option sealtest.Option
		status int
		words  string
	}{
		"other root":      {sealtest.WithManifest(func(m *seal.Manifest) { m.Root = seal.LeafHash(nil) }), 422, "root"},
		"fewer records":   {sealtest.WithManifest(func(m *seal.Manifest) { m.RecordsTo-- }), 422, "records"},
		"plain too small": {sealtest.WithManifest(func(m *seal.Manifest) { m.Plain-- }), 422, "uncompressed size"},
		"plain too large": {sealtest.WithManifest(func(m *seal.Manifest) { m.Plain++ }), 422, "uncompressed size"},
		"plain beyond":    {sealtest.WithManifest(func(m *seal.Manifest) { m.Plain = maxPlain + 1 }), 413, "uncompressed"},
		"not zstd":        {sealtest.WithPayload(func([]byte) []byte { return []byte("plain text\n") }), 422, "zstd"},
		"zip bomb": {
			sealtest.WithPayload(func(file []byte) []byte { return append(file, sealtest.Compress(t, make([]byte, beyond))...) }), 422, "more than",
		},
		"file too large": {sealtest.WithPayload(func(file []byte) []byte { return append(file, make([]byte, 1<<20)...) }), 413, "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.config.MaxPayload = 1 << 20
			f.start()
			e := f.epoch
			f.ship(e.Open())
			bad := e.Data(sealtest.Chat(), e.Records(2), test.option)
			manifest, payload := f.object(bad, seal.ManifestObject), f.object(bad, seal.PayloadObject)
			f.want(http.StatusFailedDependency, manifest, "not stored yet") // nothing was refused so far
			f.want(test.status, payload, test.words)
			f.start()
			f.want(http.StatusCreated, manifest)
			f.want(http.StatusCreated, f.object(bad, seal.SignatureObject))
			f.want(test.status, payload, test.words)
			f.ship(e.Data(sealtest.Chat(), e.Records(1)), e.Heartbeat())
			delete(e.Files, payload.path)
			f.wantStore(e.Files)
			if all, err := Agents(context.Background(), f.config, f.deps); err != nil || all[0].Owed != 1 || all[0].NextBatch != 4 {
				t.Errorf("agents shows %+v, %v; want one payload owed", all, err)
			}
			if !strings.Contains(f.log.String(), "the agent owes it") {
				t.Error("the missing payload raised no alarm")
			}
		})
	}
}

// TestOwedPayloadIsSettled sends a refused payload again after the operator
// raised the limit.
func TestOwedPayloadIsSettled(t *testing.T) {
	f := newFixture(t)
	f.config.MaxPayload = 100
	f.start()
	e := f.epoch
	f.ship(e.Open())
	data := e.Data(sealtest.Chat(), e.Records(5))
	payload := f.object(data, seal.PayloadObject)
	f.want(http.StatusRequestEntityTooLarge, payload, "at most 100")
	f.want(http.StatusCreated, f.object(data, seal.ManifestObject))
	f.want(http.StatusCreated, f.object(data, seal.SignatureObject))
	f.config.MaxPayload = 1 << 20
	f.start()
	f.want(http.StatusCreated, payload)
	f.wantStore(e.Files)
	if n, err := f.server.countOwed(t.Context(), f.epoch.Origin.Log); err != nil || n != 0 {
		t.Errorf("%d payloads are owed, %v; want none", n, err)
	}
}

// TestRefusalDoesNotHelpAnotherManifest: what was refused of one manifest does
// not let another one of the same number in.
func TestRefusalDoesNotHelpAnotherManifest(t *testing.T) {
	f := newFixture(t)
	other := sealtest.New(t, sealtest.Config{})
	f.ship(f.epoch.Open())
	other.Open()
	bad := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2), sealtest.WithManifest(func(m *seal.Manifest) { m.Root = seal.LeafHash(nil) }))
	f.want(http.StatusUnprocessableEntity, f.object(bad, seal.PayloadObject), "root")
	f.want(http.StatusFailedDependency, f.object(other.Data(sealtest.Chat(), other.Records(3)), seal.ManifestObject), "not stored yet")
}

func TestTamperedSeals(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	open := e.Open(sealtest.SSHSignedBy(sealtest.Key("stranger")))
	identity := f.object(open, seal.IdentityObject)
	other := seal.IdentityFile(e.Origin.Log, sealtest.New(t, sealtest.Config{Identity: sealtest.Key("stranger")}).PublicKey())
	f.want(http.StatusUnprocessableEntity, f.upload(identity.path, other, nil), "enrolled")
	f.want(http.StatusCreated, identity)
	f.want(http.StatusCreated, f.object(open, seal.ManifestObject))
	f.want(http.StatusUnprocessableEntity, f.object(open, seal.SignatureObject), "signature")

	one := e.Checkpoint()
	beat := e.Heartbeat()
	two := e.Checkpoint()
	f.want(http.StatusUnprocessableEntity, f.upload(two.Path(), one.File, nil), "checkpoint")
	f.want(http.StatusFailedDependency, f.checkpoint(two))
	forged := sealtest.New(t, sealtest.Config{Identity: sealtest.Key("stranger")})
	forged.Open()
	f.want(http.StatusUnprocessableEntity, f.checkpoint(forged.Checkpoint()), "checkpoint")
	// Rightly signed over another history: the agent contradicts itself.
	lie := sealtest.New(t, sealtest.Config{Start: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)})
	lie.Open()
	f.want(http.StatusConflict, f.checkpoint(lie.Checkpoint()), "forked")
	f.want(http.StatusCreated, f.checkpoint(one))

	// Replays of an old manifest, under its own and under other names.
	f.want(http.StatusOK, f.object(open, seal.ManifestObject))
	f.want(http.StatusUnprocessableEntity, f.upload(e.Origin.ManifestPath(1), open.ManifestFile, nil), "out of order")
	f.want(http.StatusUnprocessableEntity, f.upload(seal.Origin{Log: e.Origin.Log, Epoch: 2}.ManifestPath(0), open.ManifestFile, nil), "origin")
	f.ship(beat)
	f.want(http.StatusCreated, f.checkpoint(two))
}

func TestPayloadUnderAnotherName(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	data := e.Data(sealtest.Chat(), e.Records(2))
	r := f.object(data, seal.PayloadObject)
	wrong := r
	wrong.path = strings.Replace(r.path, "day=2026-11-20", "day=2026-11-19", 1)
	f.want(http.StatusUnprocessableEntity, wrong, "describes the payload")
	beat := sealtest.New(t, sealtest.Config{})
	beat.Open()
	wrong = r
	wrong.header = r.header.Clone()
	wrong.header.Set(manifestHeader, base64.StdEncoding.EncodeToString(beat.Heartbeat().ManifestFile))
	f.want(http.StatusUnprocessableEntity, wrong, "describes the payload")
	f.ship(data)
}

// TestRepeatWithOtherBytes claims the digest of what is stored for other bytes.
func TestRepeatWithOtherBytes(t *testing.T) {
	f := newFixture(t)
	f.ship(f.epoch.Open())
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	f.ship(data)
	for _, r := range f.uploads(data) {
		r.body = append([]byte{0}, r.body[1:]...)
		f.want(http.StatusBadRequest, r, "Repr-Digest names")
	}
	f.wantStore(f.epoch.Files)
}

// TestSamePayloadUnderAnotherManifest describes a stored payload wrongly after
// a restart, when it is not known by which manifest it was checked.
func TestSamePayloadUnderAnotherManifest(t *testing.T) {
	f := newFixture(t)
	lie := sealtest.New(t, sealtest.Config{})
	f.ship(f.epoch.Open())
	lie.Open()
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	wrong := lie.Data(sealtest.Chat(), lie.Records(2), sealtest.WithManifest(func(m *seal.Manifest) { m.Root = seal.LeafHash(nil) }))
	f.want(http.StatusCreated, f.object(data, seal.PayloadObject))
	f.start()
	f.want(http.StatusUnprocessableEntity, f.object(wrong, seal.PayloadObject), "root")
	f.want(http.StatusUnprocessableEntity, f.object(wrong, seal.ManifestObject), "root")
	f.want(http.StatusOK, f.object(data, seal.PayloadObject))
	f.want(http.StatusCreated, f.object(data, seal.ManifestObject))
}

// TestFork lets the same agent seal two histories, as two machines restored
// from one snapshot do.
func TestFork(t *testing.T) {
	f := newFixture(t)
	other := sealtest.New(t, sealtest.Config{})
	f.ship(f.epoch.Open())
	other.Open()
	one := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	two := other.Data(sealtest.Chat(), other.Records(3))

	f.want(http.StatusCreated, f.object(one, seal.PayloadObject))
	f.want(http.StatusConflict, f.object(two, seal.PayloadObject), "forked")
	f.want(http.StatusConflict, f.object(two, seal.ManifestObject), "forked")
	f.start() // who claimed the number is forgotten, the payload is not
	f.want(http.StatusConflict, f.object(two, seal.PayloadObject), "forked")
	f.want(http.StatusConflict, f.object(two, seal.ManifestObject), "forked")
	f.want(http.StatusCreated, f.object(one, seal.ManifestObject))
	f.want(http.StatusConflict, f.object(two, seal.PayloadObject), "forked")
	f.want(http.StatusConflict, f.object(two, seal.ManifestObject), "forked")
	f.want(http.StatusCreated, f.object(one, seal.SignatureObject))
	f.wantStore(f.epoch.Files)

	if !strings.Contains(f.log.String(), "level=ERROR msg=\"fork:") {
		t.Error("a fork raised no alarm")
	}
	kept, _, err := f.server.state.read(t.Context(), forksFolder+"gpu-07/"+seal.DigestOf(two.ManifestFile).String())
	if err != nil || !bytes.Equal(kept, two.ManifestFile) {
		t.Errorf("the second manifest was not kept: %v", err)
	}
	all, err := Agents(context.Background(), f.config, f.deps)
	if err != nil || len(all) != 1 || all[0].Forks != 1 {
		t.Errorf("agents shows %+v, %v; want one fork", all, err)
	}
}

func TestForkEvidenceIsBounded(t *testing.T) {
	f := newFixture(t)
	f.ship(f.epoch.Open())
	for i := range maxForks + 3 {
		lie := sealtest.New(t, sealtest.Config{Start: time.Date(2027, 1, 1, i, 0, 0, 0, time.UTC)})
		f.want(http.StatusConflict, f.object(lie.Open(), seal.ManifestObject))
	}
	if n, err := f.server.countForks(t.Context(), "gpu-07"); err != nil || n != maxForks {
		t.Errorf("%d forks are kept, %v; want %d", n, err, maxForks)
	}
}
