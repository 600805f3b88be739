package probe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/probe"
)

// server answers with the files of a folder of testdata, named by method and
// path with "_" for "/": what the real server documents.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
}

func serve(t *testing.T, folder string) *server {
	t.Helper()
	s := new(server)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.calls = append(s.calls, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		s.mu.Unlock()
		if r.Header.Get("User-Agent") != "auditail/test" {
			t.Errorf("User-Agent %q", r.Header.Get("User-Agent"))
		}
		data, err := os.ReadFile(filepath.Join("testdata", folder, r.Method+strings.ReplaceAll(r.URL.Path, "/", "_")+".json"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s
}

func ask(t *testing.T, kind probe.Kind, base string, names ...string) (probe.Answer, error) {
	t.Helper()
	target, err := probe.Parse(string(kind) + ":" + base)
	if err != nil {
		t.Fatal(err)
	}
	return probe.New(probe.Config{UserAgent: "auditail/test"}).Ask(t.Context(), probe.Question{Target: target, Names: names})
}

const commit = "0e9e39f249a16976918f6564b8830bc894c89659"

func TestKinds(t *testing.T) {
	modified := time.Date(2026, 11, 4, 14, 56, 49, 277302595, time.FixedZone("", -7*3600))
	for _, test := range []struct {
		folder string
		kind   probe.Kind
		names  []string
		want   probe.Answer
		calls  []string
	}{
		{
			folder: "vllm", kind: probe.VLLM,
			want:  probe.Answer{Server: "vllm", Version: "0.11.0", Single: true, Models: []probe.Model{{Name: "llama-3-8b", ID: "hf:meta-llama/Llama-3.1-8B-Instruct"}}},
			calls: []string{"GET /v1/models", "GET /version"},
		},
		{
			folder: "vllm-lora", kind: probe.VLLM, // an old version without /version
			want: probe.Answer{Server: "vllm", Models: []probe.Model{
				{Name: "base", ID: "hf:mistralai/Mistral-7B-Instruct-v0.2", Revision: commit},
				{Name: "sql", ID: "hf:mistralai/Mistral-7B-Instruct-v0.2", Revision: commit, Adapter: "file:/adapters/sql"},
				{Name: "chat", ID: "hf:mistralai/Mistral-7B-Instruct-v0.2", Revision: commit, Adapter: "chat"},
			}},
			calls: []string{"GET /v1/models", "GET /version"},
		},
		{
			folder: "sglang", kind: probe.SGLang,
			want:  probe.Answer{Server: "sglang", Single: true, Models: []probe.Model{{Name: "qwen", ID: "hf:qwen/qwen2.5-0.5b-instruct", Version: "step-1200"}}},
			calls: []string{"GET /model_info", "GET /v1/models"},
		},
		{
			folder: "sglang-old", kind: probe.SGLang,
			want:  probe.Answer{Server: "sglang", Single: true, Models: []probe.Model{{Name: "qwen", ID: "file:/models/qwen"}}},
			calls: []string{"GET /model_info", "GET /get_model_info", "GET /v1/models"},
		},
		{
			folder: "tgi", kind: probe.TGI,
			want: probe.Answer{Server: "tgi", Version: "2.0.4", Single: true, Models: []probe.Model{{
				Name: "bigscience/bloom-560m", Aliases: []string{"tgi"}, ID: "hf:bigscience/bloom-560m", Revision: "e985a63cdc139290c5f700ff1929f0b5942cced2",
				Config: "sha256:ef64b2d64a4add4d3c2a9bd8fcf0b1a4cc3a0d6b6b2a0ee0ef0b9e9b9e8d8c00",
			}}},
			calls: []string{"GET /info"},
		},
		{
			folder: "llamacpp", kind: probe.LlamaCPP,
			want: probe.Answer{Server: "llamacpp", Version: "b6123-e54d41be", Single: true, Models: []probe.Model{{
				Name: "gemma", ID: "file:/models/gemma-3-4b-it-Q4_K_M.gguf",
				Config: "sha256:00",
			}}},
			calls: []string{"GET /props", "GET /v1/models"},
		},
		{
			folder: "ollama", kind: probe.Ollama,
			want: probe.Answer{Server: "ollama", Version: "0.12.6", Models: []probe.Model{
				{Name: "codellama:13b", Digest: "manifest-sha256:9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697", Modified: modified},
				{Name: "llama3:latest", Aliases: []string{"llama3"}, Digest: "manifest-sha256:fe938a131f40e6f6d40083c9f0f430a515233eb2edaa6d72eb85c50d64f2300e", Modified: modified},
				{Name: "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", ID: "hf:bartowski/Llama-3.2-1B-Instruct-GGUF", Digest: "manifest-sha256:2af3b81862c6be03c769683af18efdadb2c33f60ff32ab6f83e42c043d6c7816", Modified: modified},
			}},
			calls: []string{"GET /api/tags", "GET /api/version"},
		},
		{
			folder: "triton", kind: probe.Triton,
			want:  probe.Answer{Server: "triton", Version: "2.59.0", Models: []probe.Model{{Name: "resnet50", Version: "3"}, {Name: "ranker"}}},
			calls: []string{`POST /v2/repository/index {"ready":true}`, "GET /v2"},
		},
		{
			folder: "kserve", kind: probe.KServe, names: []string{"iris", "gone"}, // without the repository extension
			want:  probe.Answer{Server: "kserve", Version: "0.15.0", Models: []probe.Model{{Name: "sklearn-iris", Version: "v7"}, {Name: "iris"}}},
			calls: []string{"GET /v2", `POST /v2/repository/index {"ready":true}`, "GET /v2/models", "GET /v2/models/sklearn-iris", "GET /v2/models/iris", "GET /v2/models/gone"},
		},
		{
			folder: "torchserve", kind: probe.TorchServe, names: []string{"noop"},
			want:  probe.Answer{Server: "torchserve", Models: []probe.Model{{Name: "noop", Version: "1.0"}, {Name: "densenet161", Version: "2.1"}}},
			calls: []string{"GET /models?limit=32", "GET /models/noop", "GET /models/densenet161"},
		},
		{
			folder: "tensorflow", kind: probe.TensorFlowServing, names: []string{"half_plus_two", "loading", "absent"},
			want:  probe.Answer{Server: "tensorflow-serving", Models: []probe.Model{{Name: "half_plus_two", Version: "123"}}},
			calls: []string{"GET /v1/models/half_plus_two", "GET /v1/models/loading", "GET /v1/models/absent"},
		},
	} {
		t.Run(test.folder, func(t *testing.T) {
			s := serve(t, test.folder)
			got, err := ask(t, test.kind, s.URL, test.names...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Models {
				if got.Models[i].Config != "" { // its value has a test of its own
					got.Models[i].Config, test.want.Models[i].Config = "some", "some"
				}
			}
			sameTimes := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
			none := cmp.Transformer("aliases", func(m []string) string { return strings.Join(m, " ") })
			if diff := cmp.Diff(test.want, got, sameTimes, none); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Join(test.calls, "\n"), strings.Join(s.calls, "\n")); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// A setting that changes what comes back changes the digest, and nothing else does.
func TestSettings(t *testing.T) {
	a, err := ask(t, probe.TGI, serve(t, "tgi").URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ask(t, probe.TGI, serve(t, "tgi-float32").URL)
	if err != nil {
		t.Fatal(err)
	}
	if a.Models[0].Config == b.Models[0].Config || len(a.Models[0].Config) != len("sha256:")+64 {
		t.Errorf("%q and %q", a.Models[0].Config, b.Models[0].Config)
	}
}

// No endpoint that may show a secret is ever asked.
func TestNeverAsksForServerInfo(t *testing.T) {
	s := serve(t, "sglang-old")
	if _, err := ask(t, probe.SGLang, s.URL); err != nil {
		t.Fatal(err)
	}
	for _, call := range s.calls {
		if strings.Contains(call, "server_info") {
			t.Error(call)
		}
	}
}

// A server of any kind that fails, or is no such server, has told nothing: one
// sentence says so, and no model comes of it.
func TestEveryKindFails(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"a page":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>It works!") },
		"half":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":[{"id":"m"`) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("x", 1<<17)+`"}`)
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		s := httptest.NewServer(handler)
		for _, kind := range probe.Kinds() {
			answer, err := ask(t, kind, s.URL, "m")
			if err == nil || strings.Contains(err.Error(), "\n") || len(answer.Models) != 0 {
				t.Errorf("%s, %s: %+v, error %v", kind, name, answer, err)
			}
		}
		s.Close()
	}
}

// hostile are servers that want to hurt. Whatever they do, the question ends in
// time, with one sentence that holds no more than a line.
func TestHostile(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"ten gigabytes": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10737418240")
			block := []byte(`{"data":[` + strings.Repeat(" ", 1<<16))
			for range 10 << 14 {
				if _, err := w.Write(block); err != nil {
					return // the agent hung up
				}
			}
			t.Errorf("%s was read to the end", r.URL)
		}, "the answer to /v1/models is larger than 65536 bytes"},
		"endless list": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":[`+strings.Repeat(`{"id":"m"},`, 5000)+`{"id":"m"}]}`)
		}, ""},
		"slow loris": {func(w http.ResponseWriter, r *http.Request) {
			for {
				select {
				case <-r.Context().Done():
					return
				case <-time.After(50 * time.Millisecond):
					_, _ = io.WriteString(w, " ")
					_ = http.NewResponseController(w).Flush()
				}
			}
		}, "read the answer to /v1/models: no answer within 2s"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "ask /v1/models: no answer within 2s"},
		"redirect": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+"/v1/models", http.StatusFound)
			},
			"/v1/models answers 302",
		},
		"not JSON": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\x1b[31mhello") },
			"the answer to /v1/models is not what vllm documents: invalid character '<' looking for beginning of value",
		},
		"other JSON": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"data":"`+strings.Repeat("x", 60_000)+`"}`)
			},
			`the answer to /v1/models is not what vllm documents: "data" is a JSON string`,
		},
		"deep JSON": {
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"data":[{"x":`+strings.Repeat("[", 60_000))
			},
			"the answer to /v1/models is not what vllm documents: invalid character '[' exceeded max depth",
		},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "/v1/models answers 401"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1f\x8b")
		}, "the answer to /v1/models is not what vllm documents: invalid character '\\x1f' looking for beginning of value"},
		"huge headers": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "ask /v1/models: net/http: server response headers exceeded 16384 bytes; aborted"},
		"names": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":[{"id":"`+strings.Repeat("n", 50_000)+`"},{"id":"a\u001b[31m"},{"id":"a\nb"},{"id":""},{"id":"good","root":"`+strings.Repeat("r", 1000)+`"}]}`)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(test.handler)
			t.Cleanup(s.Close)
			began := time.Now()
			answer, err := ask(t, probe.VLLM, s.URL)
			if took := time.Since(began); took > probe.Timeout+time.Second {
				t.Errorf("took %s", took)
			}
			if err != nil && (err.Error() != test.want || strings.Contains(err.Error(), "\n")) || err == nil && test.want != "" {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if len(answer.Models) > 256 {
				t.Errorf("%d models", len(answer.Models))
			}
			if name == "names" && (len(answer.Models) != 1 || answer.Models[0].Name != "good" || answer.Models[0].ID != "") {
				t.Errorf("%+v", answer.Models)
			}
		})
	}
}

