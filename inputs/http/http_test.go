package httpinput

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/inputs/internal/listen"
	"github.com/auditail/auditail/inputs/internal/web"
	"github.com/auditail/auditail/inputs/internal/web/webtest"
)

// quick are limits that end within a test what nothing else ends.
func quick() web.Limits {
	limits := web.DefaultLimits(web.DefaultMaxBody)
	limits.Grace = 100 * time.Millisecond
	return limits
}

// start runs an input on a socket and returns a client of it.
func start(t *testing.T, config Config, limits web.Limits, to *inputstest.Recorder) (*http.Client, *inputstest.Running) {
	t.Helper()
	socket := webtest.Socket(t)
	config.Name, config.Listen = "app", "unix:"+socket
	ready := make(chan struct{})
	in, err := web.New(config, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), limits, func(net.Addr) { close(ready) })
	if err != nil {
		t.Fatal(err)
	}
	running := inputstest.Start(t, in, to)
	<-ready
	return webtest.Client(t, socket), running
}

func send(t *testing.T, client *http.Client, r *http.Request) webtest.Answer {
	t.Helper()
	answer, err := webtest.Send(client, r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// problem is the answer that a refusal must have.
func problem(t *testing.T, answer webtest.Answer, status int) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(answer.Body), &p); err != nil {
		t.Fatalf("%d %s: %v", answer.Status, answer.Body, err)
	}
	if answer.Status != status || p.Status != status || p.Title == "" || p.Detail == "" ||
		answer.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %v %s, want a problem with status %d", answer.Status, answer.Header, answer.Body, status)
	}
}

func TestConformance(t *testing.T) {
	inputstest.Test(t, func(t testing.TB) inputstest.Subject {
		socket := webtest.Socket(t)
		sender := webtest.NewSender(t, socket, "/", func(lines []string) (string, []byte) {
			return "application/x-ndjson", []byte(strings.Join(lines, "\n") + "\n")
		})
		return inputstest.Subject{
			Memory: inputstest.Repeats,
			Feed:   sender.Feed,
			New: func(t testing.TB) inputs.Input {
				in, err := web.New(Config{Name: "app", Listen: "unix:" + socket}, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), quick(), nil)
				if err != nil {
					t.Fatal(err)
				}
				return in
			},
		}
	})
}

func TestBodies(t *testing.T) {
	for _, test := range []struct {
		name, contentType, body string
		want                    []string
	}{
		{"lines", "application/x-ndjson", "{\"a\":1}\n{\"b\":2}\r\n", []string{`{"a":1}`, `{"b":2}`}},
		{"no end", "text/plain; charset=utf-8", "one\ntwo", []string{"one", "two"}},
		{"empty lines count", "text/plain", "one\n\n", []string{"one", ""}},
		{"nothing", "text/plain", "", nil},
		{"object", "application/json", "{ \"a\" : 1,\n \"a\" : \"x, y\" }\n", []string{`{"a":1,"a":"x, y"}`}},
		{"array", "application/json", `[ {"a":[1,{"b":"],["}]} , {"c":"\"},{"} ]`, []string{`{"a":[1,{"b":"],["}]}`, `{"c":"\"},{"}`}},
		{"empty array", "application/json", "[]", nil},
		{"invalid UTF-8 stays", "application/json", "[{\"a\":\"\xff\"}]", []string{"{\"a\":\"\xff\"}"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := inputstest.NewRecorder(t)
			client, running := start(t, Config{}, quick(), to)
			answer := send(t, client, webtest.Post(t, "/", test.contentType, []byte(test.body)))
			if want := fmt.Sprintf("{\"accepted\":%d}\n", len(test.want)); answer.Status != http.StatusOK || answer.Body != want {
				t.Errorf("answered %d %s, want 200 %s", answer.Status, answer.Body, want)
			}
			to.Same(test.want) // at once: 200 says durable
			running.Stop()
		})
	}
}

