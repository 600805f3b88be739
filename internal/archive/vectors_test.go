package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

var update = flag.Bool("update", false, "write the test vectors of the format anew")

// vectorDir holds the published test vectors: archives, and in vectors.json what
// a verifier has to find in each. Its README tells strangers how to use them.
const vectorDir = "../../seal/testdata/vectors"

// vector is one of them.
type vector struct {
	Name       string    `json:"name"` // of the archive, a tar file
	Trust      []string  `json:"trust"`
	Policy     []string  `json:"policy,omitempty"` // lines of a witness policy
	About      []string  `json:"about,omitempty"`  // what lies in it, where the name does not say it
	From       uint64    `json:"from,omitempty"`
	ExpectSize uint64    `json:"expect_size,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	Findings   []string  `json:"findings"` // "level code path"
	// StockTools are the violations that verify.sh finds, which is given nothing
	// but the archive and the trusted keys.
	StockTools []string `json:"stock_tools"`
	// JSONAlone tells that all that is wrong stands in the JSON of records, which
	// verify.sh does not read: it is not run.
	JSONAlone bool `json:"json_alone,omitempty"`
}

// TestVectors: this verifier, and one that is made of stock tools alone, find in
// each published archive what is published beside it.
func TestVectors(t *testing.T) {
	vectors := readList(t)
	if *update {
		writeVectors(t)
		fillVectors(t, readList(t), vectors)
		return
	}
	for i := range vectors {
		v := &vectors[i]
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			files := readTar(t, v.Name)
			found, _ := verify(t, files, v.options(t))
			if diff := cmp.Diff(v.Findings, found, equalEmpty); diff != "" {
				t.Error(diff)
			}
			dir := v.unpack(t, files)
			slices.Sort(found)
			if diff := cmp.Diff(found, v.second(t, dir), equalEmpty); diff != "" {
				t.Errorf("verify.py: %s", diff)
			}
			if v.JSONAlone {
				return
			}
			stock := v.stockTools(t, dir)
			if diff := cmp.Diff(v.StockTools, stock, equalEmpty); diff != "" {
				t.Errorf("verify.sh: %s", diff)
			}
			violated := slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, "violation ") })
			if !v.blind() && violated != (len(stock) > 0) {
				t.Errorf("the verifiers disagree: %q, verify.sh %q", found, stock)
			}
		})
	}
}

func readList(t *testing.T) (vectors []vector) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, "vectors.json"))
	if err == nil {
		err = json.Unmarshal(data, &vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// fillVectors writes down what is found in each, to be looked at. verify.sh takes
// its time: it runs over those archives alone in which something else was found before.
func fillVectors(t *testing.T, vectors, before []vector) {
	t.Helper()
	for i := range vectors {
		v := &vectors[i]
		files := readTar(t, v.Name)
		v.Findings, _ = verify(t, files, v.options(t))
		if v.JSONAlone {
			continue
		}
		same := slices.IndexFunc(before, func(old vector) bool {
			return old.Name[2:] == v.Name[2:] && slices.Equal(old.Findings, v.Findings)
		})
		if same >= 0 {
			v.StockTools = before[same].StockTools
			continue
		}
		v.StockTools = v.stockTools(t, v.unpack(t, files))
	}
	writeList(t, vectors)
}

func writeList(t *testing.T, vectors []vector) {
	t.Helper()
	out, err := json.MarshalIndent(vectors, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(vectorDir, "vectors.json"), append(out, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// blind tells whether all that is wrong is what verify.sh is not told or can not
// read: the auditor's expectations and witnesses, retention terms, and JSON.
func (v *vector) blind() bool {
	if v.From > 0 || !v.Until.IsZero() {
		return true
	}
	unseen := []string{
		"quorum-missing", "expected-size", "coverage-hole", "coverage-overlap", "coverage-invalid", "coverage-lines", "coverage-missing",
		"unparsed-lines", "record-form", "record-order", "payload-line", "witnessed-wrong", "lines-broken",
	}
	for _, f := range v.Findings {
		words := strings.Fields(f)
		if words[0] == "violation" && !slices.Contains(unseen, words[1]) {
			return false
		}
	}
	return len(v.Findings) > 0
}

var equalEmpty = cmp.Transformer("empty", func(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
})

func (v *vector) options(t *testing.T) archive.Options {
	t.Helper()
	trusted, policy, err := archive.ParseTrust(strings.NewReader(strings.Join(append(slices.Clone(v.Trust), v.Policy...), "\n")))
	if err != nil {
		t.Fatal(err)
	}
	o := archive.Options{Trust: trusted, Policy: policy, Until: v.Until}
	if v.From > 0 {
		o.From = []archive.Bound{{N: v.From}}
	}
	if v.ExpectSize > 0 {
		o.ExpectSize = []archive.Bound{{N: v.ExpectSize}}
	}
	return o
}

// unpack writes the files below archive of a folder, and the trust file beside.
func (v *vector) unpack(t *testing.T, files map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for path, content := range files {
		name := filepath.Join(dir, "archive", filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "trust"), []byte(strings.Join(append(slices.Clone(v.Trust), v.Policy...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stockTools runs verify.sh over an unpacked archive.
func (v *vector) stockTools(t *testing.T, dir string) []string {
	t.Helper()
	return script(t, "verify.sh", filepath.Join(dir, "archive"), filepath.Join(dir, "trust"))
}

// second runs verify.py over an unpacked archive, with all that the auditor knows.
func (v *vector) second(t *testing.T, dir string) []string {
	t.Helper()
	arguments := []string{filepath.Join(dir, "archive"), filepath.Join(dir, "trust"), "--from", fmt.Sprint(v.From), "--expect-size", fmt.Sprint(v.ExpectSize)}
	if !v.Until.IsZero() {
		arguments = append(arguments, "--until", v.Until.Format(time.RFC3339Nano))
	}
	return script(t, "verify.py", arguments...)
}

// script runs one of the published verifiers and returns its lines, sorted.
func script(t *testing.T, name string, arguments ...string) []string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "../../seal/testdata/"+name, arguments...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	found := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(out) == 0 {
		found = nil
	}
	violated := slices.ContainsFunc(found, func(line string) bool { return strings.HasPrefix(line, "violation ") })
	if failed := err != nil; failed != violated {
		t.Errorf("%s: %v with %q", name, err, found)
	}
	slices.Sort(found)
	return found
}

func readTar(t *testing.T, name string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, name+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func writeTar(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: path, Mode: 0o644, Size: int64(len(files[path])), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[path]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(filepath.Join(vectorDir, name+".tar"), b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// writeVectors makes the archives anew, from the tests of this package. What they
// are found to be is filled in by TestVectors.
func writeVectors(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	add := func(name string, files map[string][]byte, e *sealtest.Epoch, trusted ed25519.PublicKey, change func(*vector)) {
		v := vector{Name: fmt.Sprintf("%02d-%s", len(vectors), name), Trust: []string{seal.VKey(e.Origin.Log.String(), trusted)}}
		if change != nil {
			change(&v)
		}
		if files == nil {
			files = e.Files // that change has built
		}
		writeTar(t, v.Name, files)
		vectors = append(vectors, v)
	}
	sound := build(t, sealtest.Config{})
	add("sound", sound.Files, sound, sound.PublicKey(), nil)
	for _, c := range goodLogs() {
		e := sealtest.New(t, sealtest.Config{})
		trusted := e.PublicKey()
		var policy []string
		c.build(t, e, &policy)
		add(c.name, e.Files, e, trusted, func(v *vector) { v.Policy = policy })
	}
	for _, test := range tamperings() {
		e := build(t, sealtest.Config{})
		files := maps.Clone(e.Files)
		test.change(t, files, e)
		if slices.ContainsFunc(slices.Collect(maps.Values(files)), func(content []byte) bool { return content == nil }) || len(test.want) > 100 {
			continue // a tar file of a link, and a thousand findings, help nobody
		}
		o := archive.Options{}
		if test.options != nil {
			test.options(&o, e)
		}
		if o.Trust != nil {
			continue // about the trust file, not the archive
		}
		add(strings.NewReplacer(",", "", "'", "", " ", "-").Replace(strings.ToLower(test.name)), files, e, e.PublicKey(), func(v *vector) {
			v.Until = o.Until
			if len(o.From) > 0 {
				v.From = o.From[0].N
			}
			if len(o.ExpectSize) > 0 {
				v.ExpectSize = o.ExpectSize[0].N
			}
		})
	}
	for _, c := range ruleLogs() {
		e := sealtest.New(t, sealtest.Config{})
		trusted := e.PublicKey()
		add(c.name, nil, e, trusted, func(v *vector) { c.build(t, e, v) })
	}
	writeList(t, vectors)
}

// goodLogs are logs that verify, beside the one that build makes, and near
// relatives of them that do not.
func goodLogs() []struct {
	name  string
	build func(t *testing.T, e *sealtest.Epoch, policy *[]string)
} {
	next := sealtest.Key("next")
	follow := func(e *sealtest.Epoch, cause string) *sealtest.Epoch {
		size, root := e.Head()
		n := e.NextEpoch(seal.Succession{Cause: cause, Previous: e.Origin, Size: size, Root: root}.String())
		n.Open()
		n.Data(sealtest.Chat(), n.Records(2))
		n.Close()
		n.Checkpoint()
		return n
	}
	cosigned := func(t *testing.T, e *sealtest.Epoch, policy *[]string, all bool) {
		key := sealtest.Key("witness")
		witness := seal.WitnessKey{Name: "witness.example.com", Public: key.Public().(ed25519.PublicKey)}
		*policy = []string{"witness w " + witness.String(), "quorum w"}
		e.Open()
		e.Data(sealtest.Chat(), e.Records(2))
		c := e.Checkpoint()
		if all {
			e.Close()
			c = e.Checkpoint()
		}
		line, err := seal.Cosign(&c, witness.Name, key, e.Now)
		if err != nil {
			t.Fatal(err)
		}
		e.Files[e.Origin.CosignaturePath(c.Size, witness)] = line
		if !all {
			e.Close()
			e.Checkpoint()
		}
	}
	type log = struct {
		name  string
		build func(t *testing.T, e *sealtest.Epoch, policy *[]string)
	}
	return []log{
		{"rotation", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Data(sealtest.Chat(), e.Records(2))
			e.Rotate(next)
			e.Data(sealtest.Chat(), e.Records(2))
			e.Close()
			e.Checkpoint()
		}},
		{"rotation-and-the-old-key-goes-on", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			old := e.Identity
			e.Open()
			e.Rotate(next)
			e.Data(sealtest.Chat(), e.Records(2), sealtest.SignedBy(old))
			e.Close()
			e.Checkpoint()
		}},
		{"second-epoch-behind-close", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Close()
			e.Checkpoint()
			follow(e, seal.SuccessionRollback)
		}},
		{"second-epoch-without-close", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Data(sealtest.Chat(), e.Records(2))
			e.Checkpoint()
			follow(e, seal.SuccessionFork)
		}},
		{"one-time-key-wrong", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Data(sealtest.Chat(), e.Records(2), sealtest.RatchetedBy(next))
			e.Close()
			e.Checkpoint()
		}},
		{"cosigned", func(t *testing.T, e *sealtest.Epoch, policy *[]string) { cosigned(t, e, policy, true) }},
		{"cosigned-but-for-the-tail", func(t *testing.T, e *sealtest.Epoch, policy *[]string) { cosigned(t, e, policy, false) }},
		{"coverage-hole", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 0, 100, 1))
			e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 150, 200, 1))
			e.Close()
			e.Checkpoint()
		}},
		{"lines-that-end-in-crlf", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			records := e.Records(2)
			for i := range records {
				records[i] = append(records[i], '\r')
			}
			e.Data(sealtest.Chat(), records)
			e.Close()
			e.Checkpoint()
		}},
		{"silence-and-a-clock-set-back", func(_ *testing.T, e *sealtest.Epoch, _ *[]string) {
			e.Open()
			e.Now = e.Now.Add(time.Hour)
			e.Heartbeat()
			e.Now = e.Now.Add(-time.Hour)
			e.Close()
			e.Checkpoint()
		}},
	}
}
