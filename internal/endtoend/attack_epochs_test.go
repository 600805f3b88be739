package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/auditail/auditail/seal"
)

// epochs is an archive of three epochs: twice the state of the agent was set back to
// an older copy. What the verifier finds in it is accepted by its auditor.
func makeEpochs(t *testing.T) (e *evidence, accept string) {
	t.Helper()
	s := newSite(t, accessInput, directoryOutput)
	e = &evidence{site: s, folder: s.path("archive")}
	log := s.path("logs/access.log")
	for i := range 2 {
		appendTo(t, log, accessLines(300*i, 100))
		s.once()
		copyTree(t, s.path("data"), s.path("copy"))
		appendTo(t, log, accessLines(300*i+100, 100))
		s.once()
		copyTree(t, s.path("copy"), s.path("data"))
		appendTo(t, log, accessLines(300*i+200, 100))
		s.once()
	}
	e.trust = s.trust()
	e.keys = [2]string{s.path("data/keys/identity.pem"), s.path("data/keys/identity.pem")}
	out, _ := s.try("auditail-verify", "archive", e.folder, "--trust", e.trust, "--json")
	var lines []string
	for line := range strings.Lines(out) {
		var f struct{ Level, Code, Path string }
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if f.Level == "violation" {
			lines = append(lines, f.Code+" "+f.Path)
		}
	}
	if opened, err := os.ReadDir(filepath.Join(e.folder, "seals", agentID)); err != nil || len(opened) != 3 || len(lines) < 2 {
		t.Fatalf("%d epochs, %v; found\n%s", len(opened), err, out)
	}
	s.write("accept", strings.Join(lines, "\n")+"\n")
	return e, s.path("accept")
}

// folder is where an epoch's seals lie.
func epochFolder(n int) string { return fmt.Sprintf("seals/%s/%04d", agentID, n) }

// dropEpoch removes an epoch with its payloads.
func (r *root) dropEpoch(n int) {
	r.t.Helper()
	names, err := filepath.Glob(r.path("records/*/*/*/*/*/" + fmt.Sprintf("%04d-*", n)))
	if err != nil || len(names) == 0 {
		r.t.Fatalf("%d payloads, %v", len(names), err)
	}
	for _, name := range append(names, r.path(epochFolder(n))) {
		if err := os.RemoveAll(name); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestEpochAttacks: attacks on an archive of several epochs whose auditor has
// accepted that there are.
func TestEpochAttacks(t *testing.T) {
	e, accept := makeEpochs(t)
	violations, quiet := e.findings(t, e.folder, "--accept", accept)
	if len(violations) > 0 {
		t.Fatalf("accepted, and found all the same: %v", violations)
	}
	quiet["accepted-but-not-found"] = 1 // what an attack takes away is no more there to be accepted
	t.Run("other verifiers", func(t *testing.T) { agree(t, e, e.folder) })
	origin := func(n int) seal.Origin { return seal.Origin{Log: e.origin().Log, Epoch: n} }
	reopen := func(r *root, change func(*seal.Manifest)) { // with the identity key, which opens without a one-time key
		m := *r.site.manifest(filepath.Join(r.folder, origin(3).ManifestPath(0)))
		change(&m)
		r.forge(&m, nil)
	}
	resealed := []string{"chain-broken", "checkpoint-missing", "checkpoint-root"}
	for _, a := range []attack{
		{name: "two epochs swapped", do: func(r *root) {
			r.rename(epochFolder(2), epochFolder(9))
			r.rename(epochFolder(3), epochFolder(2))
			r.rename(epochFolder(9), epochFolder(3))
		}, want: []string{"batch-misplaced", "checkpoint-invalid", "checkpoint-missing", "payload-unnamed"}},
		{name: "an epoch dropped in the middle", do: func(r *root) { r.dropEpoch(2) }, want: []string{"coverage-hole", "epoch-missing"}},
		{name: "the seals of an epoch dropped in the middle", do: func(r *root) {
			if err := os.RemoveAll(r.path(epochFolder(2))); err != nil {
				r.t.Fatal(err)
			}
		}, want: []string{"coverage-hole", "epoch-missing", "payload-unnamed"}},
		{name: "the first epoch dropped", do: func(r *root) { r.dropEpoch(1) }, want: []string{"epoch-missing"}},
		{name: "an epoch dropped in the middle, the next one in its place", do: func(r *root) {
			r.dropEpoch(2)
			r.rename(epochFolder(3), epochFolder(2))
		}, want: []string{"batch-misplaced", "checkpoint-invalid", "checkpoint-missing", "payload-unnamed"}},
		{name: "the last epoch dropped, its size expected", do: func(r *root) { r.dropEpoch(3) }, arguments: func(*evidence) []string {
			return []string{"--expect-size", origin(3).String() + "=3"}
		}, want: []string{"expected-size"}},
		{name: "the opening of an epoch put in once more as another", do: func(r *root) {
			for _, suffix := range []string{"000000000000.manifest", "000000000000.manifest.sig", "identity.vkey"} {
				r.write(epochFolder(4)+"/"+suffix, r.read(epochFolder(3)+"/"+suffix))
			}
		}, want: []string{"batch-misplaced", "checkpoint-missing", "epoch-after-close"}},
		{name: "an epoch opened anew as a first one", do: func(r *root) {
			reopen(r, func(m *seal.Manifest) { m.Reason = seal.OpenFirst })
		}, want: append([]string{"open-reason"}, resealed...)},
		{name: "an epoch opened anew behind another history", do: func(r *root) {
			reopen(r, func(m *seal.Manifest) {
				m.Reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: origin(2), Size: 2, Root: seal.LeafHash([]byte("x"))}.String()
			})
		}, want: append([]string{"open-reason"}, resealed...)},
		{name: "an epoch opened anew behind one that is not there", do: func(r *root) {
			reopen(r, func(m *seal.Manifest) {
				m.Reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: origin(7), Size: 2, Root: seal.EmptyRoot()}.String()
			})
		}, want: append([]string{"open-reason"}, resealed...)},
		{name: "a batch of the epoch before", do: func(r *root) {
			for _, path := range []func(seal.Origin) string{
				func(o seal.Origin) string { return o.ManifestPath(1) }, func(o seal.Origin) string { return o.SignaturePath(1) },
			} {
				r.write(path(origin(3)), r.read(path(origin(2))))
			}
		}, want: []string{"batch-misplaced", "payload-unnamed"}, notices: unchecked},
		{name: "the checkpoint of the epoch before", do: func(r *root) {
			newest := func(n int) string {
				names, err := filepath.Glob(r.path(epochFolder(n) + "/checkpoint/*"))
				if err != nil || len(names) == 0 {
					r.t.Fatal(err)
				}
				return epochFolder(n) + "/checkpoint/" + filepath.Base(slices.Max(names))
			}
			r.write(newest(3), r.read(newest(2)))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			a.run(t, e, quiet, "--accept", accept)
		})
	}
}

