package server

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditail/auditail/seal/sealtest"
)

// FuzzPut sends paths, headers and bodies that nobody would: the server answers
// with a status of the protocol, and stores nothing but what the agent's log holds.
func FuzzPut(f *testing.F) {
	e := sealtest.New(f, sealtest.Config{})
	open, data := e.Open(), e.Data(sealtest.Chat(), e.Records(1))
	for _, b := range []string{e.Origin.IdentityPath(), e.Origin.ManifestPath(0), e.Origin.ManifestPath(1), data.Manifest.PayloadPath, "seals/../x", "records/env=a", ""} {
		f.Add(b, "*", "sha-256=:"+"AAAA"+":", "", e.Files[b])
	}
	f.Add(data.Manifest.PayloadPath, "*", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "QUJD", []byte(nil))
	f.Add(e.Origin.CheckpointPath(1), "*", "sha-512=:x:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "", open.ManifestFile)
	f.Fuzz(func(t *testing.T, path, condition, digest, manifest string, body []byte) {
		x := newFixture(t)
		x.ship(open)
		r := x.upload(path, body, nil)
		if digest != "right" {
			r.header.Set("Repr-Digest", digest)
		}
		r.header.Set("If-None-Match", condition)
		r.header.Set(manifestHeader, manifest)
		r.path = ""
		h := r.http()
		h.URL.Path = objectsPrefix + path
		got := x.serve(h)
		switch got.status {
		case http.StatusOK, http.StatusCreated, http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnprocessableEntity, http.StatusFailedDependency, http.StatusPreconditionRequired:
		default:
			t.Errorf("PUT %q: status %d", path, got.status)
		}
		stored := make(map[string][]byte)
		for _, o := range open.Objects {
			stored[o.Path] = e.Files[o.Path]
		}
		if got.status == http.StatusCreated {
			stored[path] = body
			if _, ok := e.Files[path]; !ok {
				t.Errorf("%q was stored", path)
			}
		}
		x.wantStore(stored)
		if entries, err := os.ReadDir(filepath.Dir(x.config.Store)); err != nil || len(entries) != 2 {
			t.Errorf("beside store and state there is something else: %v, %v", entries, err)
		}
	})
}

// FuzzReprDigest wants no input to end in anything but an answer.
func FuzzReprDigest(f *testing.F) {
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
	f.Add("sha-512=:x:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
	f.Add("sha-256=:")
	f.Fuzz(func(t *testing.T, field string) {
		d, err := parseReprDigest([]string{field})
		if err != nil && d != [32]byte{} {
			t.Errorf("%q: an error and the digest %s", field, d)
		}
	})
}
