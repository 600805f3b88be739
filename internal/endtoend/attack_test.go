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
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

// evidence is an archive that a real agent made, whose run was killed, whose logs
// were rotated, and which was restarted; two services, two retention classes. It
// closed its log twice and went on.
type evidence struct {
	site   *site
	folder string           // read only
	trust  string           // file
	last   uint64           // number of the newest batch, a close
	closed uint64           // number of the close before
	chat   []*seal.Manifest // data of one stream, in order
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

func makeEvidence(t *testing.T) *evidence {
	t.Helper()
	s := newSite(t, attackInputs, directoryOutput+"[buffer]\nbatch_age = \"200ms\"\n")
	appendTo(t, s.path("logs/tools.log"), accessLines(0, 500))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	await(t, "the tools", func() bool { return s.arrived() == 500 })
	for wave := range 6 {
		appendTo(t, s.path("logs/access.log"), accessLines(300*wave, 300))
		await(t, "a batch", func() bool { return s.arrived() == uint64(500+300*wave+300) }) //nolint:gosec // small
	}
	p.kill()
	appendTo(t, s.path("logs/access.log"), accessLines(1800, 300))
	if err := os.Rename(s.path("logs/access.log"), s.path("logs/access.log.1")); err != nil {
		t.Fatal(err)
	}
	appendTo(t, s.path("logs/access.log"), accessLines(2100, 300))
	s.once() // ends with close
	appendTo(t, s.path("logs/access.log"), accessLines(2400, 300))
	appendTo(t, s.path("logs/tools.log"), accessLines(500, 100))
	s.once() // goes on behind it
	e := &evidence{site: s, folder: s.path("archive"), trust: s.trust()}
	for n := uint64(0); ; n++ {
		if _, err := os.Stat(filepath.Join(e.folder, e.origin().ManifestPath(n))); err != nil {
			break
		}
		m := s.manifest(filepath.Join(e.folder, e.origin().ManifestPath(n)))
		switch {
		case m.Kind == seal.Close:
			e.closed, e.last = e.last, n
		case m.Kind == seal.Data && m.Stream.Service == "chat":
			e.chat = append(e.chat, m)
		}
	}
	if len(e.chat) < 6 || e.closed == 0 {
		t.Fatalf("the archive has %d batches of the chat stream, and closes %d and %d", len(e.chat), e.closed, e.last)
	}
	return e
}

func (e *evidence) origin() seal.Origin {
	return seal.Origin{Log: seal.Log{Organization: "audit.example.com/acme", Agent: agentID}, Epoch: 1}
}

// identity is the agent's private key: the attacker owns the host.
func (e *evidence) identity(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(e.site.path("data/keys/identity.pem"))
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

// root is a copy of the archive that an attack changes.
type root struct {
	t *testing.T
	*evidence
	dir string
}

func (r *root) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r *root) manifest(n uint64) string { return r.origin().ManifestPath(n) }

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

func (r *root) flip(name string, at int) {
	data := r.read(name)
	data[(at+len(data))%len(data)] ^= 1
	r.write(name, data)
}

func (r *root) batch(n uint64) []string {
	files := []string{r.manifest(n), r.origin().SignaturePath(n)}
	if m := r.site.manifest(filepath.Join(r.folder, r.manifest(n))); m.PayloadPath != "" {
		files = append(files, m.PayloadPath)
	}
	return files
}

// cut takes the tail behind size manifests away, checkpoints included.
func (r *root) cut(size uint64) {
	for n := size; n <= r.last; n++ {
		r.remove(r.batch(n)...)
	}
	for _, at := range r.checkpoints() {
		if at > size {
			r.remove(r.origin().CheckpointPath(at))
		}
	}
}

// expected settles whether "checkpoint-missing" belongs to what is found. How many
// batches the agent's ship rounds took, and so which heads have a checkpoint, is a
// matter of speed: it is demanded where it is listed and the end has none, and
// follows what is found elsewhere.
func (r *root) expected(want []string, found map[string]int) []string {
	const code = "checkpoint-missing"
	manifests, err := filepath.Glob(r.path(r.origin().SealsPath() + "/*.manifest"))
	if err != nil {
		r.t.Fatal(err)
	}
	demanded := slices.Contains(want, code) && !slices.Contains(r.checkpoints(), uint64(len(manifests)))
	want = slices.DeleteFunc(slices.Clone(want), func(c string) bool { return c == code })
	if demanded || found[code] > 0 {
		want = append(want, code)
	}
	slices.Sort(want)
	return want
}

// checkpoints are the sizes that have one, in order.
func (r *root) checkpoints() (sizes []uint64) {
	entries, err := os.ReadDir(r.path(r.origin().SealsPath() + "/checkpoint"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), "%d", &n); err != nil {
			r.t.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

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
	identity := r.identity(r.t)
	file, err := seal.SignManifest(m, identity, ratchet)
	if err != nil {
		r.t.Fatal(err)
	}
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
	var tree seal.Tree
	for n := range size {
		tree.Add(seal.LeafHash(r.read(origin.ManifestPath(n))))
	}
	c, err := seal.SignCheckpoint(origin, &tree, r.identity(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(c.Path(), c.File)
}

// key makes the next one-time key of a forged chain.
func key(seed string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte(seed), ed25519.SeedSize)[:ed25519.SeedSize])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// findings runs auditail-verify and returns the codes of the violations, each
// with how often it was found, and those of the notices.
func (e *evidence) findings(t *testing.T, dir string, arguments ...string) (violations, notices map[string]int) {
	t.Helper()
	out, code := e.site.try("auditail-verify", append([]string{"archive", dir, "--trust", e.trust, "--json"}, arguments...)...)
	violations, notices = make(map[string]int), make(map[string]int)
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var f struct{ Level, Code string }
		err := d.Decode(&f)
		switch {
		case errors.Is(err, io.EOF):
			if (code == 1) != (len(violations) > 0) || code > 1 {
				t.Fatalf("exit %d with violations %v\n%s", code, violations, out)
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

// attack is one way to make an archive say something else.
type attack struct {
	name      string
	do        func(r *root)
	arguments func(e *evidence) []string
	want      []string // codes of violations
	notices   []string // beside those of the untouched archive
}

// TestAttacks: every attack on the archive of a real agent is found, and is found
// to be what it is.
func TestAttacks(t *testing.T) {
	e := makeEvidence(t)
	violations, quiet := e.findings(t, e.folder, "--expect-size", fmt.Sprint(e.last+1))
	if len(violations) > 0 {
		t.Fatalf("the archive is not sound to begin with: %v", violations)
	}
	t.Run("a zip bomb", func(t *testing.T) { bombs(t, e) })
	for _, a := range slices.Concat(fileAttacks(), batchAttacks(), tailAttacks(), keyAttacks(), payloadAttacks(), storeAttacks()) {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := &root{t: t, evidence: e, dir: filepath.Join(t.TempDir(), "archive")}
			if err := os.CopyFS(r.dir, os.DirFS(e.folder)); err != nil {
				t.Fatal(err)
			}
			a.do(r)
			var arguments []string
			if a.arguments != nil {
				arguments = a.arguments(e)
			}
			violations, notices := e.findings(t, r.dir, arguments...)
			for code := range quiet {
				delete(notices, code)
			}
			if diff := cmp.Diff(r.expected(a.want, violations), slices.Sorted(maps.Keys(violations)), sortedEmpty); diff != "" {
				t.Errorf("violations: %s", diff)
			}
			if diff := cmp.Diff(a.notices, slices.Sorted(maps.Keys(notices)), sortedEmpty); diff != "" {
				t.Errorf("notices: %s", diff)
			}
		})
	}
}

var sortedEmpty = cmp.Transformer("sorted", func(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return append([]string{}, s...)
})

// fileAttacks change bytes of one file.
func fileAttacks() []attack {
	edit := func(n int, from, to string) func(*root) {
		return func(r *root) {
			name := r.manifest(r.chat[n].Batch)
			file := r.read(name)
			changed := regexp.MustCompile(`(?m)`+from).ReplaceAll(file, []byte(to))
			if bytes.Equal(file, changed) {
				r.t.Fatalf("nothing in %s matches %s", name, from)
			}
			r.write(name, changed)
		}
	}
	unsigned := []string{"signature-wrong", "sshsig-wrong", "chain-broken", "checkpoint-root", "checkpoint-missing"}
	invalid := []string{"manifest-invalid", "payload-unnamed"}
	return []attack{
		{name: "a byte of a payload", do: func(r *root) { r.flip(r.chat[2].PayloadPath, -20) }, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a count of a manifest", do: edit(2, `^boot (\S+) \d+`, "boot $1 7"), want: unsigned},
		{name: "a manifest with an unknown line", do: edit(2, `^plain`, "note x\nplain"), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a manifest with a line twice", do: edit(2, `^(plain \d+)$`, "$1\n$1"), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a manifest with lines in another order", do: edit(2, `^(opened .*)\n(sealed .*)$`, "$2\n$1"), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a manifest with CRLF", do: edit(2, `\n`, "\r\n"), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a manifest over the limit", do: edit(2, `^boot \S+`, "boot "+strings.Repeat("b", 3500)), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a file over every limit", do: func(r *root) {
			r.write(r.manifest(r.chat[2].Batch), bytes.Repeat([]byte("x"), 1<<20))
		}, want: []string{"payload-unnamed", "unreadable"}, notices: []string{"checkpoint-unchecked"}},
		{name: "a promise to come later, rewritten", do: edit(2, `^next-by \d{4}`, "next-by 2126"), want: unsigned},
		{name: "a promise for a time that is over", do: edit(2, `^next-by \d{4}`, "next-by 1999"), want: invalid, notices: []string{"checkpoint-unchecked"}},
		{name: "a term made shorter", do: func(r *root) {
			edit(2, `^keep-until \S+`, "keep-until "+r.chat[2].Sealed.Add(time.Hour).Format(time.RFC3339Nano))(r)
		}, want: unsigned},
		{name: "a signature line more", do: edit(2, `\n\z`, "\n— someone AAAA\n"), want: unsigned},
		{name: "a byte of an SSH signature", do: func(r *root) { r.flip(r.origin().SignaturePath(r.chat[2].Batch), 200) }, want: []string{"sshsig-wrong"}},
		{name: "a line end more in an SSH signature", do: func(r *root) {
			name := r.origin().SignaturePath(r.chat[2].Batch)
			r.write(name, bytes.Replace(r.read(name), []byte("\n-----END"), []byte("\n\n-----END"), 1))
		}, want: []string{"sshsig-wrong"}},
		{name: "a byte of a checkpoint", do: func(r *root) { r.flip(r.origin().CheckpointPath(r.last+1), -30) }, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
	}
}

// batchAttacks move whole batches.
func batchAttacks() []attack {
	return []attack{
		{name: "a batch dropped", do: func(r *root) { r.remove(r.batch(r.chat[2].Batch)...) }, want: []string{"batch-missing"}, notices: []string{"checkpoint-unchecked"}},
		{name: "a payload dropped", do: func(r *root) { r.remove(r.chat[2].PayloadPath) }, want: []string{"payload-missing"}},
		{name: "two batches swapped", do: func(r *root) {
			a, b := r.batch(r.chat[2].Batch), r.batch(r.chat[3].Batch)
			for i := range a {
				swap(r.t, r.path(a[i]), r.path(b[i]))
			}
		}, want: []string{"batch-misplaced", "payload-unnamed"}, notices: []string{"checkpoint-unchecked"}},
		{name: "a batch repeated at the end", do: func(r *root) {
			r.write(r.manifest(r.last+1), r.read(r.manifest(r.chat[2].Batch)))
			r.write(r.origin().SignaturePath(r.last+1), r.read(r.origin().SignaturePath(r.chat[2].Batch)))
		}, want: []string{"batch-misplaced", "checkpoint-missing"}},
		{name: "a batch renumbered", do: func(r *root) {
			file := r.read(r.manifest(r.chat[2].Batch))
			r.write(r.manifest(r.last+1), bytes.Replace(file, fmt.Appendf(nil, "\nbatch %d\n", r.chat[2].Batch), fmt.Appendf(nil, "\nbatch %d\n", r.last+1), 1))
		}, want: []string{"manifest-invalid", "checkpoint-missing"}},
		{name: "a batch of another epoch", do: func(r *root) {
			for _, suffix := range []string{".manifest", ".manifest.sig"} {
				r.write(fmt.Sprintf("seals/%s/0002/%012d%s", agentID, 0, suffix), r.read(fmt.Sprintf("seals/%s/0001/%012d%s", agentID, 0, suffix)))
			}
		}, want: []string{"batch-misplaced", "checkpoint-missing", "epoch-after-close", "identity-missing"}},
		{name: "an epoch that skips a number", do: func(r *root) {
			r.write("seals/"+agentID+"/0003/identity.vkey", r.read(r.origin().IdentityPath()))
		}, want: []string{"batch-missing", "epoch-after-close", "epoch-missing"}},
		{name: "another agent's archive in this one's place", do: func(r *root) {
			for _, name := range []string{"seals", "records"} {
				if err := os.RemoveAll(r.path(name)); err != nil {
					r.t.Fatal(err)
				}
			}
			other := newSite(r.t, accessInput, directoryOutput)
			appendTo(r.t, other.path("logs/access.log"), accessLines(0, 100))
			other.once()
			if err := os.CopyFS(r.dir, os.DirFS(other.path("archive"))); err != nil {
				r.t.Fatal(err)
			}
		}, want: []string{"identity-wrong", "signature-wrong", "sshsig-wrong", "chain-broken", "checkpoint-invalid", "checkpoint-missing"}},
		{name: "another agent's name", do: func(r *root) {
			if err := os.Rename(r.path("seals/"+agentID), r.path("seals/gpu-08")); err != nil {
				r.t.Fatal(err)
			}
		}, want: []string{"key-unknown", "log-absent", "payload-unnamed"}},
		{name: "everything deleted but a folder", do: func(r *root) {
			if err := errors.Join(os.RemoveAll(r.path("seals")), os.RemoveAll(r.path("records"))); err != nil {
				r.t.Fatal(err)
			}
			r.write("seals/gpu-08/0001/identity.vkey", []byte("x"))
		}, want: []string{"key-unknown", "log-absent"}},
	}
}

// tailAttacks cut the end off.
func tailAttacks() []attack {
	size := func(e *evidence) []string { return []string{"--expect-size", fmt.Sprint(e.last + 1)} }
	until := func(e *evidence) []string {
		return []string{"--until", time.Now().Add(24 * time.Hour).Format(time.RFC3339)}
	}
	earlier := func(r *root) uint64 { // a signed size that does not end in a close
		for _, at := range slices.Backward(r.checkpoints()) {
			if at > 1 && at != r.last+1 && at != r.closed+1 {
				return at
			}
		}
		r.t.Fatalf("no checkpoint before the end: %v", r.checkpoints())
		return 0
	}
	return []attack{
		{name: "the last batch gone, its checkpoint left", do: func(r *root) { r.remove(r.batch(r.last)...) }, want: []string{"checkpoint-ahead", "checkpoint-missing"}},
		{name: "the last batch gone, its checkpoint too", do: func(r *root) { r.cut(r.last) }, want: []string{"checkpoint-missing"}},
		{name: "cut at a checkpoint, size expected", do: func(r *root) { r.cut(earlier(r)) }, arguments: size, want: []string{"expected-size"}},
		{name: "cut at a checkpoint, end expected", do: func(r *root) { r.cut(earlier(r)) }, arguments: until, want: []string{"silent-end"}},
		{name: "cut at a close, size expected", do: func(r *root) { r.cut(r.closed + 1) }, arguments: size, want: []string{"expected-size"}},
		{name: "the last checkpoint gone", do: func(r *root) { r.remove(r.origin().CheckpointPath(r.last + 1)) }, want: []string{"checkpoint-missing"}},
		{name: "the checkpoint of a longer log", do: func(r *root) {
			r.write(r.origin().CheckpointPath(r.last+2), r.read(r.origin().CheckpointPath(r.last+1)))
		}, want: []string{"checkpoint-invalid"}},
		{name: "the checkpoint of an empty log", do: func(r *root) {
			r.write(r.origin().CheckpointPath(0), r.read(r.origin().CheckpointPath(r.last+1)))
		}, want: []string{"unknown-file"}},
		{name: "a cosignature by a key that nobody knows", do: func(r *root) {
			r.write(r.origin().CosignatureFile(r.last+1, "0badcafe"), []byte("— nobody AAAA\n"))
		}, notices: []string{"cosignature-unchecked"}},
	}
}

// keyAttacks are those of a thief who owns the host: the identity key, and the
// one-time key of the next batch.
func keyAttacks() []attack {
	return []attack{
		{name: "the past sealed again with the stolen keys", do: func(r *root) {
			m := *r.chat[2]
			m.Boot = "another"
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), r.last+1)
		}, want: []string{"chain-broken", "checkpoint-root", "ratchet-wrong"}},
		{name: "the tail cut, and another one sealed with the stolen keys", do: func(r *root) {
			at := r.closed
			r.cut(at)
			m := *r.site.manifest(filepath.Join(r.folder, r.manifest(at)))
			m.Ratchet = public(key("a"))
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), at+1)
		}, want: []string{"ratchet-wrong"}},
		{name: "the tail cut, and the log continued in a new epoch", do: func(r *root) {
			r.cut(r.closed)
			r.continued(r.closed)
		}, want: []string{"checkpoint-missing", "epoch-not-closed"}},
		{name: "the tail cut behind a close, and the log continued in a new epoch", do: func(r *root) {
			r.cut(r.closed + 1)
			r.continued(r.closed + 1)
		}, want: []string{"epoch-after-close"}},
		{name: "the log goes on in the same epoch with the stolen keys", do: func(r *root) {
			// The future is the thief's: nothing is wrong with it, and nothing of the past was changed.
			before := r.site.manifest(filepath.Join(r.folder, r.manifest(r.last)))
			m := *before
			m.Batch, m.Kind, m.Ratchet = r.last+1, seal.Close, public(key("a"))
			m.Previous = seal.DigestOf(r.read(r.manifest(r.last)))
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), r.last+2)
		}},
		{name: "signed by another key", do: func(r *root) {
			m := *r.chat[2]
			file, err := seal.SignManifest(&m, key("x"), key("y"))
			if err != nil {
				r.t.Fatal(err)
			}
			r.write(r.manifest(m.Batch), file)
		}, want: []string{"chain-broken", "checkpoint-missing", "checkpoint-root", "signature-wrong", "sshsig-wrong"}},
		{name: "another identity key", do: func(r *root) {
			r.write(r.origin().IdentityPath(), seal.IdentityFile(r.origin().Log, public(key("x"))))
		}, want: []string{"identity-wrong"}},
	}
}

