//go:build ollama

package endtoend

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A real Ollama: its models are found by its own API, its log by its parser,
// and what is pushed over a tag while it runs is an update. `make ollama`
// runs this with the program that is installed.
func TestOllama(t *testing.T) {
	address := freeAddress(t)
	s := newSite(t, `
[[inputs.file]]
name = "ollama"
paths = ["DIR/logs/ollama.log"]
parser = "ollama"
service = "chat"
[[catalog]]
input = "ollama"
name = "tiny"
probe = "ollama:http://`+address+`"
[buffer]
batch_age = "100ms"
`, directoryOutput)
	store := s.path("models")
	first := ollamaModel(t, store, "first")
	startOllama(t, address, s.path("logs/ollama.log"), store)
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(agent.log.String())
		}
	})
	s.untilNamed(address, first)
	second := ollamaModel(t, store, "second")
	s.untilNamed(address, second)
	agent.terminate(10 * time.Second)

	s.verify(s.path("archive"))
	c := s.read(s.path("archive"))
	c.validate(t)
	updates, lists := 0, 0
	for _, r := range c.records {
		switch text(r, "event") {
		case "model.update":
			updates++
			if text(r, "model.digest") != second {
				t.Errorf("update to %v, want %s", r["model"], second)
			}
		case "model.list":
			lists++
		}
	}
	if updates != 1 || lists != 0 {
		t.Errorf("%d model.update, want 1; %d model.list of the agent's own questions, want 0", updates, lists)
	}
}

// untilNamed calls the model until records name a digest.
func (s *site) untilNamed(address, digest string) {
	s.t.Helper()
	var looked time.Time
	await(s.t, "records with "+digest, func() bool {
		if time.Since(looked) < time.Second {
			return false
		}
		looked = time.Now()
		response, err := http.Post("http://"+address+"/api/generate", "application/json", strings.NewReader(`{"model":"tiny","prompt":"hello"}`))
		if err != nil {
			s.t.Fatal(err)
		}
		response.Body.Close()
		c := s.read(s.path("archive"))
		for _, r := range c.records {
			if text(r, "event") == "model.inference" && text(r, "model.digest") == digest && text(r, "model.name") == "tiny" {
				return true
			}
		}
		return false
	})
}

func startOllama(t *testing.T, address, log, store string) {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), os.Getenv("OLLAMA"), "serve")
	server.Env = append(os.Environ(), "HOME="+t.TempDir(), "OLLAMA_HOST="+address, "OLLAMA_MODELS="+store)
	server.Stdout, server.Stderr = out, out
	if err := server.Start(); err != nil {
		t.Fatalf("start Ollama, whose path the environment variable OLLAMA gives: %v", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		_ = out.Close()
	})
	await(t, "Ollama", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// ollamaModel puts a model named tiny into a store, as a pull does, and returns
// the digest of its manifest.
func ollamaModel(t *testing.T, store, name string) string {
	t.Helper()
	weights, weightsSize := ollamaBlob(t, store, gguf(name))
	settings, err := json.Marshal(map[string]any{
		"model_format": "gguf", "model_family": "llama", "model_families": []string{"llama"}, "model_type": "32", "file_type": "F32",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{weights}},
	})
	if err != nil {
		t.Fatal(err)
	}
	config, configSize := ollamaBlob(t, store, settings)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.docker.distribution.manifest.v2+json",
		"config":        map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "digest": config, "size": configSize},
		"layers":        []any{map[string]any{"mediaType": "application/vnd.ollama.image.model", "digest": weights, "size": weightsSize}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(store, "manifests", "registry.ollama.ai", "library", "tiny", "latest")
	putFile(t, path, manifest)
	sum := sha256.Sum256(manifest)
	return "manifest-sha256:" + hex.EncodeToString(sum[:])
}

func ollamaBlob(t *testing.T, store string, data []byte) (digest string, size int) {
	t.Helper()
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	putFile(t, filepath.Join(store, "blobs", "sha256-"+name), data)
	return "sha256:" + name, len(data)
}

func putFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// gguf makes the smallest model of its format, version 3: a few settings and
// one tensor of zeros.
func gguf(name string) []byte {
	const text, number = uint32(8), uint32(4)
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if s, ok := v.(string); ok {
				_ = binary.Write(&b, binary.LittleEndian, uint64(len(s))) // into memory
				b.WriteString(s)
				continue
			}
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	b.WriteString("GGUF")
	put(uint32(3), uint64(1), uint64(5))
	put("general.architecture", text, "llama")
	put("general.name", text, name)
	put("llama.context_length", number, uint32(128))
	put("llama.embedding_length", number, uint32(8))
	put("llama.block_count", number, uint32(1))
	put("token_embd.weight", uint32(2), uint64(8), uint64(4), uint32(0), uint64(0))
	b.Write(make([]byte, (32-b.Len()%32)%32+8*4*4))
	return b.Bytes()
}
