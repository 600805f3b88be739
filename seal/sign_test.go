package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	return key.Public().(ed25519.PublicKey)
}

// pair returns an epoch's open manifest, the data manifest behind it, and the
// keys that verify the latter.
func pair(t testing.TB) (e *sealtest.Epoch, file []byte, ratchet ed25519.PublicKey) {
	e = sealtest.New(t, sealtest.Config{})
	ratchet = e.Open().Manifest.Ratchet
	return e, e.Data(sealtest.Chat(), e.Records(2)).ManifestFile, ratchet
}

func TestVerifyManifest(t *testing.T) {
	e, file, ratchet := pair(t)
	stranger := public(sealtest.Key("stranger"))
	lines := strings.SplitAfter(string(file), "\n")
	identityLine, ratchetLine := lines[len(lines)-3], lines[len(lines)-2]
	text := strings.Join(lines[:len(lines)-3], "")
	unknown := "— audit.example.com/acme/witness dDJ6RjOIGQ8osoVU8NVMtwfZy5PGq9SFa5BYNY6UiQrkkPf0buH+qw6VUUqKBeee6PR3KjEdjk57rTMiZIsTdNJgaAs=\n"
	other := func(line string) string { // the same signature bytes, another encoding of the last one
		return strings.Replace(line, line[len(line)-3:], string(line[len(line)-3]+1)+line[len(line)-2:], 1)
	}
	tests := []struct {
		name              string
		file              string
		identity, ratchet ed25519.PublicKey
		want              error // nil: any error
		sound             bool
	}{
		{name: "sound", file: string(file), identity: e.PublicKey(), ratchet: ratchet, sound: true},
		{name: "other identity", file: string(file), identity: stranger, ratchet: ratchet, want: seal.ErrSignature},
		{name: "other ratchet", file: string(file), identity: e.PublicKey(), ratchet: stranger, want: seal.ErrRatchet},
		{name: "no ratchet known", file: string(file), identity: e.PublicKey(), want: seal.ErrRatchet},
		{name: "no identity known", file: string(file), ratchet: ratchet, want: seal.ErrSignature},
		{name: "text changed", file: strings.Replace(string(file), "plain 18", "plain 19", 1), identity: e.PublicKey(), ratchet: ratchet, want: seal.ErrSignature},
		{name: "no ratchet line", file: text + identityLine, identity: e.PublicKey(), ratchet: ratchet, want: seal.ErrRatchet},
		{name: "no identity line", file: text + ratchetLine, identity: e.PublicKey(), ratchet: ratchet, want: seal.ErrSignature},
		{name: "lines swapped", file: text + ratchetLine + identityLine, identity: e.PublicKey(), ratchet: ratchet},
		{name: "line repeated", file: text + identityLine + ratchetLine + ratchetLine, identity: e.PublicKey(), ratchet: ratchet},
		{name: "line of a stranger", file: text + identityLine + ratchetLine + unknown, identity: e.PublicKey(), ratchet: ratchet},
		{name: "other base64", file: text + other(identityLine) + ratchetLine, identity: e.PublicKey(), ratchet: ratchet},
		{name: "no signatures", file: strings.TrimSuffix(text, "\n"), identity: e.PublicKey(), ratchet: ratchet},
		{name: "too long", file: string(file) + strings.Repeat(unknown, 60), identity: e.PublicKey(), ratchet: ratchet},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := seal.VerifyManifest([]byte(test.file), test.identity, test.ratchet)
			switch {
			case test.sound != (err == nil):
				t.Errorf("error is %v", err)
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error is %v, want %v", err, test.want)
			case test.sound && m.Batch != 1:
				t.Errorf("batch is %d", m.Batch)
			}
		})
	}
}