// agree holds the published verifiers, and the commands of seal/README.md, to what
// auditail-verify finds in an archive.
func agree(t *testing.T, e *evidence, dir string) {
	t.Helper()
	violations, _ := e.findings(t, dir)
	for _, script := range []string{"verify.sh", "verify.py"} {
		command := e.site.command("../../../seal/testdata/"+script, dir, e.trust)
		command.Path = "../../seal/testdata/" + script
		out, _ := command.Output() // it fails where it finds something
		found := make(map[string]int)
		for line := range strings.Lines(string(out)) {
			if level, rest, _ := strings.Cut(line, " "); level == "violation" {
				code, _, _ := strings.Cut(rest, " ")
				found[code]++
			}
		}
		for code, n := range violations {
			if blind := script == "verify.sh" && strings.HasPrefix(code, "coverage"); found[code] != n && !blind {
				t.Errorf("%s finds %q %d times, auditail-verify %d times\n%s", script, code, found[code], n, out)
			}
		}
		for code := range found {
			if violations[code] == 0 {
				t.Errorf("%s finds %q, auditail-verify does not\n%s", script, code, out)
			}
		}
	}
	// Section 6 of seal/README.md, by the letter.
	readme, err := os.ReadFile("../../seal/README.md")
	if err != nil {
		t.Fatal(err)
	}
	name, first, err := seal.ParseVKey(strings.TrimSpace(string(e.site.file("trust"))))
	if err != nil || name != e.origin().Log.String() {
		t.Fatalf("trusted is the key of %s: %v", name, err)
	}
	e.site.write("allowed_signers", seal.AllowedSigner(e.origin().Log, first)+"\n")
	commands := 0
	for _, text := range regexp.MustCompile(`(?m)^    (?:find seals|for m) .*\n(?:     .*\n|    [^ ].*\n)*`).FindAllString(string(readme), -1) {
		commands++
		shell := e.site.command("bash", "-c", "set -e; cd "+dir+"; allowed="+e.site.path("allowed_signers")+"; "+
			strings.ReplaceAll(text, " allowed_signers", " $allowed"))
		shell.Path = "/bin/bash"
		if out, err := shell.CombinedOutput(); err != nil || bytes.Contains(out, []byte("WRONG")) || bytes.Contains(out, []byte("FAILED")) {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
	}
	if commands != 3 {
		t.Errorf("%d commands found in seal/README.md", commands)
	}
}
