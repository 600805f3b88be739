package endtoend

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditail/auditail/seal"
)

// second is a verifier that somebody else wrote, to be tried on all attacks.
var second = flag.String("attacks.second", "", "a program that is called with ARCHIVE TRUST and the options of auditail-verify, and prints \"<level> <code> <path>\"")

// agreeOn holds it to the codes of the violations that auditail-verify finds.
func agreeOn(t *testing.T, r *root, program string, violations map[string]int, arguments []string) {
	t.Helper()
	if slices.Contains(arguments, "--accept") {
		return
	}
	trust := r.trust
	if at := slices.Index(arguments, "--trust"); at >= 0 {
		trust = arguments[at+1]
		arguments = slices.Delete(slices.Clone(arguments), at, at+2)
	}
	command := exec.CommandContext(t.Context(), program, append([]string{r.dir, trust}, arguments...)...)
	command.Stderr = os.Stderr
	out, _ := command.Output() // it fails where it finds something
	found := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); words[0] == "violation" {
			found[words[1]] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(violations)), slices.Sorted(maps.Keys(found)), sortedEmpty); diff != "" {
		t.Errorf("%s: %s", program, diff)
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
	violations, quiet := e.findings(t, e.folder, "--expect-size", fmt.Sprint(e.last+1), "--policy", e.policy)
	if len(violations) > 0 {
		t.Fatalf("the archive is not sound to begin with: %v", violations)
	}
	t.Run("truthful manifests", func(t *testing.T) { truthful(t, e) })
	t.Run("other verifiers", func(t *testing.T) { agree(t, e, e.folder) })
	t.Run("a zip bomb", func(t *testing.T) { bombs(t, e) })
	rows := [][]attack{
		fileAttacks(), formAttacks(), signatureAttacks(), batchAttacks(), replayAttacks(), tailAttacks(), witnessAttacks(),
		keyAttacks(), rotationAttacks(), payloadAttacks(), storeAttacks(),
	}
	for _, a := range slices.Concat(rows...) {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			a.run(t, e, quiet)
		})
	}
}

// run makes the attack on a copy of an archive that has those notices by itself.
func (a *attack) run(t *testing.T, e *evidence, quiet map[string]int, arguments ...string) {
	t.Helper()
	r := e.copy(t)
	a.do(r)
	if a.arguments != nil {
		arguments = append(arguments, a.arguments(e)...)
	}
	violations, notices := e.findings(t, r.dir, arguments...)
	if *second != "" {
		agreeOn(t, r, *second, violations, arguments)
	}
	for code := range quiet {
		delete(notices, code)
	}
	if !slices.Contains(arguments, "--policy") {
		delete(notices, "cosignature-unchecked")
	}
	if diff := cmp.Diff(a.want, slices.Sorted(maps.Keys(violations)), sortedEmpty); diff != "" {
		t.Errorf("violations: %s", diff)
	}
	if diff := cmp.Diff(a.notices, slices.Sorted(maps.Keys(notices)), sortedEmpty); diff != "" {
		t.Errorf("notices: %s", diff)
	}
}

var sortedEmpty = cmp.Transformer("sorted", func(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return append([]string{}, s...)
})

