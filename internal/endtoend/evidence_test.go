package endtoend

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

// evidence is an archive that a real agent made in a life with everything in it: it
// was killed, its logs were rotated, its configuration was loaded again, its program
// was upgraded, its key was rotated, and a witness cosigned its heads. Two services,
// two retention classes, one epoch, two closes.
type evidence struct {
	site    *site
	folder  string              // read only
	trust   string              // file, with the key that the log was opened with
	policy  string              // file, with the witness
	witness seal.WitnessKey     //
	last    uint64              // number of the newest batch, a close
	closed  uint64              // number of the close before
	rotated uint64              // number of the rotate manifest
	settled []uint64            // sizes with a checkpoint, in order; none of them behind a close
	chat    []*seal.Manifest    // data of one stream, in order
	keys    [2]string           // files of the identity keys: the one that was rotated out, and the one that followed
	upgrade string              // folder of the later program
	others  map[string]evidence // archives of other agents: "tenant", "neighbour", "impostor"
}

const attackInputs = accessInput + `
[[inputs.file]]
name = "tools"
paths = ["DIR/logs/tools.log"]
parser = "combined"
service = "tools"
provider = "vllm"
retention = "legal"
[retention]
standard = "184d"
legal = "6y"
`

// upgraded is the agent's program in a later version.
func upgraded(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "auditail"),
		"-ldflags=-X github.com/auditail/auditail/internal/version.linked=v99.0.0", "../../cmd/auditail")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func makeEvidence(t *testing.T) *evidence {
	t.Helper()
	s := newSite(t, attackInputs, directoryOutput+"[buffer]\nbatch_age = \"200ms\"\n")
	e := &evidence{site: s, folder: s.path("archive")}
	config := s.path("auditail.toml")
	e.witnessed()
	e.trust = s.trust()
	e.upgrade = upgraded(t)

	appendTo(t, s.path("logs/tools.log"), accessLines(0, 500))
	p := s.start("auditail", "run", "--config", config)
	e.settle(500)
	for wave := range 3 {
		appendTo(t, s.path("logs/access.log"), accessLines(300*wave, 300))
		e.settle(uint64(500 + 300*wave + 300)) //nolint:gosec // small
	}
	e.reload("\n[[inputs.file]]\nname = \"late\"\npaths = [\"DIR/logs/late.log\"]\nparser = \"combined\"\nservice = \"chat\"\n")
	hangUp(t, p)
	p.logged("the configuration was loaded again")
	for wave := 3; wave < 6; wave++ {
		appendTo(t, s.path("logs/access.log"), accessLines(300*wave, 300))
		e.settle(uint64(500 + 300*wave + 300)) //nolint:gosec // small
	}
	p.kill()
	appendTo(t, s.path("logs/access.log"), accessLines(1800, 300))
	if err := os.Rename(s.path("logs/access.log"), s.path("logs/access.log.1")); err != nil {
		t.Fatal(err)
	}
	appendTo(t, s.path("logs/access.log"), accessLines(2100, 300))
	e.keys = [2]string{s.path("old.pem"), s.path("data/keys/identity.pem")}
	s.write("old.pem", string(s.file("data/keys/identity.pem")))
	s.run("auditail", "keys", "rotate", "--config", config)
	run := func() {
		command := exec.CommandContext(t.Context(), filepath.Join(e.upgrade, "auditail"), "run", "--once", "--config", config)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run() // ends with close
	appendTo(t, s.path("logs/access.log"), accessLines(2400, 300))
	appendTo(t, s.path("logs/tools.log"), accessLines(500, 100))
	run() // goes on behind it
	e.survey()
	e.others = map[string]evidence{
		"tenant":    otherEvidence(t, `organization = "audit.example.com/globex"`, `id = "`+agentID+`"`),
		"neighbour": otherEvidence(t, `organization = "audit.example.com/acme"`, `id = "gpu-08"`),
		"impostor":  otherEvidence(t, `organization = "audit.example.com/acme"`, `id = "`+agentID+`"`),
	}
	return e
}

// reload changes the configuration.
func (e *evidence) reload(more string) {
	e.site.t.Helper()
	e.site.write("auditail.toml", string(e.site.file("auditail.toml"))+strings.ReplaceAll(more, "DIR", e.site.dir))
}

// witnessed makes the agent's key, and a server that receives and witnesses its log:
// who witnesses has to see the manifest that rotates the key.
func (e *evidence) witnessed() { e.witnessedBy(true) }

// witnessedBy makes a server that witnesses, and receives as well or not.
func (e *evidence) witnessedBy(receives bool) {
	s := e.site
	s.t.Helper()
	if err := os.Mkdir(s.path("witness"), 0o750); err != nil {
		s.t.Fatal(err)
	}
	c := newCentralAt(s.t, s.path("witness"))
	c.enrol(s, "witness.token")
	e.witness = c.witness()
	e.policy = s.path("policy")
	s.write("policy", "witness w "+e.witness.String()+"\nquorum w\n")
	e.reload("\n[[witness]]\nurl = \"http://" + c.address + "/v1/witness\"\nvkey = \"" + e.witness.String() + "\"\n")
	if receives {
		e.reload("[[outputs.http]]\nname = \"central\"\nurl = \"http://" + c.address + "\"\ntoken = { file = \"DIR/witness.token\" }\n")
	}
	c.serving()
}

// settle waits until lines have arrived and the log as it is then has a checkpoint.
// How many batches a ship round takes, and so which heads have one, is otherwise a
// matter of speed.
func (e *evidence) settle(lines uint64) {
	t := e.site.t
	t.Helper()
	await(t, fmt.Sprintf("%d lines under a checkpoint", lines), func() bool {
		if e.site.arrived() != lines {
			return false
		}
		size := e.size()
		if _, err := os.Stat(filepath.Join(e.folder, e.origin().CheckpointPath(size))); err != nil {
			return false
		}
		e.settled = append(e.settled, size)
		return true
	})
}

func (e *evidence) size() uint64 {
	names, err := filepath.Glob(filepath.Join(e.folder, e.origin().SealsPath(), "*"+seal.ManifestSuffix))
	if err != nil {
		e.site.t.Fatal(err)
	}
	return uint64(len(names))
}

// survey finds out what the agent made of its life, and that it was such a one.
func (e *evidence) survey() {
	t := e.site.t
	t.Helper()
	versions, configs := make(map[string]bool), make(map[seal.Digest]bool)
	for n := range e.size() {
		m := e.site.manifest(filepath.Join(e.folder, e.origin().ManifestPath(n)))
		versions[m.Run.Version], configs[m.Run.Config] = true, true
		switch {
		case m.Kind == seal.Close:
			e.closed, e.last = e.last, n
		case m.Kind == seal.Rotate:
			e.rotated = n
		case m.Kind == seal.Data && m.Stream.Service == "chat":
			e.chat = append(e.chat, m)
		}
	}
	if known := e.site.manifest(filepath.Join(e.folder, e.origin().ManifestPath(e.last))).WitnessedSize; known <= e.rotated {
		t.Fatalf("the last manifest knows of %d manifests that were cosigned: those of the run before were not", known)
	}
	if len(e.chat) < 8 || e.closed == 0 || e.rotated < 8 || len(versions) != 2 || len(configs) < 2 {
		t.Fatalf("%d batches of the chat stream, closes %d and %d, key rotated in %d, versions %v, %d configurations",
			len(e.chat), e.closed, e.last, e.rotated, versions, len(configs))
	}
}

// otherEvidence is an archive of an agent with another name, in another organization,
// or with another key alone.
func otherEvidence(t *testing.T, organization, id string) evidence {
	t.Helper()
	s := newSite(t, accessInput, directoryOutput)
	config := strings.Replace(string(s.file("auditail.toml")), `id = "`+agentID+`"`, id, 1)
	s.write("auditail.toml", strings.Replace(config, `organization = "audit.example.com/acme"`, organization, 1))
	appendTo(t, s.path("logs/access.log"), accessLines(0, 300))
	s.once()
	return evidence{site: s, folder: s.path("archive"), trust: s.trust()}
}

func (e *evidence) origin() seal.Origin {
	return seal.Origin{Log: seal.Log{Organization: "audit.example.com/acme", Agent: agentID}, Epoch: 1}
}

// identity is the private key that sealed a batch: the attacker owns the host, and
// did so before the key was rotated out.
func (e *evidence) identity(t *testing.T, batch uint64) ed25519.PrivateKey {
	t.Helper()
	name := e.keys[0]
	if batch > e.rotated {
		name = e.keys[1]
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

// ratchet is the one-time key of the next batch, the only one on the host.
func (e *evidence) ratchet(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	names, err := filepath.Glob(e.site.path("data/buffer/ratchet/*.key"))
	if err != nil || len(names) != 1 {
		t.Fatalf("keys on the host: %q, %v: the others should be erased", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(seed) != ed25519.SeedSize {
		t.Fatalf("%s is no key: %v", names[0], err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// findings runs auditail-verify and returns the codes of the violations, each
// with how often it was found, and those of the notices.
func (e *evidence) findings(t *testing.T, dir string, arguments ...string) (violations, notices map[string]int) {
	t.Helper()
	if !slices.Contains(arguments, "--trust") {
		arguments = append(arguments, "--trust", e.trust)
	}
	out, code := e.site.try("auditail-verify", append([]string{"archive", dir, "--json"}, arguments...)...)
	violations, notices = make(map[string]int), make(map[string]int)
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var f struct{ Level, Code string }
		err := d.Decode(&f)
		switch {
		case errors.Is(err, io.EOF):
			if (code == 1) != (len(violations) > 0) || code > 1 {
				t.Fatalf("exit %d with violations %v\n%s", code, violations, out)
			}
			if testing.Verbose() {
				t.Log(out)
			}
			return violations, notices
		case err != nil:
			t.Fatalf("exit %d: %v\n%s", code, err, out)
		case f.Level == "violation":
			violations[f.Code]++
		case f.Level == "notice":
			notices[f.Code]++
		}
	}
}

// root is a copy of the archive that an attack changes.
type root struct {
	t *testing.T
	*evidence
	dir string
}

func (e *evidence) copy(t *testing.T) *root {
	t.Helper()
	r := &root{t: t, evidence: e, dir: filepath.Join(t.TempDir(), "archive")}
	if err := os.CopyFS(r.dir, os.DirFS(e.folder)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *root) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r *root) manifest(n uint64) string { return r.origin().ManifestPath(n) }

// sealed is manifest n as the agent made it.
func (r *root) sealed(n uint64) *seal.Manifest {
	return r.site.manifest(filepath.Join(r.folder, r.manifest(n)))
}

func (r *root) read(name string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

func (r *root) write(name string, data []byte) {
	r.t.Helper()
	path := r.path(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.RemoveAll(path), os.WriteFile(path, data, 0o600)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) remove(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := os.Remove(r.path(name)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *root) rename(from, to string) {
	r.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(r.path(to)), 0o700), os.Rename(r.path(from), r.path(to))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) flip(name string, at int) {
	data := r.read(name)
	data[(at+len(data))%len(data)] ^= 1
	r.write(name, data)
}

func (r *root) batch(n uint64) []string {
	files := []string{r.manifest(n), r.origin().SignaturePath(n)}
	if m := r.sealed(n); m.PayloadPath != "" {
		files = append(files, m.PayloadPath)
	}
	return files
}

// cut takes the tail behind size manifests away, checkpoints and cosignatures included.
func (r *root) cut(size uint64) {
	for n := size; n <= r.last; n++ {
		r.remove(r.batch(n)...)
	}
	r.unsign("checkpoint", size+1)
	r.unsign("cosignature", size+1)
}

// unsign removes what signs that many manifests or more.
func (r *root) unsign(folder string, least uint64) {
	entries, err := os.ReadDir(r.path(r.origin().SealsPath() + "/" + folder))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), "%d", &n); err != nil {
			r.t.Fatal(err)
		}
		if n >= least {
			r.remove(r.origin().SealsPath() + "/" + folder + "/" + e.Name())
		}
	}
}

// earlier is a size that has a checkpoint, long before the end.
func (e *evidence) earlier() uint64 { return e.settled[len(e.settled)-1] }

// lines unpacks a payload, with its LFs.
func (r *root) lines(m *seal.Manifest) [][]byte {
	d, err := zstd.NewReader(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	plain, err := d.DecodeAll(r.read(m.PayloadPath), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes.SplitAfter(plain[:len(plain)-1], []byte("\n"))
}

func compress(t *testing.T, plain []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain, nil)
}

// forge seals a batch with the keys of the host: what a thief can do.
func (r *root) forge(m *seal.Manifest, ratchet ed25519.PrivateKey) {
	r.t.Helper()
	r.forgeBy(m, r.identity(r.t, m.Batch), ratchet)
}

func (r *root) forgeBy(m *seal.Manifest, identity, ratchet ed25519.PrivateKey) {
	r.t.Helper()
	file, err := seal.SignManifest(m, identity, ratchet)
	if err != nil {
		r.t.Fatal(err)
	}
	r.place(m, file, identity)
}

// place puts a manifest and its SSH signature where they belong.
func (r *root) place(m *seal.Manifest, file []byte, identity ed25519.PrivateKey) {
	r.t.Helper()
	signature, err := seal.SSHSign(file, identity)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(m.Origin.ManifestPath(m.Batch), file)
	r.write(m.Origin.SignaturePath(m.Batch), signature)
}

// sign makes a checkpoint over the manifests that lie there.
func (r *root) sign(origin seal.Origin, size uint64) {
	r.t.Helper()
	r.signBy(origin, size, r.identity(r.t, size))
}

func (r *root) signBy(origin seal.Origin, size uint64, identity ed25519.PrivateKey) {
	r.t.Helper()
	tree := r.tree(origin, size)
	c, err := seal.SignCheckpoint(origin, &tree, identity)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(c.Path(), c.File)
}

func (r *root) tree(origin seal.Origin, size uint64) (tree seal.Tree) {
	for n := range size {
		tree.Add(seal.LeafHash(r.read(origin.ManifestPath(n))))
	}
	return tree
}

// next is a manifest that follows the newest one, as a thief would make it.
func (r *root) next(kind seal.Kind) *seal.Manifest {
	m := *r.sealed(r.last)
	m.Batch, m.Kind, m.Ratchet = r.last+1, kind, public(key("a"))
	m.Previous = seal.DigestOf(r.read(r.manifest(r.last)))
	if kind != seal.Close {
		m.NextBy = m.Sealed.Add(120e9)
	}
	return &m
}

// key makes the next one-time key of a forged chain.
func key(seed string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte(seed), ed25519.SeedSize)[:ed25519.SeedSize])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