func TestEncodings(t *testing.T) {
	text := []byte(strings.Repeat("the same line\n", 1000))
	compressed := map[string][]byte{"identity": text}
	var gz, zl bytes.Buffer
	g, z := gzip.NewWriter(&gz), zlib.NewWriter(&zl)
	for _, w := range []interface {
		Write(b []byte) (int, error)
		Close() error
	}{g, z} {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	compressed["gzip"], compressed["deflate"] = gz.Bytes(), zl.Bytes()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	compressed["zstd"] = encoder.EncodeAll(text, nil)
	to := inputstest.NewRecorder(t)
	client, running := start(t, Config{MaxBody: int64(len(text))}, quick(), to)
	for encoding, body := range compressed {
		r := webtest.Post(t, "/", "text/plain", body)
		r.Header.Set("Content-Encoding", encoding)
		if answer := send(t, client, r); answer.Status != http.StatusOK || answer.Body != "{\"accepted\":1000}\n" {
			t.Errorf("%s: answered %d %s", encoding, answer.Status, answer.Body)
		}
		if encoding == "identity" {
			continue
		}
		damaged := webtest.Post(t, "/", "text/plain", append([]byte("no"), body...))
		damaged.Header.Set("Content-Encoding", encoding)
		problem(t, send(t, client, damaged), http.StatusBadRequest)
		torn := webtest.Post(t, "/", "text/plain", body[:len(body)/2])
		torn.Header.Set("Content-Encoding", encoding)
		problem(t, send(t, client, torn), http.StatusBadRequest)
	}
	running.Stop()
	if n := to.Count(); n != 4000 {
		t.Errorf("%d lines are durable, want 4000", n)
	}
}

func TestDecompressedSizeIsBounded(t *testing.T) {
	bomb := make([]byte, 8<<20)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(bomb); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	to := inputstest.NewRecorder(t)
	client, running := start(t, Config{MaxBody: 1 << 20}, quick(), to)
	for encoding, body := range map[string][]byte{"gzip": gz.Bytes(), "zstd": encoder.EncodeAll(bomb, nil)} {
		r := webtest.Post(t, "/", "text/plain", body)
		r.Header.Set("Content-Encoding", encoding)
		problem(t, send(t, client, r), http.StatusRequestEntityTooLarge)
	}
	running.Stop()
	to.Same(nil)
}

func TestRefusals(t *testing.T) {
	to := inputstest.NewRecorder(t)
	config := Config{Path: "/in", MaxBody: 1 << 20, Token: func() ([]byte, error) { return []byte("right\n"), nil }}
	client, running := start(t, config, quick(), to)
	for name, test := range map[string]struct {
		status int
		change func(r *http.Request)
	}{
		"path":         {http.StatusNotFound, func(r *http.Request) { r.URL.Path = "/" }},
		"method":       {http.StatusMethodNotAllowed, func(r *http.Request) { r.Method = http.MethodGet }},
		"page":         {http.StatusForbidden, func(r *http.Request) { r.Header.Set("Origin", "null") }},
		"fetch":        {http.StatusForbidden, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }},
		"no token":     {http.StatusUnauthorized, func(r *http.Request) { r.Header.Del("Authorization") }},
		"wrong token":  {http.StatusUnauthorized, func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") }},
		"empty token":  {http.StatusUnauthorized, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }},
		"other scheme": {http.StatusUnauthorized, func(r *http.Request) { r.SetBasicAuth("right", "right") }},
		"form":         {http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
		"no type":      {http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Del("Content-Type") }},
		"charset":      {http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; charset=utf-16") }},
		"encoding":     {http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Set("Content-Encoding", "br") }},
		"two":          {http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip, gzip") }},
		"not JSON":     {http.StatusBadRequest, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }},
	} {
		r := webtest.Post(t, "/in", "text/plain", []byte("one\n"))
		r.Header.Set("Authorization", "Bearer right")
		test.change(r)
		answer := send(t, client, r)
		t.Log(name, answer.Body)
		problem(t, answer, test.status)
		switch {
		case test.status == http.StatusUnauthorized && answer.Header.Get("WWW-Authenticate") == "":
			t.Errorf("%s: no WWW-Authenticate", name)
		case test.status == http.StatusMethodNotAllowed && answer.Header.Get("Allow") != "POST":
			t.Errorf("%s: Allow is %q", name, answer.Header.Get("Allow"))
		}
	}
	for _, body := range []string{"", "1", `"a"`, "[1]", `[{},null]`, `{} {}`, "[{}", "null"} {
		r := webtest.Post(t, "/in", "application/json", []byte(body))
		r.Header.Set("Authorization", "bearer right")
		problem(t, send(t, client, r), http.StatusBadRequest)
	}
	large := webtest.Post(t, "/in", "text/plain", make([]byte, 1<<20+1))
	large.Header.Set("Authorization", "Bearer right")
	problem(t, send(t, client, large), http.StatusRequestEntityTooLarge)
	unsized := webtest.Post(t, "/in", "text/plain", make([]byte, 1<<20+1))
	unsized.Header.Set("Authorization", "Bearer right")
	unsized.ContentLength = -1
	problem(t, send(t, client, unsized), http.StatusRequestEntityTooLarge)
	running.Stop()
	to.Same(nil)
}