// continued opens epoch 2 as an agent would whose state was set back, and closes it.
func (r *root) continued(size uint64) {
	var tree seal.Tree
	for n := range size {
		tree.Add(seal.LeafHash(r.read(r.manifest(n))))
	}
	m := *r.site.manifest(filepath.Join(r.folder, r.manifest(0)))
	previous := m.Origin
	m.Origin.Epoch = 2
	m.Reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: previous, Size: size, Root: tree.Root()}.String()
	m.Previous = seal.IdentityDigest(m.Origin.Log, public(r.identity(r.t)))
	m.Ratchet = public(key("a"))
	r.write(m.Origin.IdentityPath(), r.read(previous.IdentityPath()))
	r.forge(&m, nil)
	end := m
	end.Batch, end.Kind, end.Reason, end.NextBy, end.Ratchet = 1, seal.Close, "", time.Time{}, public(key("b"))
	end.Previous = seal.DigestOf(r.read(m.Origin.ManifestPath(0)))
	r.forge(&end, key("a"))
	r.sign(m.Origin, 2)
}

// payloadAttacks change what is in a payload, or how it is packed.
func payloadAttacks() []attack {
	repack := func(change func([][]byte) [][]byte) func(*root) {
		return func(r *root) {
			m := r.chat[2]
			r.write(m.PayloadPath, compress(r.t, bytes.Join(append(change(r.lines(m)), []byte("\n")), nil)))
		}
	}
	return []attack{
		{name: "a record dropped", do: repack(func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) }), want: []string{"payload-digest", "payload-size"}},
		{name: "a record inserted", do: repack(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[3]) }), want: []string{"payload-digest", "payload-size"}},
		{name: "two records swapped", do: repack(func(l [][]byte) [][]byte {
			l[3], l[4] = l[4], l[3]
			return l
		}), want: []string{"payload-digest", "payload-root"}},
		{name: "a record rewritten to the same length", do: repack(func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[3], []byte(`"status":200`), []byte(`"status":403`), 1)
			return l
		}), want: []string{"payload-digest", "payload-root"}},
		{name: "line ends of another system", do: repack(func(l [][]byte) [][]byte {
			for i := range l {
				l[i] = bytes.Replace(l[i], []byte("\n"), []byte("\r\n"), 1)
			}
			return l
		}), want: []string{"payload-digest", "payload-size"}},
		{name: "the same records packed anew", do: repack(func(l [][]byte) [][]byte { return l }), want: []string{"payload-digest"}},
		{name: "a frame more", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), compress(r.t, []byte("{}\n"))...))
		}, want: []string{"payload-digest", "payload-size"}},
		{name: "something smuggled in a skippable frame", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'e', 'v', 'i', 'l'))
		}, want: []string{"payload-digest"}},
		{name: "bytes behind the last frame", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), "trailer"...))
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a truncated payload", do: func(r *root) {
			name := r.chat[2].PayloadPath
			data := r.read(name)
			r.write(name, data[:len(data)/2])
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "an empty payload", do: func(r *root) { r.write(r.chat[2].PayloadPath, nil) }, want: []string{"payload-digest", "payload-size"}},
	}
}

