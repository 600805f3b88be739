package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/certtest"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// certificate writes a certificate for 127.0.0.1 and its key, and returns who signed.
func certificate(t *testing.T, dir, name string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	authority := certtest.New(t, "authority of "+name)
	cert, key = authority.Issue(t, name).Write(t, dir, "server")
	return cert, key, authority.Pool()
}

// run runs the fixture's server on a free port until the test ends or stop is
// called, which returns what Run returned.
func (f *fixture) run() (address string, stop func() error) {
	f.t.Helper()
	f.config.Listen = "127.0.0.1:0"
	f.start()
	l, err := Listen(f.t.Context(), f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.server.Run(ctx, l) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	f.t.Cleanup(func() { stop() })
	return l.Addr().String(), stop
}

func TestRunOverTLS(t *testing.T) {
	f := newFixtureOver(t, durable.OS{})
	var pool *x509.CertPool
	f.config.TLSCert, f.config.TLSKey, pool = certificate(t, t.TempDir(), "central")
	address, stop := f.run()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2: true, ExpectContinueTimeout: time.Minute,
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	all := buildLog(f)
	for _, r := range all {
		h := r.http()
		h.RequestURI = ""
		h.URL.Scheme, h.URL.Host = "https", address
		h.Header.Set("Expect", "100-continue")
		response, err := client.Do(h)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusCreated || response.ProtoMajor != 2 {
			t.Fatalf("%s: status %d over HTTP/%d, %v: %s", r.path, response.StatusCode, response.ProtoMajor, err, body)
		}
	}
	f.wantStore(f.epoch.Files)
	transport.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestRefusalSavesTheUpload: a client that asks first is refused before it sends.
func TestRefusalSavesTheUpload(t *testing.T) {
	f := newFixture(t)
	address, _ := f.run()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	r := f.upload(f.epoch.Origin.PayloadPath(sealtest.Chat(), f.epoch.Now, 1), make([]byte, 4<<20), nil)
	r.token = "wrong"
	h := r.http()
	h.RequestURI = ""
	h.URL.Scheme, h.URL.Host = "http", address
	h.Header.Set("Expect", "100-continue")
	transport.ExpectContinueTimeout = time.Minute
	response, err := transport.RoundTrip(h)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", response.StatusCode)
	}
}

// TestStopLetsAnUploadFinish stops the server in the middle of a body.
func TestStopLetsAnUploadFinish(t *testing.T) {
	f := newFixture(t)
	address, stop := f.run()
	r := f.uploads(f.epoch.Open())[0]
	reader, writer := io.Pipe()
	h := r.http()
	h.RequestURI = ""
	h.URL.Scheme, h.URL.Host = "http", address
	h.Body = reader
	h.Header.Set("Expect", "100-continue")
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	answered := make(chan error, 1)
	go func() {
		response, err := transport.RoundTrip(h)
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusCreated {
				err = io.ErrUnexpectedEOF
			}
		}
		answered <- err
	}()
	// The server asks for the body, so it is in the middle of the request.
	if _, err := writer.Write(r.body[:10]); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until it takes no new connections
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
	}
	if _, err := writer.Write(r.body[10:]); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the upload was cut off: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	f.wantStore(map[string][]byte{r.path: r.body})
}

func TestListenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		config Config
		words  string
	}{
		"every interface in the clear": {Config{Listen: ":8443"}, "plain HTTP is for loopback"},
		"an address in the clear":      {Config{Listen: "192.0.2.1:8443"}, "plain HTTP is for loopback"},
		"a name in the clear":          {Config{Listen: "audit.example.com:8443"}, "plain HTTP is for loopback"},
		"no port":                      {Config{Listen: "127.0.0.1"}, "host:port"},
		"certificate without key":      {Config{Listen: "127.0.0.1:0", TLSCert: "c.pem"}, "go together"},
		"port in use":                  {Config{Listen: taken.Addr().String()}, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Listen(t.Context(), test.config)
			if err == nil {
				l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want one that says %q", err, test.words)
			}
		})
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0"} {
		if err := (Config{Listen: address}).checkListen(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRenewedCertificateIsUsed(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := certificate(t, dir, "old")
	f := newFixture(t)
	synctest.Test(t, func(t *testing.T) {
		files := &certificateFiles{cert: cert, key: key, logger: f.deps.Logger}
		if err := files.load(); err != nil {
			t.Fatal(err)
		}
		name := func() string {
			pair, err := files.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return pair.Leaf.Subject.CommonName
		}
		certificate(t, dir, "new")
		if err := os.Chtimes(cert, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := name(); got != "old" {
			t.Errorf("certificate %q before the next look, want old", got)
		}
		time.Sleep(certificateCheck) // of the bubble's clock
		if got := name(); got != "new" {
			t.Errorf("certificate %q, want new", got)
		}
		if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateCheck)
		if got := name(); got != "new" {
			t.Errorf("certificate %q while the file is broken, want new", got)
		}
	})
	if !strings.Contains(f.log.String(), "renewed TLS certificate can not be read") {
		t.Error("the log does not name the broken certificate")
	}
}

func TestCheck(t *testing.T) {
	f := newFixture(t)
	f.deps.Now = time.Now // certificates are made now
	f.config.Listen = "127.0.0.1:0"
	find := func(what string) Finding {
		t.Helper()
		for _, found := range Check(t.Context(), f.config, f.deps) {
			if found.What == what {
				return found
			}
		}
		t.Fatalf("no finding about %s", what)
		return Finding{}
	}
	for _, found := range Check(t.Context(), f.config, f.deps) {
		if !found.OK {
			t.Errorf("%+v", found)
		}
	}
	dir := t.TempDir()
	f.config.TLSCert, f.config.TLSKey, _ = certificate(t, dir, "central")
	if found := find("tls"); !found.OK || !strings.Contains(found.Detail, "for 127.0.0.1, until ") {
		t.Errorf("%+v", found)
	}
	f.deps.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	if found := find("tls"); found.OK || !strings.Contains(found.Detail, "expired on") {
		t.Errorf("an expired certificate: %+v", found)
	}
	f.deps.Now = time.Now
	f.config.Listen = ":0"
	if found := find("tls"); !found.OK {
		t.Errorf("%+v", found)
	}
	f.config.Listen = "127.0.0.1:0"
	if err := os.Chmod(f.config.TLSKey, 0o622); err != nil {
		t.Fatal(err)
	}
	if found := find("tls"); found.OK || !strings.Contains(found.Detail, "chmod") {
		t.Errorf("a key that others can write: %+v", found)
	}
	f.config.TLSKey = filepath.Join(dir, "none")
	if found := find("tls"); found.OK {
		t.Errorf("a missing key: %+v", found)
	}
	f.config.TLSCert, f.config.TLSKey = "", ""
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f.config.Listen = l.Addr().String()
	if found := find("listen"); found.OK || !strings.Contains(found.Detail, "in use") {
		t.Errorf("a port in use: %+v", found)
	}
	f.config.Store = filepath.Join(dir, "none")
	if found := find("directories"); found.OK {
		t.Errorf("a missing store: %+v", found)
	}
	f.config.Store = f.server.store.String()
	f.wantStore(nil)
}

// TestLeftoversAreRemoved: what a killed server was receiving is gone after the
// next start, and nothing of it was ever in the store.
func TestLeftoversAreRemoved(t *testing.T) {
	f := newFixture(t)
	left, err := f.server.incoming.receive(storeFileMode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write([]byte("half a")); err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.config.Store, probeName), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.wantStore(nil)
}

func TestStoredFilesAreReadOnly(t *testing.T) {
	f := newFixture(t)
	b := f.epoch.Open()
	f.ship(b)
	for _, o := range b.Objects {
		info, err := os.Stat(filepath.Join(f.config.Store, filepath.FromSlash(o.Path)))
		if err != nil || info.Mode().Perm()&^storeFileMode != 0 {
			t.Errorf("%s: mode %v, %v", o.Path, info.Mode(), err)
		}
	}
}

func TestReprDigest(t *testing.T) {
	const empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	for name, fields := range map[string][]string{
		"alone":        {"sha-256=:" + empty + ":"},
		"with another": {"sha-512=:AAAA:, sha-256=:" + empty + ":"},
		"two fields":   {"sha-512=:AAAA:", "sha-256=:" + empty + ":"},
	} {
		if d, err := parseReprDigest(fields); err != nil || d != seal.DigestOf(nil) {
			t.Errorf("%s: %s, %v", name, d, err)
		}
	}
	for name, fields := range map[string][]string{
		"none":       nil,
		"other":      {"sha-512=:AAAA:"},
		"open":       {"sha-256=:" + empty},
		"no colons":  {"sha-256=" + empty},
		"short":      {"sha-256=:AAAA:"},
		"not base64": {"sha-256=:" + strings.Repeat("*", 44) + ":"},
		"twice":      {"sha-256=:" + empty + ":", "sha-256=:" + empty + ":"},
	} {
		if d, err := parseReprDigest(fields); err == nil {
			t.Errorf("%s: no error, digest %s", name, d)
		}
	}
}

func TestConfigFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "server.toml")
	load := func(text string, mode os.FileMode) (Config, error) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(newFixture(t).deps.FS, name)
	}
	c, err := load("store = \"archive\"\nlisten = \":443\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\n", 0o644)
	want := DefaultConfig()
	want.Store, want.Listen, want.TLSCert, want.TLSKey = filepath.Join(dir, "archive"), ":443", "/c", "/k"
	if err != nil || c != want {
		t.Errorf("config %+v, %v; want %+v", c, err, want)
	}
	for text, words := range map[string][]string{
		"store = \"x\"\nlissten = \":1\"\n": {name + ":2:1", "unknown key lissten", "~"},
		"store = 7\n":                       {name + ":1", "~"},
		"store = \n":                        {name + ":1", "~"},
	} {
		_, err := load(text, 0o600)
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%q: error %v does not say %q", text, err, word)
			}
		}
	}
	if _, err := load("", 0o666); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a file that others can write: %v", err)
	}
	if _, err := LoadConfig(newFixture(t).deps.FS, filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file has no error")
	}
}

// TestLargePayload takes more than any buffer on the way.
func TestLargePayload(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	noise := make([]byte, 3<<20)
	rand.Read(noise)
	record := e.Record("model.inference", `"x":"`+strings.Repeat("a", 1<<20)+`"`)
	data := e.Data(sealtest.Chat(), [][]byte{record, record},
		// A skippable frame (RFC 8878, section 3.1.2) makes the file large.
		sealtest.WithPayload(func(file []byte) []byte {
			return append(append(file, 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0x30, 0), noise...)
		}))
	f.ship(data)
	f.wantStore(e.Files)
	if r := f.object(data, seal.PayloadObject); !bytes.HasSuffix(r.body, noise) {
		t.Error("the payload does not end in what was appended")
	}
}