// Names never leave the path that they stand in.
func TestNamesInPaths(t *testing.T) {
	s := serve(t, "tensorflow")
	if _, err := ask(t, probe.TensorFlowServing, s.URL, "../../x?a=b", "..", "a b", "a/b", "bad\nname"); err != nil {
		t.Fatal(err)
	}
	want := "GET /v1/models/..%2F..%2Fx%3Fa=b\nGET /v1/models/a%20b\nGET /v1/models/a%2Fb"
	if got := strings.Join(s.calls, "\n"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestOffHost(t *testing.T) {
	client := probe.New(probe.Config{UserAgent: "auditail/test"})
	question := probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: "http://192.0.2.1:8000"}}
	if _, err := client.Ask(t.Context(), question); err == nil || !strings.Contains(err.Error(), "not of this host") {
		t.Errorf("another host: %v", err)
	}
	// The proxy of the environment is not for questions to this host.
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:3128")
	t.Setenv("http_proxy", "http://192.0.2.1:3128")
	s := serve(t, "vllm")
	question.Target.Base = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if _, err := client.Ask(t.Context(), question); err != nil {
		t.Errorf("localhost: %v", err)
	}
	question.Remote = true
	if _, err := client.Ask(t.Context(), question); err != nil {
		t.Errorf("with probe_remote: %v", err)
	}
}

func TestToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-test-alice" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"data":[{"id":"m"}]}`)
	}))
	defer s.Close()
	client := probe.New(probe.Config{})
	q := probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: s.URL}, Token: func() ([]byte, error) { return []byte("sk-test-alice\n"), nil }}
	if answer, err := client.Ask(t.Context(), q); err != nil || len(answer.Models) != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
	q.Token = func() ([]byte, error) { return nil, os.ErrNotExist }
	if _, err := client.Ask(t.Context(), q); err == nil {
		t.Error("asked without the token")
	}
}

func TestParse(t *testing.T) {
	for text, wrong := range map[string]string{
		"vllm:http://127.0.0.1:8000":         "",
		"ollama:http://localhost:11434/":     "",
		"tgi:https://[::1]:8443/prefix":      "",
		"http://127.0.0.1:8000":              "kind",
		"vllm":                               "kind",
		"vlm:http://127.0.0.1:8000":          "an unknown kind",
		"vllm:ftp://127.0.0.1":               "URL",
		"vllm:http://":                       "URL",
		"vllm:http://a:b@127.0.0.1:8000":     "probe_token",
		"vllm:http://127.0.0.1:8000/?a=b":    "query",
		"vllm:http://127.0.0.1:notaport":     "URL",
		"vllm:http://127.0.0.1:8000#version": "query",
	} {
		target, err := probe.Parse(text)
		switch {
		case wrong == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)):
			t.Errorf("%s: %v", text, err)
		case wrong == "" && (!target.Loopback() || target.String() != strings.TrimSuffix(text, "/")):
			t.Errorf("%s: %+v", text, target)
		}
	}
	far := probe.Target{Kind: probe.VLLM, Base: "http://gpu.example.com"}
	if far.Loopback() || far.Port() != 80 {
		t.Errorf("%+v is of this host, or its port %d", far, far.Port())
	}
}