func TestTokenThatCanNotBeReadRefusesAll(t *testing.T) {
	for name, token := range map[string]func() ([]byte, error){
		"error": func() ([]byte, error) { return nil, errors.New("no such file") },
		"empty": func() ([]byte, error) { return []byte("\n"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			to := inputstest.NewRecorder(t)
			client, running := start(t, Config{Token: token}, quick(), to)
			r := webtest.Post(t, "/", "text/plain", []byte("one\n"))
			r.Header.Set("Authorization", "Bearer ")
			problem(t, send(t, client, r), http.StatusServiceUnavailable)
			running.Stop()
			to.Same(nil)
		})
	}
}

func TestLongLineIsCut(t *testing.T) {
	to := inputstest.NewRecorder(t)
	client, running := start(t, Config{MaxLine: 256}, quick(), to)
	long := strings.Repeat("x", 1000)
	send(t, client, webtest.Post(t, "/", "text/plain", []byte("short\n"+long+"\nshort\n")))
	running.Stop()
	lines := to.Lines()
	if len(lines) != 3 || lines[1].Data != long[:256] || lines[1].Cut == nil ||
		lines[1].Cut.Length != 1000 || lines[1].Cut.SHA256 != sha256.Sum256([]byte(long)) {
		t.Errorf("durable are %+v", lines)
	}
}

