package weights_test

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/agent/catalog/weights"
	"github.com/auditail/auditail/internal/durable"
)

const (
	commit = "0e9e39f249a16976918f6564b8830bc894c89659"
	other  = "1e9e39f249a16976918f6564b8830bc894c89659"
)

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func hexOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// watcher is one that believes that all files were left alone for an hour.
func watcher(cache string, log *strings.Builder, paths ...string) *weights.Watcher {
	return weights.New(weights.Config{Paths: paths, Cache: cache}, weights.Deps{
		FS: durable.OS{}, Log: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
}

// look runs a watcher until nothing is pending.
func look(t *testing.T, w *weights.Watcher, path string) catalog.WeightsState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	changed := make(chan struct{}, 100)
	go func() {
		defer close(done)
		w.Run(ctx, func() { changed <- struct{}{} })
	}()
	for {
		select {
		case <-changed:
			if state := w.Look(path); state.Known && !state.Pending {
				cancel()
				<-done
				return state
			}
		case <-done:
			t.Fatalf("%s: %+v", path, w.Look(path))
		}
	}
}

func once(t *testing.T, path string) catalog.WeightsState {
	t.Helper()
	var log strings.Builder
	return look(t, watcher(filepath.Join(t.TempDir(), "c", "weights.json"), &log, path), path)
}

// The digest of one file is its SHA-256; that of a folder is what stock tools
// make of it.
func TestDigest(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "model-00002-of-00002.safetensors"), "two")
	write(t, filepath.Join(dir, "model-00001-of-00002.safetensors"), "one")
	write(t, filepath.Join(dir, "sub", "adapter.bin"), "adapter")
	write(t, filepath.Join(dir, "config.json"), "no weights")
	write(t, filepath.Join(dir, ".hidden.bin"), "no weights")
	single := write(t, filepath.Join(t.TempDir(), "model.gguf"), "gguf")

	if got, want := once(t, single).Digest, "sha256:"+hexOf("gguf"); got != want {
		t.Errorf("file: %s, want %s", got, want)
	}
	got := once(t, dir).Digest
	script := `cd "$0" && find -L . -type f \( -name '*.safetensors' -o -name '*.bin' \) ! -path '*/.*' -printf '%P\n' |
	while read -r f; do printf '%s  %s  %s\n' "$(sha256sum < "$f" | cut -d' ' -f1)" "$(stat -Lc %s "$f")" "$f"; done | LC_ALL=C sort | sha256sum | cut -d' ' -f1`
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "sha256:" + strings.TrimSpace(string(out)); got != want {
		t.Errorf("folder: %s, stock tools say %s", got, want)
	}
	// A format of its own: all files count.
	plain := t.TempDir()
	write(t, filepath.Join(plain, "tensors.xyz"), "x")
	if got, want := once(t, plain).Digest, "sha256:"+hexOf(hexOf("x")+"  1  tensors.xyz\n"); got != want {
		t.Errorf("other formats: %s, want %s", got, want)
	}
}

// What was hashed once is not hashed again, by this process or the next.
func TestHashedOnce(t *testing.T) {
	dir, cache := t.TempDir(), filepath.Join(t.TempDir(), "catalog", "weights.json")
	path := write(t, filepath.Join(dir, "model.gguf"), "first")
	var log strings.Builder
	first := look(t, watcher(cache, &log, path), path)

	// The bytes can not be read any more, so a digest can only be remembered.
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // root reads it all the same: then the content tells
		if again := look(t, watcher(cache, &log, path), path); again.Digest == first.Digest {
			t.Error("a file that changed its mode counts as unchanged: its time of change moved")
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	look(t, watcher(cache, &log, path), path)
	remembered, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	// A cache that says something else is believed: nothing was hashed.
	forged := strings.ReplaceAll(string(remembered), hexOf("first"), strings.Repeat("f", 64))
	if err := os.WriteFile(cache, []byte(forged), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(t, watcher(cache, &log, path), path).Digest; got != "sha256:"+strings.Repeat("f", 64) {
		t.Errorf("hashed again: %s", got)
	}
	// Other content is: even of the same size, with the time of modification set back.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "other")
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got := look(t, watcher(cache, &log, path), path).Digest; got != "sha256:"+hexOf("other") {
		t.Errorf("a change that hides was not seen: %s", got)
	}
	// A cache that can not be read costs time, nothing else.
	if err := os.WriteFile(cache, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(t, watcher(cache, &log, path), path).Digest; got != "sha256:"+hexOf("other") {
		t.Errorf("%s", got)
	}
	if !strings.Contains(log.String(), "hashed again") {
		t.Error("nothing was logged")
	}
}

// Hashing leaves disk and processor to the server.
func TestRate(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "model.gguf"), strings.Repeat("x", 3<<20))
	w := weights.New(weights.Config{Paths: []string{path}, Cache: filepath.Join(t.TempDir(), "c"), Rate: 8 << 20},
		weights.Deps{FS: durable.OS{}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(time.Hour) }})
	began := time.Now()
	look(t, w, path)
	if took := time.Since(began); took < 3*time.Second/8 {
		t.Errorf("3 MiB at 8 MiB a second took %s", took)
	}
}

