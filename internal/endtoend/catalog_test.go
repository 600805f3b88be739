package endtoend

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// modelServerEnv makes this test program a model server in a process of its
// own, with its address, its log and the path of its model.
const modelServerEnv = "AUDITAIL_TEST_MODEL_SERVER"

// serveModel answers as vLLM does, and logs as uvicorn does: without times.
func serveModel() {
	args := strings.Split(os.Getenv(modelServerEnv), " ")
	address, logName, model := args[0], args[1], args[2]
	log, err := os.OpenFile(logName, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(log, "INFO %s [api_server.py:1034] vLLM API server version 0.11.0\n", time.Now().Format("01-02 15:04:05"))
	l, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{}
		switch r.URL.Path {
		case "/v1/models":
			answer = map[string]any{"object": "list", "data": []any{map[string]any{"id": "llama", "object": "model", "owned_by": "vllm", "root": model, "parent": nil}}}
		case "/version":
			answer["version"] = "0.11.0"
		}
		_ = json.NewEncoder(w).Encode(answer)
		fmt.Fprintf(log, "INFO:     %s - \"%s %s HTTP/1.1\" 200 OK\n", r.RemoteAddr, r.Method, r.URL.Path)
	})))
}

func startModel(t *testing.T, address, log, model string) *exec.Cmd {
	t.Helper()
	server := exec.CommandContext(t.Context(), os.Args[0])
	server.Env = append(os.Environ(), modelServerEnv+"="+strings.Join([]string{address, log, model}, " "))
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the model server", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return server
}

func call(t *testing.T, method, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// A model server whose log has neither times nor names: its records say which
// weights its process loaded, before and after these are replaced and both
// programs are started anew, and the agent's own questions are not among them.
func TestModelVersions(t *testing.T) {
	address := freeAddress(t)
	s := newSite(t, `
[[inputs.file]]
name = "vllm"
paths = ["DIR/logs/vllm.log"]
parser = "vllm"
service = "chat"
[[catalog]]
input = "vllm"
name = "llama"
weights = "DIR/model.gguf"
probe = "vllm:http://`+address+`"
owner = "ml-platform"
[buffer]
batch_age = "100ms"
`, directoryOutput)
	base, log, weights := "http://"+address, s.path("logs/vllm.log"), s.path("model.gguf")
	s.writeWeights("first")
	server := startModel(t, address, log, weights)
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(agent.log.String())
		}
	})
	first := s.untilHashed(base, "")
	call(t, http.MethodGet, base+"/v1/models") // somebody else's
	agent.kill()

	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	s.writeWeights("second")
	startModel(t, address, log, weights)
	agent = s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	second := s.untilHashed(base, first)
	agent.terminate(10 * time.Second)

	s.verify(s.path("archive"))
	c := s.read(s.path("archive"))
	c.validate(t)
	events := map[string][]map[string]any{}
	for _, r := range c.records {
		event := text(r, "event")
		events[event] = append(events[event], r)
		if event == "model.inference" && (text(r, "model.name") != "llama" || text(r, "model.owner") != "ml-platform" || text(r, "api.server_version") != "0.11.0") {
			t.Errorf("%v", r)
		}
	}
	if n := len(events["model.list"]); n != 1 {
		t.Errorf("%d model.list, want somebody else's alone", n)
	}
	update := events["model.update"]
	if len(update) != 1 || text(update[0], "model.digest") != second || text(update[0], "source.id") != "catalogue" {
		t.Errorf("%d model.update: %v", len(update), update)
	}
	if len(events["model.conflict"]) > 0 || len(events["model.deploy"]) == 0 {
		t.Errorf("%d model.conflict, %d model.deploy", len(events["model.conflict"]), len(events["model.deploy"]))
	}
	if data, err := os.ReadFile(filepath.Join(s.dir, "data", "catalog", "weights.json")); err != nil || !strings.Contains(string(data), strings.TrimPrefix(second, "sha256:")) {
		t.Errorf("what was hashed is not remembered: %v", err)
	}
}

// writeWeights writes them clearly before what is done next: the start of a
// process is known to a hundredth of a second.
func (s *site) writeWeights(content string) {
	s.t.Helper()
	s.write("model.gguf", content)
	written := time.Now()
	await(s.t, "the next moment", func() bool { return time.Since(written) > 200*time.Millisecond })
}

// untilHashed calls the model until records name a digest other than before.
func (s *site) untilHashed(base, before string) (digest string) {
	s.t.Helper()
	var looked time.Time
	await(s.t, "records with a digest", func() bool {
		if time.Since(looked) < time.Second {
			return false
		}
		looked = time.Now()
		call(s.t, http.MethodPost, base+"/v1/chat/completions")
		c := s.read(s.path("archive"))
		for _, r := range c.records {
			found := text(r, "model.digest")
			if text(r, "event") == "model.inference" && text(r, "model.basis") == "digest" && found != before {
				digest = found
				return true
			}
		}
		return false
	})
	return digest
}