// storeAttacks are those of whoever holds the folder.
func storeAttacks() []attack {
	link := func(r *root, target, name string) {
		if err := errors.Join(os.RemoveAll(r.path(name)), os.Symlink(target, r.path(name))); err != nil {
			r.t.Fatal(err)
		}
	}
	return []attack{
		{name: "extra files", do: func(r *root) {
			r.write("seals/"+agentID+"/0001/notes.txt", []byte("x"))
			r.write("records/readme", []byte("x"))
			r.write("else", []byte("x"))
			r.write(r.manifest(r.last+9)+".ABCDEFGHIJ.tmp", []byte("x"))
		}, want: []string{"unknown-file"}, notices: []string{"outside-file", "temporary-file"}},
		{name: "a payload in another partition", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, "svc=chat", "svc=tools", 1), r.read(name))
			r.remove(name)
		}, want: []string{"payload-missing", "payload-unnamed"}},
		{name: "a payload in two partitions", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, "env=test", "env=prod", 1), r.read(name))
		}, want: []string{"payload-unnamed"}},
		{name: "a payload that no manifest names", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, fmt.Sprintf("%012d", r.chat[2].Batch), fmt.Sprintf("%012d", r.last+5), 1), r.read(name))
		}, want: []string{"payload-unnamed"}},
		{name: "names in another case", do: func(r *root) {
			r.write("seals/GPU-07/0001/identity.vkey", []byte("x"))
			r.write("seals/gpu-07\u200b/0001/identity.vkey", []byte("x"))
			r.write("seals/"+agentID+"/0001/000000000001.Manifest", []byte("x"))
		}, want: []string{"unknown-file"}},
		{name: "a link in place of a payload", do: func(r *root) {
			link(r, filepath.Join(r.folder, r.chat[2].PayloadPath), r.chat[2].PayloadPath)
		}, want: []string{"not-regular", "unreadable"}},
		{name: "a link in place of a folder", do: func(r *root) {
			if err := os.Rename(r.path("records/env=test"), r.path("elsewhere")); err != nil {
				r.t.Fatal(err)
			}
			link(r, "../elsewhere", "records/env=test")
		}, want: []string{"not-regular"}, notices: []string{"outside-file"}},
		{name: "a pipe in place of a manifest", do: func(r *root) {
			name := r.manifest(r.chat[2].Batch)
			r.remove(name)
			if err := syscall.Mkfifo(r.path(name), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, want: []string{"batch-missing", "not-regular", "payload-unnamed", "sshsig-stray"}, notices: []string{"checkpoint-unchecked"}},
		{name: "folders without end", do: func(r *root) {
			r.write("records/"+strings.Repeat("a/", 200)+"x", []byte("x"))
		}, want: []string{"not-regular"}},
	}
}

