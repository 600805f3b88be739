package seal_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// example builds the worked example of README.md, which lies in
// testdata/example. Its payload file is taken from there: what a compressor
// writes may change from version to version.
func example(t testing.TB) *sealtest.Epoch {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(2), sealtest.WithPayload(func([]byte) []byte {
		file, err := os.ReadFile(filepath.Join(exampleDir, "records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson.zst"))
		if err != nil {
			t.Fatal(err)
		}
		return file
	}))
	e.Close()
	e.Checkpoint()
	return e
}

const exampleDir = "testdata/example"

// The format does not change by accident: what is built today is what was
// built when the example was written.
func TestWorkedExampleIsWhatIsBuilt(t *testing.T) {
	e := example(t)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range e.Files {
		got, err := os.ReadFile(filepath.Join(exampleDir, filepath.FromSlash(path)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v\n%s", path, err, got)
		}
		if !strings.Contains(path, "/000000000002.") && !strings.HasSuffix(path, seal.PayloadSuffix) && path != e.Origin.ManifestPath(0) &&
			path != e.Origin.SignaturePath(0) && !bytes.Contains(readme, got) {
			t.Errorf("README.md does not show %s as it is", path)
		}
	}
	for name, want := range map[string]string{
		"trust.vkey": e.Trust(), "allowed_signers": seal.AllowedSigner(e.Origin.Log, e.PublicKey()) + "\n",
	} {
		got, err := os.ReadFile(filepath.Join(exampleDir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, want %q, %v", name, got, want, err)
		}
		if !bytes.Contains(readme, got) {
			t.Errorf("README.md does not show %s as it is", name)
		}
	}
}

// The example's payload holds the records that its manifest vouches for.
func TestWorkedExampleHoldsItsRecords(t *testing.T) {
	e := example(t)
	m := e.Batches[1].Manifest
	r, err := zstd.NewReader(bytes.NewReader(e.Files[m.PayloadPath]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree seal.Tree
	for line := range bytes.Lines(plain) {
		tree.Add(seal.LeafHash(bytes.TrimSuffix(line, []byte("\n"))))
	}
	if tree.Root() != m.Root || int64(len(plain)) != m.Plain || tree.Size() != m.RecordsTo {
		t.Errorf("%d bytes, %d records, root %s; the manifest says %d, %d, %s", len(plain), tree.Size(), tree.Root(), m.Plain, m.RecordsTo, m.Root)
	}
}

// testdata/openssh.sig was made by OpenSSH 9.2 from the example's key and the
// manifest of its batch 1. Ed25519 is deterministic: ours is the same, byte for byte.
func TestSSHSignatureIsThatOfOpenSSH(t *testing.T) {
	e := example(t)
	want, err := os.ReadFile("testdata/openssh.sig")
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Files[e.Origin.SignaturePath(1)]; !bytes.Equal(got, want) {
		t.Errorf("ours is\n%s, that of OpenSSH\n%s", got, want)
	}
	if err := seal.SSHVerify(e.Batches[1].ManifestFile, want, e.PublicKey()); err != nil {
		t.Error(err)
	}
}

// The stock tools say the same as we do. Where a tool is not installed, the
// vectors above stand in for it.
func TestStockTools(t *testing.T) {
	e := example(t)
	dir := t.TempDir()
	e.Write(dir)
	signers := filepath.Join(dir, "allowed_signers")
	if err := os.WriteFile(signers, []byte(seal.AllowedSigner(e.Origin.Log, e.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sums := stock(t, dir, "sha256sum", func(manifest string) (args []string, stdin string) {
		return []string{"-c", "--quiet", manifest}, ""
	})
	keygen := stock(t, dir, "ssh-keygen", func(manifest string) (args []string, stdin string) {
		return []string{"-Y", "verify", "-f", signers, "-I", e.Origin.Log.String(), "-n", seal.SSHNamespace, "-s", manifest + ".sig"}, manifest
	})
	for n := range uint64(3) {
		sums(e.Origin.ManifestPath(n), true)
		keygen(e.Origin.ManifestPath(n), true)
	}
	one := filepath.Join(dir, e.Origin.ManifestPath(1))
	changed := bytes.Replace(e.Batches[1].ManifestFile, []byte("lines 2 2 0"), []byte("lines 3 3 0"), 1)
	if err := os.WriteFile(one, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	keygen(e.Origin.ManifestPath(1), false)
	sums(e.Origin.ManifestPath(2), false) // it holds the sum of manifest 1
	if err := os.WriteFile(filepath.Join(dir, e.Batches[1].Manifest.PayloadPath), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	sums(e.Origin.ManifestPath(1), false)
}

// stock returns a check that the tool accepts a manifest, or refuses it.
func stock(t *testing.T, dir, tool string, args func(manifest string) (args []string, stdin string)) func(manifest string, want bool) {
	t.Helper()
	program, err := exec.LookPath(tool)
	if err != nil {
		t.Logf("%s is not installed: %v", tool, err)
		return func(string, bool) {}
	}
	return func(manifest string, want bool) {
		t.Helper()
		arguments, stdin := args(manifest)
		c := exec.CommandContext(t.Context(), program, arguments...)
		c.Dir = dir
		if stdin != "" {
			f, err := os.Open(filepath.Join(dir, stdin))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.Stdin = f
		}
		if out, err := c.CombinedOutput(); (err == nil) != want {
			t.Errorf("%s of %s: %v\n%s", tool, manifest, err, out)
		}
	}
}
