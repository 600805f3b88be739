package seal_test

import (
	"path"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/seal"
)

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"gpu-07": true, "a": true, "0": true, "a.b_c-d": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "Gpu": false, ".hidden": false, "-x": false, "_x": false,
		"a/b": false, "a b": false, "a\n": false, "ä": false, "a=b": false, "..": false,
	} {
		if got := seal.ValidName(name); got != want {
			t.Errorf("ValidName(%q) is %t", name, got)
		}
	}
}

func TestParseLogAndOrigin(t *testing.T) {
	for _, text := range []string{"acme/gpu-07", "audit.example.com/acme/gpu-07", "a/b/c/d"} {
		log, err := seal.ParseLog(text)
		if err != nil || log.String() != text {
			t.Errorf("ParseLog(%q) is %v, %v", text, log, err)
		}
		origin, err := seal.ParseOrigin(text + "/0042")
		if err != nil || origin.Epoch != 42 || origin.Log != log || origin.String() != text+"/0042" {
			t.Errorf("ParseOrigin of %q is %v, %v", text, origin, err)
		}
	}
	for _, text := range []string{"", "gpu-07", "/gpu-07", "acme/", "acme//gpu-07", "Acme/gpu-07", "acme/gpu 07", "acme/../gpu-07"} {
		if log, err := seal.ParseLog(text); err == nil {
			t.Errorf("ParseLog(%q) is %v", text, log)
		}
	}
	for _, text := range []string{"", "0001", "acme/gpu-07", "acme/gpu-07/", "acme/gpu-07/1", "acme/gpu-07/0000", "acme/gpu-07/00001", "acme/gpu-07/+001", "gpu-07/0001"} {
		if origin, err := seal.ParseOrigin(text); err == nil {
			t.Errorf("ParseOrigin(%q) is %v", text, origin)
		}
	}
}

// Every path that an origin makes parses to what it was made from.
func TestPathsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,20}`)
		o := seal.Origin{
			Log:   seal.Log{Organization: "acme", Agent: name.Draw(t, "agent")},
			Epoch: rapid.IntRange(1, seal.MaxEpoch).Draw(t, "epoch"),
		}
		s := seal.Stream{Environment: name.Draw(t, "env"), Service: name.Draw(t, "svc"), Class: name.Draw(t, "class")}
		n := rapid.Uint64Range(0, 999_999_999_999).Draw(t, "n")
		opened := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "opened"), 0)
		want := seal.ObjectName{Agent: o.Agent, Epoch: o.Epoch, Number: n}
		payload := want
		payload.Stream, payload.Day = s, opened.UTC().Format(time.DateOnly)
		identity := want
		identity.Number = 0
		for p, test := range map[string]struct {
			kind seal.ObjectKind
			want seal.ObjectName
		}{
			o.ManifestPath(n):           {seal.ManifestObject, want},
			o.SignaturePath(n):          {seal.SignatureObject, want},
			o.CheckpointPath(n):         {seal.CheckpointObject, want},
			o.IdentityPath():            {seal.IdentityObject, identity},
			o.PayloadPath(s, opened, n): {seal.PayloadObject, payload},
		} {
			got, err := seal.ParsePath(p)
			test.want.Kind = test.kind
			if err != nil || got != test.want {
				t.Fatalf("ParsePath(%q) is %+v, %v, want %+v", p, got, err, test.want)
			}
		}
	})
}

func TestParsePathRefuses(t *testing.T) {
	for _, p := range []string{
		"", ".", "/", "..", "seals", "records", "seals/gpu-07", "seals/gpu-07/0001",
		"seals/gpu-07/0001/000000000001", "seals/gpu-07/0001/1.manifest", "seals/gpu-07/0001/0000000000001.manifest",
		"seals/gpu-07/0000/000000000001.manifest", "seals/gpu-07/1/000000000001.manifest", "seals/../0001/000000000001.manifest",
		"seals/gpu-07/0001/../000000000001.manifest", "seals//gpu-07/0001/000000000001.manifest", "/seals/gpu-07/0001/000000000001.manifest",
		"seals/gpu-07/0001/000000000001.manifest/", "seals/gpu-07/0001/000000000001.manifest.sig.sig", "seals/gpu-07/0001/00000000000a.manifest",
		"seals/gpu-07/0001/checkpoint", "seals/gpu-07/0001/checkpoint/1", "seals/gpu-07/0001/checkpoint/000000000001/x",
		"seals/gpu-07/0001/checkpoint/identity.vkey", "seals/gpu-07/0001/cosignature/000000000001", "seals/gpu-07/0001/cosignature/000000000001-XYZ",
		"seals/gpu-07/0001/cosignature/000000000001-ABCDEF01", "seals/GPU/0001/identity.vkey", `seals\gpu-07\0001\identity.vkey`,
		"records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson",
		"records/env=prod/svc=chat/class=standard/day=2026-11-31/collector=gpu-07/0001-000000000001.ndjson.zst",
		"records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0000-000000000001.ndjson.zst",
		"records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/000000000001.ndjson.zst",
		"records/env=prod/svc=chat/class=standard/collector=gpu-07/day=2026-11-20/0001-000000000001.ndjson.zst",
		"records/env=../svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson.zst",
		"records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/x/0001-000000000001.ndjson.zst",
	} {
		if o, err := seal.ParsePath(p); err == nil {
			t.Errorf("ParsePath(%q) is %+v", p, o)
		}
	}
	o, err := seal.ParsePath("seals/gpu-07/0001/cosignature/000000000007-0a1b2c3d")
	if err != nil || o.Kind != seal.CosignatureObject || o.Number != 7 || o.KeyID != "0a1b2c3d" {
		t.Errorf("cosignature is %+v, %v", o, err)
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("seals/gpu-07/0001/000000000005.manifest")
	f.Add("seals/gpu-07/0001/000000000005.manifest.sig")
	f.Add("seals/gpu-07/0001/checkpoint/000000000005")
	f.Add("seals/gpu-07/0001/cosignature/000000000005-0a1b2c3d")
	f.Add("seals/gpu-07/0001/identity.vkey")
	f.Add("records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000005.ndjson.zst")
	f.Fuzz(func(t *testing.T, p string) {
		o, err := seal.ParsePath(p)
		if err != nil {
			return
		}
		if path.Clean(p) != p || path.IsAbs(p) || strings.HasPrefix(p, "..") {
			t.Errorf("%q is accepted, but may lead out of the archive", p)
		}
		origin := seal.Origin{Log: seal.Log{Organization: "acme", Agent: o.Agent}, Epoch: o.Epoch}
		again := map[seal.ObjectKind]string{
			seal.ManifestObject:    origin.ManifestPath(o.Number),
			seal.SignatureObject:   origin.SignaturePath(o.Number),
			seal.CheckpointObject:  origin.CheckpointPath(o.Number),
			seal.IdentityObject:    origin.IdentityPath(),
			seal.CosignatureObject: strings.Replace(origin.CheckpointPath(o.Number), "/checkpoint/", "/cosignature/", 1) + "-" + o.KeyID,
		}[o.Kind]
		if o.Kind == seal.PayloadObject {
			day, err := time.Parse(time.DateOnly, o.Day)
			if err != nil {
				t.Fatal(err)
			}
			again = origin.PayloadPath(o.Stream, day, o.Number)
		}
		if again != p {
			t.Errorf("%q parses, but %q is what its parts make", p, again)
		}
	})
}