// bombs: 10 GB behind a manifest, signed and not signed, cost neither memory nor
// time.
func bombs(t *testing.T, e *evidence) {
	bomb := bombFile(t, 10<<30)
	for _, claim := range []bool{false, true} {
		t.Run(fmt.Sprintf("claimed %t", claim), func(t *testing.T) {
			r := &root{t: t, evidence: e, dir: filepath.Join(t.TempDir(), "archive")}
			if err := os.CopyFS(r.dir, os.DirFS(e.folder)); err != nil {
				t.Fatal(err)
			}
			m := r.chat[2]
			r.write(m.PayloadPath, bomb)
			want := []string{"payload-digest", "payload-size"}
			if claim { // that it is as large as it is, in a manifest that nobody signed
				file := regexp.MustCompile(`(?m)^plain \d+$`).ReplaceAll(r.read(r.manifest(m.Batch)), fmt.Appendf(nil, "plain %d", 10<<30))
				r.write(r.manifest(m.Batch), file)
				want = []string{"chain-broken", "checkpoint-missing", "checkpoint-root", "payload-digest", "signature-wrong", "sshsig-wrong"}
			}
			command := e.site.command("auditail-verify", "archive", r.dir, "--trust", e.trust, "--json")
			out, peak, err := measured(t, command)
			if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, code := range want {
				if !bytes.Contains(out, fmt.Appendf(nil, `"violation","code":%q`, code)) {
					t.Errorf("no %s in\n%s", code, out)
				}
			}
			t.Logf("%d KiB, %s of CPU time", peak, command.ProcessState.UserTime()+command.ProcessState.SystemTime())
			if peak > 100<<10 {
				t.Errorf("took %d KiB", peak)
			}
		})
	}
}