// A file that was written to a moment ago is left alone.
func TestSettles(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "model.gguf"), "x")
	w := weights.New(weights.Config{Paths: []string{path}, Cache: filepath.Join(t.TempDir(), "c")},
		weights.Deps{FS: durable.OS{}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Run(ctx, cancel) // the first look tells that it is there, and ends Run
	if state := w.Look(path); !state.Known || !state.Pending || state.Digest != "" {
		t.Errorf("%+v", state)
	}
}

// Whatever leads to the files counts as part of them.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "v1", "model.gguf"), "1")
	write(t, filepath.Join(dir, "v2", "model.gguf"), "2")
	link(t, "v1", filepath.Join(dir, "current"))
	before := once(t, filepath.Join(dir, "current"))
	if before.Digest != once(t, filepath.Join(dir, "v1")).Digest {
		t.Errorf("%+v", before)
	}
	time.Sleep(20 * time.Millisecond) // the clock of the file system is coarse
	moved := time.Now()
	time.Sleep(20 * time.Millisecond)
	if err := os.Remove(filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	link(t, "v2", filepath.Join(dir, "current"))
	after := once(t, filepath.Join(dir, "current", "model.gguf"))
	if before.Changed.After(moved) || !after.Changed.After(moved) || after.Digest != "sha256:"+hexOf("2") {
		t.Errorf("a link that was moved at %s is not noticed: %+v, then %+v", moved, before, after)
	}
}

// The cache of the Hugging Face hub names repository, commit and blobs.
func TestHuggingFaceCache(t *testing.T) {
	hub := filepath.Join(t.TempDir(), "models--meta-llama--Llama-3.1-8B")
	one, config := hexOf("one"), strings.Repeat("a", 40)
	write(t, filepath.Join(hub, "blobs", one), "one")
	write(t, filepath.Join(hub, "blobs", config), "{}")
	write(t, filepath.Join(hub, "refs", "main"), commit)
	snapshot := filepath.Join(hub, "snapshots", commit)
	link(t, "../../blobs/"+one, filepath.Join(snapshot, "model.safetensors"))
	link(t, "../../blobs/"+config, filepath.Join(snapshot, "config.json"))
	link(t, "../../blobs/"+strings.Repeat("0", 64), filepath.Join(snapshot, "missing.safetensors"))
	line := hexOf(one + "  3  model.safetensors\n")
	for _, path := range []string{hub, snapshot} {
		state := once(t, path)
		if state.ID != "hf:meta-llama/Llama-3.1-8B" || state.Revision != commit || state.Claimed != "claimed-sha256:"+line || state.Digest != "sha256:"+line {
			t.Errorf("%s: %+v", path, state)
		}
	}
	// One file, as llama.cpp is given it.
	state := once(t, filepath.Join(snapshot, "model.safetensors"))
	if state.Claimed != "claimed-sha256:"+one || state.Digest != "sha256:"+one {
		t.Errorf("%+v", state)
	}
	// Another branch that was downloaded since does not count.
	write(t, filepath.Join(hub, "refs", "main"), other)
	if state := once(t, snapshot); state.Revision != commit {
		t.Errorf("%+v", state)
	}
}

// Manifests beside the weights.
func TestManifests(t *testing.T) {
	dir := t.TempDir()
	downloaded := filepath.Join(dir, "downloaded")
	write(t, filepath.Join(downloaded, "a.safetensors"), "a")
	write(t, filepath.Join(downloaded, ".cache", "huggingface", "download", "a.safetensors.metadata"), commit+"\n"+hexOf("a")+"\n1763715994.3\n")
	if s := once(t, downloaded); s.Revision != commit || s.Claimed != "claimed-sha256:"+hexOf(hexOf("a")+"  1  a.safetensors\n") {
		t.Errorf("hf download: %+v", s)
	}
	write(t, filepath.Join(downloaded, "b.safetensors"), "b")
	write(t, filepath.Join(downloaded, ".cache", "huggingface", "download", "b.safetensors.metadata"), other+"\n"+hexOf("b")+"\n1763715994.3\n")
	if s := once(t, downloaded); s.Revision != "" || s.Claimed != "" {
		t.Errorf("files of two commits: %+v", s)
	}

	clone := filepath.Join(dir, "clone")
	write(t, filepath.Join(clone, "model.safetensors"), "a")
	write(t, filepath.Join(clone, ".git", "HEAD"), "ref: refs/heads/main\n")
	write(t, filepath.Join(clone, ".git", "packed-refs"), "# pack-refs with: peeled fully-peeled sorted\n"+commit+" refs/heads/main\n")
	write(t, filepath.Join(clone, ".git", "config"), "[remote \"origin\"]\n\turl = https://huggingface.co/org/model.git\n")
	if s := once(t, clone); s.Revision != commit || s.ID != "hf:org/model" {
		t.Errorf("git, packed: %+v", s)
	}
	write(t, filepath.Join(clone, ".git", "refs", "heads", "main"), other+"\n")
	if s := once(t, clone); s.Revision != other {
		t.Errorf("git: %+v", s)
	}
	write(t, filepath.Join(clone, ".git", "HEAD"), "ref: ../../../etc/passwd\n")
	if s := once(t, clone); s.Revision != "" {
		t.Errorf("git, a reference that leads out: %+v", s)
	}

	flow := filepath.Join(dir, "mlflow")
	write(t, filepath.Join(flow, "model.pkl"), "a")
	write(t, filepath.Join(flow, "MLmodel"), "artifact_path: model\nmlflow_version: 3.4.0\nmodel_id: m-0a1b2c\nmodel_uuid: 5f7a0c2d\nrun_id: 77\n")
	if s := once(t, flow); s.Revision != "m-0a1b2c" {
		t.Errorf("MLflow: %+v", s)
	}

	mar := filepath.Join(dir, "densenet161.mar")
	f, err := os.Create(mar)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	in, err := z.Create("MAR-INF/MANIFEST.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte(`{"createdOn":"20/11/2026","runtime":"python","model":{"modelName":"densenet161","modelVersion":"1.0"},"archiverVersion":"0.12.0"}`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s := once(t, mar); s.Version != "1.0" || !strings.HasPrefix(s.Digest, "sha256:") {
		t.Errorf("TorchServe: %+v", s)
	}

	text := `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":"sha256:00"},"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:11","size":3}]}`
	ollama := write(t, filepath.Join(dir, "manifests", "registry.ollama.ai", "library", "llama3", "latest"), text)
	if s := once(t, ollama); s.Claimed != "manifest-sha256:"+hexOf(text) || s.Digest != "" {
		t.Errorf("Ollama: %+v", s)
	}
	blob := write(t, filepath.Join(dir, "blobs", "sha256-"+hexOf("gguf")), "gguf")
	if s := once(t, blob); s.Claimed != "claimed-sha256:"+hexOf("gguf") || s.Digest != "sha256:"+hexOf("gguf") {
		t.Errorf("Ollama's blob: %+v", s)
	}
}

// What can not be read is said once.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	link(t, "loop", filepath.Join(dir, "loop"))
	deep := dir
	for range 12 {
		deep = filepath.Join(deep, "d")
	}
	write(t, filepath.Join(deep, "x.bin"), "x")
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"): "no such file",
		filepath.Join(dir, "loop"):   "too many symbolic links",
		filepath.Join(dir, "d"):      "nested deeper",
	} {
		var log strings.Builder
		w := watcher(filepath.Join(t.TempDir(), "c"), &log, path, path, path)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		w.Run(ctx, func() { t.Errorf("%s is known: %+v", path, w.Look(path)) })
		cancel()
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%s:\n%s", path, log.String())
		}
	}
}
