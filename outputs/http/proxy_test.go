package httpoutput_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/certtest"
	"github.com/auditail/auditail/seal/sealtest"
)

// childEnv makes a test process that this one starts ship through a proxy: what the
// environment says of proxies is read once in the life of a process.
const childEnv = "AUDITAIL_TEST_PROXIED"

// connectProxy is a forward proxy (RFC 9110, section 9.3.6) that leads every name to
// one server, as the resolver of a closed network would.
type connectProxy struct {
	server string

	mu    sync.Mutex
	asked []string
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	up, err := new(net.Dialer).DialContext(r.Context(), "tcp", p.server)
	if err != nil {
		panic(err)
	}
	defer up.Close()
	down, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer down.Close()
	io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { io.Copy(up, down); up.Close() })
	both.Go(func() { io.Copy(down, up); down.Close() })
	both.Wait()
}

// TestProxy: where the environment names a proxy, batches go through it, by its
// CONNECT: the proxy sees a name and bytes, and TLS ends at the server.
func TestProxy(t *testing.T) {
	if url := os.Getenv(childEnv); url != "" {
		s := &store{central: true}
		c := s.config()
		c.URL, c.CAFile, c.Timeout = url, os.Getenv(childEnv+"_CA"), 20*time.Second
		e := sealtest.New(t, sealtest.Config{})
		if _, err := newOutput(t, c).Ship(t.Context(), e.Open()); err != nil {
			t.Fatal(err)
		}
		return
	}
	ours := certtest.New(t, "ours")
	ca := ours.Write(t, t.TempDir(), "ca")
	s := &store{central: true, files: make(map[string][]byte)}
	server := listen(t, ours, s, time.Now().Add(time.Hour), nil)
	at := strings.TrimPrefix(server.URL, "https://")
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	p := &connectProxy{server: at}
	proxy := httptest.NewServer(p)
	defer proxy.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$", "-test.count=1")
	child.Env = append(os.Environ(), "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", childEnv+"=https://"+proxiedName+":"+port+"/base", childEnv+"_CA="+ca)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(p.asked) == 0 || p.asked[0] != "CONNECT "+proxiedName+":"+port {
		t.Errorf("the proxy was asked %q", p.asked)
	}
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	if len(s.files) != len(e.Files) {
		t.Errorf("%d files are stored, want %d", len(s.files), len(e.Files))
	}
}