// TestFullBuffer: nothing of a request that is answered with 429 is ever
// written, also when the buffer has space again.
func TestFullBuffer(t *testing.T) {
	to := inputstest.NewRecorder(t)
	entered, release := make(chan struct{}), make(chan struct{})
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	limits := quick()
	limits.Patience, limits.Waiting = 20*time.Millisecond, 600<<10
	client, running := start(t, Config{}, limits, to)
	first := make(chan webtest.Answer, 1)
	request := webtest.Post(t, "/", "text/plain", []byte("first\n"))
	go func() {
		answer, err := webtest.Send(client, request)
		if err != nil {
			t.Error(err)
		}
		first <- answer
	}()
	<-entered
	for _, body := range []string{"waits too long\n", strings.Repeat("too much\n", 300)} {
		answer := send(t, client, webtest.Post(t, "/", "text/plain", []byte(body)))
		problem(t, answer, http.StatusTooManyRequests)
		if answer.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	close(release)
	if answer := <-first; answer.Status != http.StatusOK {
		t.Errorf("the first request was answered with %d", answer.Status)
	}
	if answer := send(t, client, webtest.Post(t, "/", "text/plain", []byte("last\n"))); answer.Status != http.StatusOK {
		t.Errorf("with space again the answer is %d %s", answer.Status, answer.Body)
	}
	// More than there is memory for, even with nothing else waiting.
	problem(t, send(t, client, webtest.Post(t, "/", "text/plain", []byte(strings.Repeat("\n", 10_000)))), http.StatusRequestEntityTooLarge)
	running.Stop()
	to.Same([]string{"first", "last"})
}

// TestRoomIsGivenBack: whatever became of a request, what it took is free again.
func TestRoomIsGivenBack(t *testing.T) {
	to := inputstest.NewRecorder(t)
	limits := quick()
	limits.Waiting = 1 << 20
	client, running := start(t, Config{}, limits, to)
	body := []byte(`[{"a":"` + strings.Repeat("x", 60<<10) + `"}]`)
	for range 20 {
		if answer := send(t, client, webtest.Post(t, "/", "application/json", body)); answer.Status != http.StatusOK {
			t.Fatalf("answered %d %s", answer.Status, answer.Body)
		}
		problem(t, send(t, client, webtest.Post(t, "/", "application/json", body[1:])), http.StatusBadRequest)
	}
	running.Stop()
	if to.Count() != 20 {
		t.Errorf("%d lines are durable, want 20", to.Count())
	}
}

// TestClientGone: a client that gave up before its lines were taken leaves none.
func TestClientGone(t *testing.T) {
	to := inputstest.NewRecorder(t)
	entered, release := make(chan struct{}), make(chan struct{})
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	socket := webtest.Socket(t)
	in, err := web.New(Config{Name: "app", Listen: "unix:" + socket}, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), quick(), nil)
	if err != nil {
		t.Fatal(err)
	}
	running := inputstest.Start(t, in, to)
	sender := webtest.NewSender(t, socket, "/", func(lines []string) (string, []byte) {
		return "text/plain", []byte(strings.Join(lines, "\n"))
	})
	sender.Feed(t, []string{"first"})
	<-entered
	client := webtest.Client(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := webtest.Send(client, webtest.Post(t, "/", "text/plain", []byte("given up")).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the client got %v", err)
	}
	webtest.Await(t, "the server notices", func() bool { return webtest.Goroutines("web.(*handler).take") == 1 })
	close(release)
	to.WaitLines(1)
	sender.Feed(t, []string{"last"})
	to.WaitLines(2)
	running.Stop()
	to.Same([]string{"first", "last"})
}

// TestFatalAppendEndsRun: the sender is told to come again and Run returns.
func TestFatalAppendEndsRun(t *testing.T) {
	broken := errors.New("the disk is broken")
	to := inputstest.NewRecorder(t)
	to.Before(func(int, inputs.Chunk) error { return broken })
	client, running := start(t, Config{}, quick(), to)
	answer := send(t, client, webtest.Post(t, "/", "text/plain", []byte("one\n")))
	problem(t, answer, http.StatusServiceUnavailable)
	if strings.Contains(answer.Body, "disk") || answer.Header.Get("Retry-After") == "" {
		t.Errorf("answered %v %s", answer.Header, answer.Body)
	}
	if err := running.Result(); !errors.Is(err, broken) {
		t.Errorf("Run returned %v", err)
	}
}

// TestStopAnswersWhatIsInFlight: a request whose lines are being written when
// the input stops gets its 200.
func TestStopAnswersWhatIsInFlight(t *testing.T) {
	to := inputstest.NewRecorder(t)
	entered, release := make(chan struct{}), make(chan struct{})
	to.Before(func(int, inputs.Chunk) error {
		close(entered)
		<-release
		return nil
	})
	limits := quick()
	limits.Grace = time.Minute
	socket := webtest.Socket(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	ready := make(chan struct{})
	in, err := web.New(Config{Name: "app", Listen: "unix:" + socket}, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), limits, func(net.Addr) { close(ready) })
	if err != nil {
		t.Fatal(err)
	}
	go func() { result <- in.Run(ctx, nil, to) }()
	<-ready
	client := webtest.Client(t, socket)
	answered := make(chan webtest.Answer, 1)
	request := webtest.Post(t, "/", "text/plain", []byte("one\n"))
	go func() {
		answer, err := webtest.Send(client, request)
		if err != nil {
			t.Error(err)
		}
		answered <- answer
	}()
	<-entered
	cancel()
	close(release)
	if answer := <-answered; answer.Status != http.StatusOK {
		t.Errorf("answered %d %s", answer.Status, answer.Body)
	}
	if err := <-result; err != nil {
		t.Errorf("Run returned %v", err)
	}
	to.Same([]string{"one"})
	client.CloseIdleConnections()
	webtest.NoneLeft(t, "internal/web.", "internal/pushed.", "net/http.(*Server)")
}

// TestSlowBodyIsCutOff: nothing of it is taken, and a retry is asked for.
func TestSlowBodyIsCutOff(t *testing.T) {
	to := inputstest.NewRecorder(t)
	limits := quick()
	limits.Pause = 20 * time.Millisecond
	client, running := start(t, Config{}, limits, to)
	never, end := io.Pipe()
	defer end.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://auditail/", io.MultiReader(strings.NewReader("one\n"), never))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain")
	answer := send(t, client, r)
	problem(t, answer, http.StatusServiceUnavailable)
	if answer.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	running.Stop()
	to.Same(nil)
}

func TestConfig(t *testing.T) {
	token := func() ([]byte, error) { return []byte("x"), nil }
	pair := listen.TLS{Cert: "c", Key: "k"}
	for _, test := range []struct {
		config Config
		want   string // part of the error, empty for none
	}{
		{Config{}, "name is missing"},
		{Config{Name: "a"}, ""},
		{Config{Name: "a", Listen: "unix:/run/in.sock", Path: "/x"}, ""},
		{Config{Name: "a", Listen: "udp:127.0.0.1:1"}, "network must be one of tcp, unix"},
		{Config{Name: "a", Listen: ":9428"}, "other hosts"},
		{Config{Name: "a", Listen: "0.0.0.0:9428", Token: token}, "other hosts"},
		{Config{Name: "a", Listen: "0.0.0.0:9428", TLS: pair}, "other hosts"},
		{Config{Name: "a", Listen: "0.0.0.0:9428", TLS: pair, Token: token}, ""},
		{Config{Name: "a", Listen: "[::]:9428", TLS: listen.TLS{Cert: "c", Key: "k", ClientCA: "ca"}}, ""},
		{Config{Name: "a", TLS: listen.TLS{ClientCA: "ca"}}, "client_ca needs"},
		{Config{Name: "a", Path: "x"}, "slash"},
		{Config{Name: "a", MaxBody: 1}, "max_body"},
		{Config{Name: "a", MaxLine: 1}, "max_line"},
	} {
		_, err := New(test.config, Deps{Logger: slog.New(slog.DiscardHandler)})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
}

// TestTLSOverTCP: the whole way in with a certificate, a token and a port.
func TestTLSOverTCP(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	dir := t.TempDir()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := listen.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, files.Key: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := Config{Name: "app", Listen: "0.0.0.0:0", TLS: files, Token: func() ([]byte, error) { return []byte("secret"), nil }}
	ready := make(chan net.Addr, 1)
	in, err := web.New(config, Deps{Logger: slog.New(slog.DiscardHandler)}, kind(), quick(), func(a net.Addr) { ready <- a })
	if err != nil {
		t.Fatal(err)
	}
	to := inputstest.NewRecorder(t)
	running := inputstest.Start(t, in, to)
	_, port, err := net.SplitHostPort((<-ready).String())
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://127.0.0.1:"+port+"/", strings.NewReader("one\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Authorization", "Bearer secret")
	if answer := send(t, server.Client(), r); answer.Status != http.StatusOK {
		t.Errorf("answered %d %s", answer.Status, answer.Body)
	}
	running.Stop()
	to.Same([]string{"one"})
	if err := os.Chmod(files.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := in.Run(t.Context(), nil, to); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("with a key that others can read Run returned %v", err)
	}
}