func TestIdentify(t *testing.T) {
	for text, want := range map[string][2]string{
		"meta-llama/Llama-3.1-8B-Instruct": {"hf:meta-llama/Llama-3.1-8B-Instruct", ""},
		"/models/llama":                    {"file:/models/llama", ""},
		"/root/.cache/huggingface/hub/models--meta-llama--Llama-3.1-8B/snapshots/" + commit + "/": {"hf:meta-llama/Llama-3.1-8B", commit},
		"/cache/models--gpt2/snapshots/main":                                                      {"hf:gpt2", ""},
		"./models/llama":                                                                          {"", ""},
		"../a/b":                                                                                  {"", ""},
		"gpt2":                                                                                    {"", ""},
		"a/b/c":                                                                                   {"", ""},
		"":                                                                                        {"", ""},
		"http://example.com/x":                                                                    {"", ""},
		"models--":                                                                                {"", ""},
		"s3://bucket/models--a--b/snapshots/":                                                     {"hf:a/b", ""},
	} {
		if id, revision := probe.Identify(text); id != want[0] || revision != want[1] {
			t.Errorf("%s is %q %q, want %q", text, id, revision, want)
		}
	}
}

// What a server answers never makes the client panic, and what it takes of it
// is fit to be shown.
func FuzzAnswer(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) < 10 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range probe.Kinds() {
			answer, err := probe.AskOf(context.Background(), kind, []string{"a"}, data)
			if err != nil {
				continue
			}
			for _, m := range answer.Models {
				for _, text := range []string{m.Name, m.ID, m.Version, m.Revision, m.Digest, m.Adapter, m.Config, answer.Version} {
					if len(text) > 600 || strings.ContainsAny(text, "\n\r\x1b\x00") {
						t.Fatalf("%s: %q", kind, text)
					}
				}
				if m.Name == "" {
					t.Fatalf("%s: a model without a name", kind)
				}
			}
		}
	})
}

// The process behind a port of this host is the one that listens there.
func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := probe.Target{Kind: probe.VLLM, Base: "http://" + l.Addr().String()}
	process := target.Listener()
	began := probe.StartOf(t, os.Getpid())
	if d := process.First.Sub(began); process.Identity == "" || d > 50*time.Millisecond || d < -50*time.Millisecond || !process.First.Equal(process.Last) {
		t.Errorf("%+v, want a process that began at %s", process, began)
	}
	if again := target.Listener(); again.Identity != process.Identity {
		t.Errorf("%+v, then %+v", process, again)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if process := target.Listener(); process.Identity != "" {
		t.Errorf("nobody listens: %+v", process)
	}
	if process := (probe.Target{Kind: probe.VLLM, Base: "http://192.0.2.1:22"}).Listener(); process.Identity != "" {
		t.Errorf("another host: %+v", process)
	}
}
