package httpoutput_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditail/auditail/internal/loghead"
	"github.com/auditail/auditail/outputs"
	httpoutput "github.com/auditail/auditail/outputs/http"
	"github.com/auditail/auditail/outputs/outputstest"
	"github.com/auditail/auditail/seal"
)

func TestConformance(t *testing.T) {
	t.Run("central", func(t *testing.T) {
		outputstest.Run(t, func(t *testing.T) outputstest.Destination { return newStore(t, true) })
	})
	t.Run("plain", func(t *testing.T) {
		outputstest.Run(t, func(t *testing.T) outputstest.Destination { return newStore(t, false) })
	})
}

const token = "secret-token.of~gpu-07=="

// store is a server in memory. It speaks the central protocol or, when not
// central, as any server that knows conditional PUT: 412 for every taken name.
type store struct {
	central   bool
	transport *http.Transport

	mu     sync.Mutex
	files  map[string][]byte
	order  []string
	faults []http.HandlerFunc // answer the next requests in place of the store
	always http.HandlerFunc   // answers all requests that no fault does
	after  http.HandlerFunc   // answers the next request that stored something
	seen   []*http.Request
}

func newStore(t *testing.T, central bool) *store {
	t.Helper()
	s := &store{central: central, files: make(map[string][]byte)}
	s.transport = serve(t, s)
	return s
}

// serve runs a handler behind connections in memory, which a synctest bubble
// can wait for, and returns a transport that reaches it and nothing else.
func serve(t *testing.T, h http.Handler) *http.Transport {
	t.Helper()
	l := &pipeListener{accepting: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	server := &http.Server{Handler: h, BaseContext: func(net.Listener) context.Context { return ctx }}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	transport := &http.Transport{DialContext: l.dial, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel() // for handlers that hang
		server.Close()
		serving.Wait()
	})
	return transport
}

type pipeListener struct {
	accepting chan net.Conn
	closed    chan struct{}
	once      sync.Once
	dialed    atomic.Int64
}

// numbered tells connections apart.
type numbered struct {
	net.Conn
	number int64
}

func (n numbered) RemoteAddr() net.Addr {
	return &net.UnixAddr{Name: fmt.Sprint("client ", n.number), Net: "memory"}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.accepting <- numbered{far, l.dialed.Add(1)}:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepting:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

func (s *store) config() httpoutput.Config {
	return httpoutput.Config{
		Name: "central", URL: "http://127.0.0.1:1/base/",
		Token: func() ([]byte, error) { return []byte(token + "\n"), nil },
	}
}

func (s *store) Start(t *testing.T) outputs.Output {
	t.Helper()
	return s.start(t, s.config(), httpoutput.Deps{})
}

func (s *store) start(t *testing.T, c httpoutput.Config, d httpoutput.Deps) *httpoutput.Output {
	t.Helper()
	d.Agent, d.Version, d.Transport = "gpu-07", "0.1.0", s.transport
	o, err := httpoutput.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (s *store) Files(*testing.T) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.files)
}

func (s *store) Order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.order...)
}

func (s *store) Plant(_ *testing.T, path string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
}

func (s *store) Break(f outputstest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == outputstest.Unreported {
		s.after = hangUp
		return
	}
	s.faults = append(s.faults, hangUp)
}

func (s *store) Away(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = nil
	if away {
		s.always = status(http.StatusBadGateway)
	}
}

// fail lets handlers answer the next requests.
func (s *store) fail(faults ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func problem(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r)
	var instead http.HandlerFunc
	if len(s.faults) > 0 {
		instead, s.faults = s.faults[0], s.faults[1:]
	} else {
		instead = s.always
	}
	s.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/base/v1/objects/")
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Header.Get("Authorization") != "Bearer "+token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodPut:
		s.put(w, r, path)
	case s.central && strings.HasSuffix(path, "/head"):
		s.head(w, path)
	case r.Method == http.MethodGet:
		s.get(w, path)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// head answers as auditail-server does, for the one log that is here.
func (s *store) head(w http.ResponseWriter, path string) {
	agent, epoch, _ := loghead.ParsePath(path)
	origin := seal.Origin{Log: seal.Log{Organization: "audit.example.com/acme", Agent: agent}, Epoch: epoch}
	s.mu.Lock()
	defer s.mu.Unlock()
	var tree seal.Tree
	for file := s.files[origin.ManifestPath(0)]; file != nil; file = s.files[origin.ManifestPath(tree.Size())] {
		tree.Add(seal.LeafHash(file))
	}
	w.Header().Set("Content-Type", loghead.Type)
	io.WriteString(w, loghead.Format(origin, seal.Head{Size: tree.Size(), Root: tree.Root()}))
}

func (s *store) get(w http.ResponseWriter, path string) {
	s.mu.Lock()
	content, ok := s.files[path]
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(content)
}

func (s *store) put(w http.ResponseWriter, r *http.Request, path string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // cut upload
	}
	if reason := wrongRequest(r, path, body); s.central && reason != "" {
		problem(http.StatusUnprocessableEntity, `{"title":"`+reason+`"}`)(w, r)
		return
	}
	s.mu.Lock()
	found, there := s.files[path]
	var after http.HandlerFunc
	if !there {
		s.files[path] = body
		s.order = append(s.order, path)
		after, s.after = s.after, nil
	}
	s.mu.Unlock()
	switch {
	case after != nil:
		after(w, r)
	case !there:
		w.WriteHeader(http.StatusCreated)
	case !s.central:
		w.WriteHeader(http.StatusPreconditionFailed)
	case sameStored(path, found, body):
		w.WriteHeader(http.StatusOK)
	default:
		problem(http.StatusConflict, `{"title":"fork"}`)(w, r)
	}
}

// sameStored is what a central server takes for a repeat.
func sameStored(path string, found, body []byte) bool {
	name, err := seal.ParsePath(path)
	if err == nil && name.Kind == seal.CheckpointObject {
		a, errA := seal.SplitNote(found)
		b, errB := seal.SplitNote(body)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	}
	return bytes.Equal(found, body)
}

// wrongRequest checks what the central protocol demands of a PUT.
func wrongRequest(r *http.Request, path string, body []byte) string {
	digest := sha256.Sum256(body)
	manifest, err := base64.StdEncoding.DecodeString(r.Header.Get("Auditail-Manifest"))
	name, pathErr := seal.ParsePath(path)
	switch {
	case pathErr != nil:
		return "path"
	case r.Header.Get("If-None-Match") != "*":
		return "if-none-match"
	case r.Header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":":
		return "repr-digest"
	case r.ContentLength != int64(len(body)):
		return "content-length"
	case r.Header.Get("User-Agent") != "auditail/0.1.0":
		return "user-agent"
	case err != nil || (len(manifest) > 0) != (name.Kind == seal.PayloadObject):
		return "auditail-manifest"
	case name.Kind == seal.PayloadObject && !bytes.Contains(manifest, []byte("  "+path+"\n")):
		return "manifest of another batch"
	case (name.Kind == seal.PayloadObject) != (r.Header.Get("Content-Type") == "application/zstd"):
		return "content-type"
	}
	return ""
}