// edit changes a manifest of the chat stream by a regular expression.
func edit(n int, from, to string) func(*root) {
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

// What is found of a manifest whose text was changed, and of one that is none any more:
// behind it nobody knows the tree, so that checkpoints can not be compared.
var (
	unsigned  = []string{"signature-wrong", "sshsig-wrong", "chain-broken", "checkpoint-root", "checkpoint-missing", "witnessed-wrong"}
	invalid   = []string{"manifest-invalid", "payload-unnamed"}
	unchecked = []string{"checkpoint-unchecked"}
)

// fileAttacks change bytes of one file.
func fileAttacks() []attack {
	return []attack{
		{name: "a byte of a payload", do: func(r *root) { r.flip(r.chat[2].PayloadPath, -20) }, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a count of a manifest", do: edit(2, `^boot (\S+) \d+`, "boot $1 7"), want: unsigned},
		{name: "a promise to come later, rewritten", do: func(r *root) {
			edit(2, `^next-by \S+`, "next-by "+r.chat[2].NextBy.Add(time.Hour).Format(time.RFC3339Nano))(r)
		}, want: unsigned},
		{name: "a term made shorter", do: func(r *root) {
			edit(2, `^keep-until \S+`, "keep-until "+r.chat[2].Sealed.Add(time.Hour).Format(time.RFC3339Nano))(r)
		}, want: unsigned},
		{name: "a record count made smaller", do: edit(2, `^(records \d+) \d+`, "$1 100000"), want: append([]string{"records-broken"}, unsigned...)},
		{name: "the program that made it, rewritten", do: edit(2, `^agent (\S+) sha256:[0-9a-f]{8}`, "agent $1 sha256:00000000"), want: unsigned},
		{name: "a byte of an SSH signature", do: func(r *root) { r.flip(r.origin().SignaturePath(r.chat[2].Batch), 200) }, want: []string{"sshsig-wrong"}},
		{name: "a line end more in an SSH signature", do: func(r *root) {
			name := r.origin().SignaturePath(r.chat[2].Batch)
			r.write(name, bytes.Replace(r.read(name), []byte("\n-----END"), []byte("\n\n-----END"), 1))
		}, want: []string{"sshsig-wrong"}},
		{name: "two SSH signatures swapped", do: func(r *root) {
			swap(r.t, r.path(r.origin().SignaturePath(r.chat[2].Batch)), r.path(r.origin().SignaturePath(r.chat[3].Batch)))
		}, want: []string{"sshsig-wrong"}},
		{name: "an SSH signature gone", do: func(r *root) { r.remove(r.origin().SignaturePath(r.chat[2].Batch)) }, want: []string{"sshsig-missing"}},
		{name: "a byte of a checkpoint", do: func(r *root) { r.flip(r.origin().CheckpointPath(r.last+1), -30) }, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
		{name: "an older checkpoint in the place of the newest", do: func(r *root) {
			r.write(r.origin().CheckpointPath(r.last+1), r.read(r.origin().CheckpointPath(r.earlier())))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
		{name: "a line more in a checkpoint", do: func(r *root) {
			name := r.origin().CheckpointPath(r.last + 1)
			r.write(name, bytes.Replace(r.read(name), []byte("\n\n"), []byte("\nextension\n\n"), 1))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
		{name: "the identity gone", do: func(r *root) { r.remove(r.origin().IdentityPath()) }, want: []string{"identity-missing"}},
		{name: "the identity with another line end", do: func(r *root) {
			name := r.origin().IdentityPath()
			r.write(name, bytes.Replace(r.read(name), []byte("\n"), []byte("\r\n"), 1))
		}, want: []string{"identity-wrong"}},
	}
}

// formAttacks bring a manifest out of its one form.
func formAttacks() []attack {
	var list []attack
	add := func(name, from, to string) {
		list = append(list, attack{name: name, do: edit(2, from, to), want: invalid, notices: unchecked})
	}
	add("a manifest with an unknown line", `^plain`, "note x\nplain")
	add("a manifest with a line twice", `^(plain \d+)$`, "$1\n$1")
	add("a manifest with lines in another order", `^(opened .*)\n(sealed .*)$`, "$2\n$1")
	add("a manifest without a line", `^config .*\n`, "")
	add("a manifest with CRLF", `\n`, "\r\n")
	add("a manifest over the limit", `^boot \S+`, "boot "+strings.Repeat("b", 3500))
	add("a manifest with two spaces", `^plain `, "plain  ")
	add("a manifest with a space at the end of a line", `^(plain \d+)$`, "$1 ")
	add("a manifest with a byte order mark", `\Aauditail`, "\ufeffauditail")
	add("a manifest with a blank line", `^plain`, "\nplain")
	add("a manifest of a later version", `@v1$`, "@v2")
	add("a number with a zero in front", `^batch `, "batch 0")
	add("a number with a sign", `^plain `, "plain +")
	add("a number beyond all limits", `^plain \d+`, "plain 9223372036854775808")
	add("a time in another zone", `^(sealed .*)Z$`, "$1+00:00")
	add("a time with zeros behind", `^(sealed .*T\d\d:\d\d:\d\d).*$`, "$1.500Z")
	add("a promise for a time that is over", `^next-by \d{4}`, "next-by 1999")
	add("a promise for a time that nobody waits for", `^next-by \d{4}`, "next-by 2126")
	add("a term that is over before it began", `^keep-until \d{4}`, "keep-until 1999")
	add("hex in capitals", `^([0-9a-f]+)(  seals/)`, "ABCDEF$2")
	add("a root in another base64", `^root (\S+)=$`, "root $1")
	add("a payload outside the archive", `^([0-9a-f]{64}  )records/`, "$1../records/")
	add("a payload of another batch", `-\d{12}\.ndjson`, "-000000000001.ndjson")
	add("a kind that there is not", `^kind data`, "kind datum")
	add("an epoch that opens in its middle", `^kind data`, "kind open first")
	add("a stream of two words", `^stream (\S+) (\S+) \S+`, "stream $1 $2")
	return append(list,
		attack{name: "an empty manifest", do: func(r *root) { r.write(r.manifest(r.chat[2].Batch), nil) }, want: invalid, notices: unchecked},
		attack{name: "a file over every limit", do: func(r *root) {
			r.write(r.manifest(r.chat[2].Batch), bytes.Repeat([]byte("x"), 1<<20))
		}, want: []string{"payload-unnamed", "unreadable"}, notices: unchecked},
	)
}

// signatureAttacks change the signature lines of a manifest.
func signatureAttacks() []attack {
	// The file is another one, but the text and its signatures are those that were sealed.
	rewritten := []string{"manifest-invalid", "sshsig-wrong", "chain-broken", "checkpoint-root", "checkpoint-missing", "witnessed-wrong"}
	return []attack{
		{name: "a signature line that is none", do: edit(2, `\n\z`, "\n— someone AAAA\n"), want: unsigned},
		{name: "a signature line of somebody else", do: func(r *root) {
			edit(2, `\n\z`, "\n"+foreignSignature(r, r.read(r.manifest(r.chat[2].Batch)))+"\n")(r)
		}, want: rewritten},
		{name: "no ratchet signature", do: edit(2, `^— \S+/ratchet .*\n`, ""), want: append([]string{"ratchet-wrong"}, rewritten[1:]...)},
		{name: "no identity signature", do: edit(2, `^— \S+/0001 .*\n`, ""), want: unsigned},
		{name: "the ratchet signature of another batch", do: func(r *root) {
			other := regexp.MustCompile(`(?m)^— \S+/ratchet .*$`).Find(r.read(r.manifest(r.chat[3].Batch)))
			edit(2, `^— \S+/ratchet .*$`, string(other))(r)
		}, want: append([]string{"ratchet-wrong"}, rewritten[1:]...)},
		{name: "signature lines in another order", do: edit(2, `^(— \S+/0001 .*)\n(— \S+/ratchet .*)$`, "$2\n$1"), want: rewritten},
		{name: "a signature line twice", do: edit(2, `^(— \S+/ratchet .*)$`, "$1\n$1"), want: rewritten},
	}
}

// foreignSignature is a well-formed signature line over the text of a manifest.
func foreignSignature(r *root, file []byte) string {
	r.t.Helper()
	text, err := seal.SplitNote(file)
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := seal.NewSigner("somebody.example.com", key("s"))
	if err != nil {
		r.t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSuffix(string(signed[len(text)+1:]), "\n")
}

// batchAttacks move whole batches.
func batchAttacks() []attack {
	return []attack{
		{name: "a batch dropped", do: func(r *root) { r.remove(r.batch(r.chat[2].Batch)...) }, want: []string{"batch-missing"}, notices: unchecked},
		{name: "a payload dropped", do: func(r *root) { r.remove(r.chat[2].PayloadPath) }, want: []string{"payload-missing"}},
		{name: "two batches swapped", do: func(r *root) {
			a, b := r.batch(r.chat[2].Batch), r.batch(r.chat[3].Batch)
			for i := range a {
				swap(r.t, r.path(a[i]), r.path(b[i]))
			}
		}, want: []string{"batch-misplaced", "payload-unnamed"}, notices: unchecked},
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
		}, want: []string{"batch-missing", "epoch-after-close", "epoch-missing", "identity-retired"}},
		{name: "a manifest dropped, its payload left", do: func(r *root) { r.remove(r.manifest(r.chat[2].Batch)) }, want: []string{"batch-missing", "payload-unnamed", "sshsig-stray"}, notices: unchecked},
		{name: "a batch hidden under a name for interrupted writes", do: func(r *root) {
			for _, name := range r.batch(r.chat[2].Batch) {
				r.rename(name, name+".tmp")
			}
		}, want: []string{"batch-missing"}, notices: []string{"checkpoint-unchecked", "temporary-file"}},
		{name: "three batches dropped, and those behind renumbered", do: func(r *root) {
			at := r.chat[2].Batch
			for n := at; n < at+3; n++ {
				r.remove(r.batch(n)...)
			}
			for n := at + 3; n <= r.last; n++ {
				r.rename(r.manifest(n), r.manifest(n-3))
				r.rename(r.origin().SignaturePath(n), r.origin().SignaturePath(n-3))
			}
		}, want: []string{"batch-misplaced", "checkpoint-invalid", "checkpoint-missing", "payload-unnamed"}, notices: unchecked},
		{name: "the first batch dropped", do: func(r *root) { r.remove(r.batch(0)...) }, want: []string{"batch-missing"}, notices: unchecked},
		{name: "the opening put in once more", do: func(r *root) {
			r.write(r.manifest(r.last+1), r.read(r.manifest(0)))
			r.write(r.origin().SignaturePath(r.last+1), r.read(r.origin().SignaturePath(0)))
		}, want: []string{"batch-misplaced", "checkpoint-missing"}},
		{name: "the payloads of two batches with as many records swapped", do: func(r *root) {
			swap(r.t, r.path(r.chat[2].PayloadPath), r.path(r.chat[3].PayloadPath))
		}, want: []string{"payload-digest", "payload-size"}},
		{name: "everything deleted but a folder", do: func(r *root) {
			if err := errors.Join(os.RemoveAll(r.path("seals")), os.RemoveAll(r.path("records"))); err != nil {
				r.t.Fatal(err)
			}
			r.write("seals/gpu-08/0001/identity.vkey", []byte("x"))
		}, want: []string{"key-unknown", "log-absent"}},
	}
}
