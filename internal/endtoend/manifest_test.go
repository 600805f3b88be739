package endtoend

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/seal"
)

// truthful compares what the manifests of an archive say about host and programs with
// what these are.
func truthful(t *testing.T, e *evidence) {
	const heartbeat, year = time.Minute, 365 * 24 * time.Hour
	terms := map[string]time.Duration{"standard": 184 * 24 * time.Hour, "legal": 6 * year}
	programs := map[string]seal.Digest{ // by version
		versionOf(t, e, binaries): digestOf(t, filepath.Join(binaries, "auditail")), versionOf(t, e, e.upgrade): digestOf(t, filepath.Join(e.upgrade, "auditail")),
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	up := func() (seconds float64) {
		data, err := os.ReadFile("/proc/uptime")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(data), &seconds); err != nil {
			t.Fatal(err)
		}
		return seconds
	}
	now, uptime := time.Now(), up()
	var configs []seal.Digest
	for n := range e.last + 1 {
		m := e.site.manifest(filepath.Join(e.folder, e.origin().ManifestPath(n)))
		wrong := func(what string, got, want any) { t.Errorf("batch %d: %s %v, want %v", n, what, got, want) }
		if m.Boot != strings.TrimSpace(string(boot)) {
			wrong("boot", m.Boot, string(boot))
		}
		// Sealed as long before now as the host was up for less.
		if drift := now.Sub(m.Sealed).Seconds() - (uptime - float64(m.Uptime)); drift < -2 || drift > 2 {
			wrong("uptime", m.Uptime, fmt.Sprintf("%.0f s more or less", drift))
		}
		if want := m.Sealed.Add(2 * heartbeat); m.Kind != seal.Close && !m.NextBy.Equal(want) {
			wrong("next-by", m.NextBy, want)
		}
		if want := m.Sealed.Add(terms[m.Stream.Class]); m.Kind == seal.Data && !m.KeepUntil.Equal(want) {
			wrong("keep-until", m.KeepUntil, want)
		}
		if m.Opened.After(m.Sealed) || m.Sealed.After(now) {
			wrong("opened and sealed", []time.Time{m.Opened, m.Sealed}, "in order, and before now")
		}
		if m.Run.Schema != audit.SchemaID || m.Run.SchemaDigest != seal.DigestOf(audit.Schema()) {
			wrong("schema", m.Run.Schema, audit.SchemaID)
		}
		if want, known := programs[m.Run.Version]; !known || m.Run.Binary != want {
			wrong("agent", m.Run.Version+" "+m.Run.Binary.String(), want)
		}
		if !slices.Contains(configs, m.Run.Config) {
			configs = append(configs, m.Run.Config)
		}
	}
	// The configuration was changed once; what the records of the start say of each is
	// what the manifests say.
	var told []string
	for _, r := range e.site.read(e.folder).records {
		if extra, ok := r["extra"].(map[string]any); ok && text(r, "event") == "agent.start" {
			told = append(told, fmt.Sprint(extra["config"]))
		}
	}
	slices.Sort(told)
	want := []string{}
	for _, c := range configs {
		want = append(want, "sha256:"+c.String())
	}
	slices.Sort(want)
	if told = slices.Compact(told); len(configs) != 2 || !slices.Equal(told, want) {
		t.Errorf("configurations %q, the records of the starts tell of %q", want, told)
	}
}

// versionOf is what a program says of itself.
func versionOf(t *testing.T, e *evidence, dir string) string {
	t.Helper()
	command := e.site.command("auditail", "version")
	command.Path = filepath.Join(dir, "auditail")
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if word != "auditail" {
			return word
		}
	}
	t.Fatalf("no version in %s", out)
	return ""
}

func digestOf(t *testing.T, name string) (d seal.Digest) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	copy(d[:], h.Sum(nil))
	return d
}
