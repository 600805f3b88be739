// Package webtest is what the tests of inputs over HTTP share: a sender that
// repeats what was not answered, and requests by hand.
package webtest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Socket returns the path of a socket in a directory of its own, which is
// short enough for a socket everywhere.
func Socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "auditail") //nolint:usetesting // the names of t.TempDir are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "in.sock")
}

// Client returns a client whose requests all go to one socket.
func Client(t testing.TB, socket string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Send sends a request and reads the answer.
func Send(client *http.Client, r *http.Request) (Answer, error) {
	response, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return Answer{response.StatusCode, response.Header, string(body)}, err
}

// Post returns a request of a body.
func Post(t testing.TB, path, contentType string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://auditail"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// Sender hands over lines one request after the other, each again until it is
// answered with 200.
type Sender struct {
	client *http.Client
	path   string
	encode func(lines []string) (contentType string, body []byte)

	mu     sync.Mutex
	queue  [][]string
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// NewSender starts a sender that stops at the end of the test.
func NewSender(t testing.TB, socket, path string, encode func(lines []string) (string, []byte)) *Sender {
	s := &Sender{client: Client(t, socket), path: path, encode: encode, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ended.Go(s.run)
	t.Cleanup(func() {
		s.cancel()
		s.ended.Wait()
	})
	return s
}

// Feed implements what inputstest.Subject asks of a source.
func (s *Sender) Feed(_ testing.TB, lines []string) {
	const perRequest = 100
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(lines) > 0 {
		n := min(perRequest, len(lines))
		s.queue = append(s.queue, lines[:n])
		lines = lines[n:]
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sender) next() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	lines := s.queue[0]
	s.queue = s.queue[1:]
	return lines
}

func (s *Sender) run() {
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		lines := s.next()
		if lines == nil {
			select {
			case <-s.wake:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		for !s.post(lines) {
			select {
			case <-again.C:
			case <-s.ctx.Done():
				return
			}
		}
	}
}

func (s *Sender) post(lines []string) bool {
	contentType, body := s.encode(lines)
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "http://auditail"+s.path, bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := Send(s.client, r)
	return err == nil && answer.Status == http.StatusOK
}

// Await asks again and again until ok and fails the test when that takes more
// than ten seconds.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("%s: not within ten seconds; goroutines:\n%s", what, stacks())
		}
	}
}

// Goroutines counts the goroutines in whose stacks the name of a function or a
// package stands.
func Goroutines(name string) int {
	count := 0
	for _, stack := range strings.Split(stacks(), "\n\n")[1:] { // the first is this one
		if strings.Contains(stack, name) {
			count++
		}
	}
	return count
}

// NoneLeft fails the test when goroutines with one of the names run on.
func NoneLeft(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		Await(t, "goroutines of "+name+" end", func() bool { return Goroutines(name) == 0 })
	}
}

func stacks() string {
	all := make([]byte, 1<<20)
	return string(all[:runtime.Stack(all, true)])
}