// bombFile is a zstd file of zeros.
func bombFile(t *testing.T, size int) []byte {
	t.Helper()
	const part = 64 << 20
	one := compress(t, make([]byte, part))
	return bytes.Repeat(one, size/part)
}

// TestSetBack: the state directory of an agent is set back to an earlier day, and
// the agent starts from it. Whatever it does, no archive verifies without a word.
func TestSetBack(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 1000))
	s.once()
	saved := s.path("saved")
	if err := os.CopyFS(saved, os.DirFS(s.path("data"))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, accessLines(1000, 1000))
	s.once()
	size := s.read(s.path("archive")).batches
	if err := errors.Join(os.RemoveAll(s.path("data")), os.Rename(saved, s.path("data")), restrict(s.path("data"))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, accessLines(2000, 1000))
	s.try("auditail", "run", "--once", "--timeout", "20s", "--config", s.path("auditail.toml")) // says no, or opens an epoch
	out, code := s.try("auditail-verify", "archive", s.path("archive"), "--trust", s.trust(), "--expect-size", fmt.Sprintf("%s/0001=%d", logName, size))
	epochs, err := os.ReadDir(s.path("archive/seals/" + agentID))
	if err != nil {
		t.Fatal(err)
	}
	if (code == 1) != (len(epochs) > 1) || code > 1 {
		t.Errorf("exit %d with %d epochs:\n%s", code, len(epochs), out)
	}
}

// restrict gives files the modes that the agent wants to see.
func restrict(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}
