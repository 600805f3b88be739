package httpoutput_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/certtest"
	httpoutput "github.com/auditail/auditail/outputs/http"
	"github.com/auditail/auditail/seal/sealtest"
)

// proxiedName is in every certificate beside the loopback address: what a proxy, and
// no resolver, knows.
const proxiedName = "central.example"

// listen serves a store over TLS on loopback with a certificate of an authority.
func listen(t *testing.T, by *certtest.Authority, s *store, end time.Time, clients *certtest.Authority) *httptest.Server {
	t.Helper()
	pair := by.Issue(t, "server", certtest.Until(end), certtest.For(proxiedName)).TLS(t)
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // refused handshakes are what tests are about
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newOutput(t *testing.T, c httpoutput.Config) *httpoutput.Output {
	t.Helper()
	o, err := httpoutput.New(c, httpoutput.Deps{Agent: "gpu-07", Version: "0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// TestTLS ships over real sockets, HTTP/2 and mutual TLS, and goes on when all
// files are replaced.
func TestTLS(t *testing.T) {
	old, renewed := certtest.New(t, "old"), certtest.New(t, "renewed")
	s := &store{central: true, files: make(map[string][]byte)}
	end := time.Now().Add(time.Hour)
	before, after := listen(t, old, s, end, old), listen(t, renewed, s, end, renewed)

	dir := t.TempDir()
	c := s.config()
	c.CAFile, c.CertFile, c.KeyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	install := func(a *certtest.Authority) {
		a.Write(t, dir, "ca")
		a.Issue(t, "gpu-07").Write(t, dir, "client")
	}
	install(old)
	c.URL = before.URL + "/base"
	o := newOutput(t, c)
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(20), sealtest.WithPayload(func([]byte) []byte { return make([]byte, 1<<20) }))
	for _, b := range e.Batches {
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.seen {
		if r.ProtoMajor != 2 {
			t.Errorf("%s came over %s", r.URL.Path, r.Proto)
		}
	}
	if len(s.files) != len(e.Files) {
		t.Errorf("%d files are stored, want %d", len(s.files), len(e.Files))
	}

	// The same output, moved to the server of another authority.
	c.URL = after.URL + "/base"
	o = newOutput(t, c)
	err := o.Probe(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("probe a server of an unknown authority: %v", err)
	}
	install(renewed)
	if err = o.Probe(t.Context()); err != nil {
		t.Errorf("probe after the files were replaced: %v", err)
	}
	write(t, c.KeyFile, []byte("half a k"))
	if err = o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "load client certificate") {
		t.Errorf("probe with half a key: %v", err)
	}
	if err = os.Remove(c.CAFile); err != nil {
		t.Fatal(err)
	}
	if err = o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "ca.pem") {
		t.Errorf("probe without ca_file: %v", err)
	}
	install(renewed)
	if err = o.Probe(t.Context()); err != nil {
		t.Errorf("probe after all came back: %v", err)
	}
}

// TestWrongCertificate: each is one clear sentence, and nothing is sent.
func TestWrongCertificate(t *testing.T) {
	ours, theirs := certtest.New(t, "ours"), certtest.New(t, "theirs")
	ca := ours.Write(t, t.TempDir(), "ca")
	hour := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		authority *certtest.Authority
		clients   *certtest.Authority
		end       time.Time
		host      string
		text      string
	}{
		"unknown authority":     {theirs, nil, hour, "127.0.0.1", "unknown authority; set ca_file"},
		"expired":               {ours, nil, time.Now().Add(-time.Hour), "127.0.0.1", "expired"},
		"other host":            {ours, nil, hour, "localhost", "valid for central.example, not localhost"},
		"no client certificate": {ours, ours, hour, "127.0.0.1", ""}, // the server may hang up before its reason is read,
	} {
		t.Run(name, func(t *testing.T) {
			s := &store{central: true, files: make(map[string][]byte)}
			server := listen(t, test.authority, s, test.end, test.clients)
			c := s.config()
			c.URL, c.CAFile = strings.Replace(server.URL, "127.0.0.1", test.host, 1)+"/base", ca
			err := newOutput(t, c).Probe(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("probe: %v, want %q", err, test.text)
			}
			if len(s.seen) != 0 {
				t.Errorf("%d requests were sent", len(s.seen))
			}
		})
	}
}

// TestNew: a wrong configuration is one sentence at the start.
func TestNew(t *testing.T) {
	dir := t.TempDir()
	empty, absent := filepath.Join(dir, "empty.pem"), filepath.Join(dir, "absent.pem")
	write(t, empty, nil)
	for name, test := range map[string]struct {
		config httpoutput.Config
		agent  string
		text   string
	}{
		"https":               {httpoutput.Config{URL: "https://audit.example.com"}, "gpu-07", ""},
		"path and port":       {httpoutput.Config{URL: "https://audit.example.com:8443/a/b/"}, "gpu-07", ""},
		"loopback":            {httpoutput.Config{URL: "http://127.0.0.1:8080"}, "gpu-07", ""},
		"loopback 6":          {httpoutput.Config{URL: "http://[::1]:8080"}, "gpu-07", ""},
		"localhost":           {httpoutput.Config{URL: "http://localhost:8080"}, "gpu-07", ""},
		"plain":               {httpoutput.Config{URL: "http://audit.example.com"}, "gpu-07", "use https"},
		"plain, like a local": {httpoutput.Config{URL: "http://localhost.example.com"}, "gpu-07", "use https"},
		"password":            {httpoutput.Config{URL: "https://me:secret@audit.example.com"}, "gpu-07", "use token"},
		"password, broken":    {httpoutput.Config{URL: "https://me:secret@audit.example.com:port"}, "gpu-07", "not valid"},
		"no scheme":           {httpoutput.Config{URL: "audit.example.com"}, "gpu-07", "https://host"},
		"other scheme":        {httpoutput.Config{URL: "ftp://audit.example.com"}, "gpu-07", "must begin with https://"},
		"query":               {httpoutput.Config{URL: "https://audit.example.com?a=b"}, "gpu-07", "https://host"},
		"empty":               {httpoutput.Config{}, "gpu-07", "https://host"},
		"agent":               {httpoutput.Config{URL: "https://audit.example.com"}, "../other", "not the name of an agent"},
		"timeout":             {httpoutput.Config{URL: "https://audit.example.com", Timeout: -1}, "gpu-07", "negative"},
		"key alone":           {httpoutput.Config{URL: "https://audit.example.com", KeyFile: empty}, "gpu-07", "both cert_file and key_file"},
		"no key in file":      {httpoutput.Config{URL: "https://audit.example.com", KeyFile: empty, CertFile: empty}, "gpu-07", "load client certificate"},
		"ca absent":           {httpoutput.Config{URL: "https://audit.example.com", CAFile: absent}, "gpu-07", "absent.pem"},
		"ca empty":            {httpoutput.Config{URL: "https://audit.example.com", CAFile: empty}, "gpu-07", "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Name = "central"
			_, err := httpoutput.New(test.config, httpoutput.Deps{Agent: test.agent})
			if test.text == "" && err != nil || test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)) {
				t.Fatalf("new: %v, want %q", err, test.text)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "output central: ") || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// TestClosedPort: nobody listens, then somebody does.
func TestClosedPort(t *testing.T) {
	s := &store{central: true, files: make(map[string][]byte)}
	server := httptest.NewUnstartedServer(s)
	address := server.Listener.Addr().String()
	server.Listener.Close()
	c := s.config()
	c.URL = "http://" + address + "/base"
	o := newOutput(t, c)
	if err := o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("probe a closed port: %v", err)
	}
	b := sealtest.New(t, sealtest.Config{}).Open()
	shipped := make(chan error, 1)
	go func() {
		_, err := o.Ship(t.Context(), b)
		shipped <- err
	}()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	defer server.Close()
	if err = <-shipped; err != nil {
		t.Error(err)
	}
	if len(s.files) != len(b.Objects) {
		t.Errorf("%d files are stored, want %d", len(s.files), len(b.Objects))
	}
}