// Any Go program with x/mod can verify what we sign, with nothing of ours.
func TestManifestIsANote(t *testing.T) {
	e, file, ratchet := pair(t)
	var verifiers []note.Verifier
	for _, vkey := range []string{seal.VKey(e.Origin.String(), e.PublicKey()), seal.VKey(e.Origin.RatchetName(), ratchet)} {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	n, err := note.Open(file, note.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
		t.Errorf("note %+v, %v", n, err)
	}
}

func TestVKeyRoundTrip(t *testing.T) {
	key := public(sealtest.Key("k"))
	vkey := seal.VKey("acme/gpu-07", key)
	name, got, err := seal.ParseVKey(vkey)
	if err != nil || name != "acme/gpu-07" || !got.Equal(key) {
		t.Errorf("%q, %v, %v", name, got, err)
	}
	if _, err := note.NewVerifier(vkey); err != nil {
		t.Error(err)
	}
	ecdsa := "acme/gpu-07+" + strings.Split(vkey, "+")[1] + "+" + base64.StdEncoding.EncodeToString(append([]byte{2}, key...))
	for _, bad := range []string{"", "acme", vkey + "A", strings.Replace(vkey, "gpu", "cpu", 1), vkey[:len(vkey)-4], ecdsa, strings.Replace(vkey, "+", " ", 1)} {
		if name, _, err := seal.ParseVKey(bad); err == nil {
			t.Errorf("ParseVKey(%q) is a key of %s", bad, name)
		}
	}
}

func TestSignRefusesWhatDoesNotParse(t *testing.T) {
	e, _, _ := pair(t)
	m := *e.Batches[1].Manifest
	m.Boot = "two words"
	if file, err := seal.SignManifest(&m, e.Identity, sealtest.Key("r")); err == nil {
		t.Errorf("signed\n%s", file)
	}
}

func TestSSHVerify(t *testing.T) {
	e, file, _ := pair(t)
	signature := e.Files[e.Origin.SignaturePath(1)]
	otherNamespace := bytes.Replace(decode(t, signature), []byte(seal.SSHNamespace), []byte("auditail-manifesT"), 1)
	tests := map[string]struct {
		message, signature []byte
		key                ed25519.PublicKey
		sound              bool
	}{
		"sound":           {file, signature, e.PublicKey(), true},
		"one line":        {file, armor(decode(t, signature)), e.PublicKey(), false},
		"other message":   {file[1:], signature, e.PublicKey(), false},
		"other key":       {file, signature, public(sealtest.Key("x")), false},
		"other namespace": {file, armor(otherNamespace), e.PublicKey(), false},
		"empty":           {file, nil, e.PublicKey(), false},
		"no armor":        {file, decode(t, signature), e.PublicKey(), false},
		"short":           {file, armor([]byte("SSHSIG")), e.PublicKey(), false},
		"text behind":     {file, append(bytes.Clone(signature), "x"...), e.PublicKey(), false},
		"text before":     {file, append([]byte("x"), signature...), e.PublicKey(), false},
		"bytes behind":    {file, armor(append(decode(t, signature), 0)), e.PublicKey(), false},
		"not base64":      {file, bytes.Replace(signature, []byte("U1NI"), []byte("U1N!"), 1), e.PublicKey(), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := seal.SSHVerify(test.message, test.signature, test.key); (err == nil) != test.sound {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func decode(t testing.TB, armored []byte) []byte {
	body := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(string(armored), "-----BEGIN SSH SIGNATURE-----\n"), "-----END SSH SIGNATURE-----\n"), "\n", "")
	blob, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func armor(blob []byte) []byte {
	return fmt.Appendf(nil, "-----BEGIN SSH SIGNATURE-----\n%s\n-----END SSH SIGNATURE-----\n", base64.StdEncoding.EncodeToString(blob))
}

func TestCheckpoint(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Heartbeat()
	c := e.Checkpoint()
	got, err := seal.VerifyCheckpoint(c.File, e.PublicKey())
	if err != nil || got.Size != 2 || got.Root != c.Root || got.Origin != e.Origin || got.Path() != e.Origin.CheckpointPath(2) {
		t.Errorf("%+v, %v", got, err)
	}
	text, line, _ := strings.Cut(string(c.File), "\n\n")
	sign := func(text string) []byte {
		s, err := seal.NewSigner(e.Origin.String(), e.Identity)
		if err != nil {
			t.Fatal(err)
		}
		file, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, file := range map[string][]byte{
		"other key":       mustCheckpoint(t, e, sealtest.Key("x")),
		"size changed":    bytes.Replace(c.File, []byte("\n2\n"), []byte("\n3\n"), 1),
		"line repeated":   []byte(text + "\n\n" + line + line),
		"extension":       sign(text + "\nextension\n"),
		"leading zero":    sign(strings.Replace(text, "\n2\n", "\n02\n", 1) + "\n"),
		"negative size":   sign(strings.Replace(text, "\n2\n", "\n-2\n", 1) + "\n"),
		"short root":      sign(text[:len(text)-5] + "\n"),
		"no origin":       sign("gpu-07\n2\n" + c.Root.String() + "\n"),
		"two lines":       sign(e.Origin.String() + "\n2\n"),
		"empty":           nil,
		"a manifest":      e.Batches[1].ManifestFile,
		"other log's key": bytes.ReplaceAll(c.File, []byte("gpu-07"), []byte("gpu-08")),
	} {
		if got, err := seal.VerifyCheckpoint(file, e.PublicKey()); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func mustCheckpoint(t testing.TB, e *sealtest.Epoch, key ed25519.PrivateKey) []byte {
	var tree seal.Tree
	c, err := seal.SignCheckpoint(e.Origin, &tree, key)
	if err != nil {
		t.Fatal(err)
	}
	return c.File
}

func FuzzVerifyManifest(f *testing.F) {
	e, file, ratchet := pair(f)
	f.Add(file)
	f.Add(e.Batches[0].ManifestFile)
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := seal.VerifyManifest(file, e.PublicKey(), ratchet)
		if err == nil && !bytes.Equal(file, e.Batches[m.Batch].ManifestFile) {
			t.Errorf("verifies, but was never signed:\n%s", file)
		}
	})
}

func FuzzSSHVerify(f *testing.F) {
	e, file, _ := pair(f)
	signature := e.Files[e.Origin.SignaturePath(1)]
	f.Add(file, signature)
	f.Fuzz(func(t *testing.T, message, armored []byte) {
		if err := seal.SSHVerify(message, armored, e.PublicKey()); err == nil && !bytes.Equal(message, file) {
			t.Errorf("verifies, but was never signed: %q", message)
		}
	})
}

func FuzzVerifyCheckpoint(f *testing.F) {
	e := sealtest.New(f, sealtest.Config{})
	e.Open()
	file := e.Checkpoint().File
	f.Add(file)
	f.Fuzz(func(t *testing.T, got []byte) {
		if _, err := seal.VerifyCheckpoint(got, e.PublicKey()); err == nil && !bytes.Equal(got, file) {
			t.Errorf("verifies, but was never signed:\n%s", got)
		}
	})
}
