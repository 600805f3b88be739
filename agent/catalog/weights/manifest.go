package weights

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/internal/probe"
)

// maxManifest bounds what is read of a file beside the weights.
const maxManifest = 64 << 10

// describe fills what the names of files and manifests beside them say. Each
// source is tried; the first that says something counts.
func (f *found) describe(state *catalog.WeightsState) {
	f.isManifest(state)
	if state.ID, state.Revision = probe.FromCache(filepath.ToSlash(f.asked)); state.Revision == "" {
		state.ID, state.Revision = probe.FromCache(filepath.ToSlash(f.root))
	}
	if sums, complete := f.claims(); complete && state.Claimed == "" {
		state.Claimed = "claimed-sha256:" + f.combine(sums)
	}
	dir := f.root
	if f.single {
		dir = filepath.Dir(f.root)
		f.archive(state)
	}
	if state.Revision == "" {
		f.downloaded(dir, state)
	}
	if state.Revision == "" {
		checkedOut(dir, state)
	}
	if state.Revision == "" {
		mlflow(dir, state)
	}
}

// claims returns the digests by which the files are named, when all are.
func (f *found) claims() (sums []string, complete bool) {
	for i := range f.files {
		if f.files[i].claimed == "" {
			return nil, false
		}
		sums = append(sums, f.files[i].claimed)
	}
	return sums, len(sums) > 0
}

// cachedSnapshot returns the snapshot that the main branch of a repository in
// the Hugging Face cache points to: "models--org--name/refs/main".
func cachedSnapshot(root string) string {
	if !strings.HasPrefix(filepath.Base(root), "models--") {
		return ""
	}
	commit := strings.TrimSpace(string(small(filepath.Join(root, "refs", "main"))))
	if !probe.IsCommit(commit) {
		return ""
	}
	return filepath.Join(root, "snapshots", commit)
}

// downloaded reads what `hf download --local-dir` leaves beside each file:
// ".cache/huggingface/download/<file>.metadata" with commit, etag and time. The
// etag of a large file is its SHA-256.
func (f *found) downloaded(dir string, state *catalog.WeightsState) {
	commit := ""
	sums := make([]string, 0, len(f.files))
	for i := range f.files {
		data := small(filepath.Join(dir, ".cache", "huggingface", "download", filepath.FromSlash(f.files[i].rel)+".metadata"))
		lines := strings.Split(string(data), "\n")
		if len(lines) < 2 || !probe.IsCommit(lines[0]) || commit != "" && commit != lines[0] {
			return // of no commit, or files of several
		}
		commit = lines[0]
		if probe.IsSHA256(lines[1]) {
			sums = append(sums, lines[1])
		}
	}
	state.Revision = commit
	if len(sums) == len(f.files) && len(sums) > 0 && state.Claimed == "" {
		state.Claimed = "claimed-sha256:" + f.combine(sums)
	}
}

// checkedOut reads the commit of a git work tree, and its origin when that is
// on the Hugging Face hub.
func checkedOut(dir string, state *catalog.WeightsState) {
	git := filepath.Join(dir, ".git")
	head := strings.TrimSpace(string(small(filepath.Join(git, "HEAD"))))
	if ref, symbolic := strings.CutPrefix(head, "ref: "); symbolic {
		if !filepath.IsLocal(ref) {
			return
		}
		head = strings.TrimSpace(string(small(filepath.Join(git, filepath.FromSlash(ref)))))
		if head == "" {
			head = packedRef(small(filepath.Join(git, "packed-refs")), ref)
		}
	}
	if !probe.IsCommit(head) {
		return
	}
	state.Revision = head
	for lines := bufio.NewScanner(bytes.NewReader(small(filepath.Join(git, "config")))); lines.Scan(); {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		for _, host := range []string{"https://huggingface.co/", "https://hf.co/", "git@hf.co:"} {
			name, hub := strings.CutPrefix(strings.TrimSpace(value), host)
			if name = strings.TrimSuffix(name, ".git"); strings.TrimSpace(key) == "url" && hub && probe.IsHubName(name) {
				state.ID = "hf:" + name
			}
		}
	}
}

func packedRef(data []byte, ref string) string {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if commit, name, _ := strings.Cut(lines.Text(), " "); name == ref {
			return commit
		}
	}
	return ""
}

// mlflow reads the file MLmodel: "model_id" (MLflow 3) or "model_uuid".
func mlflow(dir string, state *catalog.WeightsState) {
	for lines := bufio.NewScanner(bytes.NewReader(small(filepath.Join(dir, "MLmodel")))); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ": ")
		if value = strings.Trim(value, `'"`); !found || !isWord(value) {
			continue
		}
		if key == "model_id" || key == "model_uuid" && state.Revision == "" {
			state.Revision = value
		}
	}
}

func isWord(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// archive reads the manifest of a TorchServe model archive.
func (f *found) archive(state *catalog.WeightsState) {
	if !strings.EqualFold(filepath.Ext(f.root), ".mar") {
		return
	}
	z, err := zip.OpenReader(f.root)
	if err != nil {
		return
	}
	defer func() { _ = z.Close() }() // it was only read
	from, err := z.Open("MAR-INF/MANIFEST.json")
	if err != nil {
		return
	}
	data, err := io.ReadAll(io.LimitReader(from, maxManifest))
	if err = errors.Join(err, from.Close()); err != nil {
		return
	}
	var manifest struct {
		Model struct {
			Version string `json:"modelVersion"`
		} `json:"model"`
	}
	if json.Unmarshal(data, &manifest) == nil && isWord(manifest.Model.Version) {
		state.Version = manifest.Model.Version
	}
}

// isManifest recognises a file that is not weights but says what they are: an
// OCI manifest, as Ollama keeps one for each model under "manifests". Its digest
// is what the server itself gives for the model.
func (f *found) isManifest(state *catalog.WeightsState) {
	if !f.single || f.files[0].size > maxManifest {
		return
	}
	data := small(f.root)
	var manifest struct {
		Version int               `json:"schemaVersion"`
		Layers  []json.RawMessage `json:"layers"`
	}
	if json.Unmarshal(data, &manifest) != nil || manifest.Version != 2 || len(manifest.Layers) == 0 {
		return
	}
	sum := sha256.Sum256(data)
	state.Claimed = "manifest-sha256:" + hex.EncodeToString(sum[:])
	f.files = nil
}

// small returns a short file; nil when it is not there, or long.
func small(path string) []byte {
	from, err := os.Open(path) //nolint:gosec // beside configured weights
	if err != nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err = errors.Join(err, from.Close()); err != nil || len(data) > maxManifest {
		return nil
	}
	return data
}
