package syslog

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/inputs/internal/listen"
	"github.com/auditail/auditail/inputs/internal/web/webtest"
	"github.com/auditail/auditail/internal/certtest"
)

// sender writes messages to a socket, each once: again only what was not taken
// at all. It connects as often as it must.
type sender struct {
	network, path string
	frame         func(line string) []byte

	mu     sync.Mutex
	queue  []string
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func newSender(t testing.TB, network, path string, frame func(line string) []byte) *sender {
	s := &sender{network: network, path: path, frame: frame, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ended.Go(s.run)
	t.Cleanup(func() {
		s.cancel()
		s.ended.Wait()
	})
	return s
}

func (s *sender) feed(_ testing.TB, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, lines...)
	signal(s.wake)
}

func (s *sender) next() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return "", false
	}
	line := s.queue[0]
	s.queue = s.queue[1:]
	return line, true
}

func (s *sender) run() {
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	var conn net.Conn
	for {
		line, some := s.next()
		if !some {
			select {
			case <-s.wake:
				continue
			case <-s.ctx.Done():
				if conn != nil {
					_ = conn.Close()
				}
				return
			}
		}
		for taken := false; !taken; {
			if conn == nil {
				var dialer net.Dialer
				c, err := dialer.DialContext(s.ctx, s.network, s.path)
				if err != nil {
					select {
					case <-again.C:
						continue
					case <-s.ctx.Done():
						return
					}
				}
				conn = c
				context.AfterFunc(s.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
			}
			n, err := conn.Write(s.frame(line))
			taken = n > 0 || err == nil
			if err != nil {
				_ = conn.Close()
				conn = nil
				if s.ctx.Err() != nil {
					return
				}
			}
		}
	}
}

const header = "<134>1 2026-11-21T09:03:19.123456Z gpu-07 vllm 4711 - - "

func withLF(line string) []byte { return []byte(header + line + "\n") }

func withCount(line string) []byte {
	return fmt.Appendf(nil, "%d %s%s", len(header)+len(line), header, line)
}

func bare(line string) []byte { return []byte(header + line) }

func quick() limits {
	l := defaultLimits()
	l.drain, l.grace = 50*time.Millisecond, 100*time.Millisecond
	return l
}

func TestConformance(t *testing.T) {
	for name, kind := range map[string]struct {
		network string
		frame   func(string) []byte
	}{
		"lines":          {"unix", withLF},
		"octet counting": {"unix", withCount},
		"datagrams":      {"unixgram", bare},
	} {
		t.Run(name, func(t *testing.T) {
			inputstest.Test(t, func(t testing.TB) inputstest.Subject {
				socket := webtest.Socket(t)
				s := newSender(t, kind.network, socket, kind.frame)
				return inputstest.Subject{
					Memory: inputstest.Forgets,
					Feed:   s.feed,
					New: func(t testing.TB) inputs.Input {
						in, err := New(Config{Name: "syslog", Listen: kind.network + ":" + socket}, Deps{Logger: slog.New(slog.DiscardHandler)})
						if err != nil {
							t.Fatal(err)
						}
						in.limits = quick()
						return in
					},
				}
			})
		})
	}
}

// start runs an input and returns where it listens.
func start(t *testing.T, config Config, deps Deps, set func(*limits), to *inputstest.Recorder) (net.Addr, *inputstest.Running) {
	t.Helper()
	config.Name = "syslog"
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	in, err := New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	in.limits = quick()
	if set != nil {
		set(&in.limits)
	}
	ready := make(chan net.Addr, 1)
	in.ready = func(a net.Addr) { ready <- a }
	running := inputstest.Start(t, in, to)
	return <-ready, running
}

func dial(t *testing.T, a net.Addr) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// closed waits until the other side has closed the connection.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("reading got %v, want the connection closed", err)
	}
}

func TestTCP(t *testing.T) {
	to := inputstest.NewRecorder(t)
	a, running := start(t, Config{Listen: "tcp:127.0.0.1:0"}, Deps{}, nil, to)
	one, two := dial(t, a), dial(t, a)
	write(t, one, "<13>Nov 21 09:03:19 gpu-07 nginx: first\n<13>Nov  1 09:03:19 nginx[7]: second\r\nno header\n<13>last, no end")
	write(t, two, "34 <13>1 - - - - - - two\nlines, one m")
	write(t, two, "9 <13>x: \xffz")
	_ = one.Close()
	_ = two.Close()
	want := []string{"first", "second", "no header", "<13>last, no end", "two", "lines, one m", "<13>x: \xffz"}
	to.WaitAll(want)
	running.Stop()
	to.Same(want)
	for _, l := range to.Lines() {
		if l.Path != "tcp:127.0.0.1:0" {
			t.Errorf("path is %q", l.Path)
		}
	}
	webtest.NoneLeft(t, "auditail/inputs/syslog.(*run)", "internal/pushed.")
}

func TestUDP(t *testing.T) {
	to := inputstest.NewRecorder(t)
	a, running := start(t, Config{Listen: "udp:127.0.0.1:0", Keep: true}, Deps{}, nil, to)
	conn := dial(t, a)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprintf("<13>Nov 21 09:03:19 gpu-07 nginx: %d", i))
		write(t, conn, want[i]+"\n")
	}
	write(t, conn, "<13>two\nlines")
	want = append(want, "<13>two", "lines")
	to.WaitLines(len(want))
	running.Stop()
	to.Same(want)
	webtest.NoneLeft(t, "auditail/inputs/syslog.(*run)", "internal/pushed.")
}

// counting is a logger that adds up an attribute of its messages.
type counting struct {
	slog.Handler
	key string
	mu  *sync.Mutex
	sum *uint64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }
func (c counting) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counting) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == c.key {
			*c.sum += a.Value.Uint64()
		}
		return true
	})
	return nil
}

// TestSocketOverflow: every datagram is durable or counted by the kernel, and
// where some are missing there is a gap.
func TestSocketOverflow(t *testing.T) {
	to := inputstest.NewRecorder(t)
	entered, release := make(chan struct{}), make(chan struct{})
	to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	sum := uint64(0)
	log := slog.New(counting{Handler: slog.DiscardHandler, key: "datagrams", mu: &sync.Mutex{}, sum: &sum})
	a, running := start(t, Config{Listen: "udp:127.0.0.1:0"}, Deps{Logger: log}, func(l *limits) { l.waiting = 64 << 10 }, to)
	conn := dial(t, a)
	write(t, conn, "first")
	<-entered
	const flood = 20_000 // 20 MB, more than the kernel keeps
	text := strings.Repeat("x", 1000)
	for range flood {
		write(t, conn, text)
	}
	close(release)
	// One that the kernel takes tells of those it dropped before.
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	extra := 0
	for len(to.Gaps()) == 0 && extra < 2000 {
		write(t, conn, "later")
		extra++
		<-again.C
	}
	webtest.Await(t, "the socket is read out", func() bool {
		before := to.Count()
		<-again.C
		return to.Count() == before
	})
	running.Stop()
	gaps := to.Gaps()
	if len(gaps) == 0 || gaps[0].Cause != causeOverflow || gaps[0].From != gaps[0].To {
		t.Fatalf("gaps are %+v", gaps)
	}
	if got, sent := uint64(to.Count())+sum, uint64(1+flood+extra); got != sent {
		t.Errorf("%d durable + %d dropped, but %d sent", to.Count(), sum, sent)
	}
}

// TestStopTakesWhatLiesInTheSocket: what senders could write before the stop is
// durable after it, although the buffer was full then.
func TestStopTakesWhatLiesInTheSocket(t *testing.T) {
	for _, network := range []string{"unix", "udp"} {
		t.Run(network, func(t *testing.T) {
			to := inputstest.NewRecorder(t)
			entered, release := make(chan struct{}), make(chan struct{})
			to.Before(func(n int, _ inputs.Chunk) error {
				if n == 1 {
					close(entered)
					<-release
				}
				return nil
			})
			address := "udp:127.0.0.1:0"
			if network == "unix" {
				address = "unix:" + webtest.Socket(t)
			}
			in, err := New(Config{Name: "syslog", Listen: address}, Deps{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			in.limits.grace = time.Minute
			ready := make(chan net.Addr, 1)
			in.ready = func(a net.Addr) { ready <- a }
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- in.Run(ctx, nil, to) }()
			conn := dial(t, <-ready)
			write(t, conn, "first\n")
			<-entered
			want := []string{"first"}
			for i := range 100 {
				want = append(want, fmt.Sprintf("line %d", i))
				write(t, conn, want[i+1]+"\n")
			}
			cancel()
			close(release)
			if err := <-result; err != nil {
				t.Fatal(err)
			}
			to.Same(want)
		})
	}
}

func TestLongMessages(t *testing.T) {
	const maxLine = 100 << 10
	long, tooLong := strings.Repeat("l", maxLine), strings.Repeat("t", 3*maxLine)
	for name, frame := range map[string]func(string) string{
		"lines": func(s string) string { return s + "\n" },
		"count": func(s string) string { return fmt.Sprintf("%d %s", len(s), s) },
	} {
		t.Run(name, func(t *testing.T) {
			to := inputstest.NewRecorder(t)
			a, running := start(t, Config{Listen: "unix:" + webtest.Socket(t), MaxLine: maxLine, Keep: true}, Deps{}, nil, to)
			one, two := dial(t, a), dial(t, a)
			text := frame("<13>short") + frame(long) + frame(tooLong) + frame("<13>short")
			var writing sync.WaitGroup
			for _, conn := range []net.Conn{one, two} { // both need the token
				writing.Go(func() {
					if _, err := io.WriteString(conn, text); err != nil {
						t.Error(err)
					}
				})
			}
			writing.Wait()
			to.WaitLines(8)
			running.Stop()
			to.Same([]string{"<13>short", "<13>short", long, long, tooLong[:maxLine], tooLong[:maxLine], "<13>short", "<13>short"})
			for _, l := range to.Lines() {
				if want := int64(len(tooLong)); l.Data[0] == 't' &&
					(l.Cut == nil || l.Cut.Length != want || l.Cut.SHA256 != sha256.Sum256([]byte(tooLong))) {
					t.Errorf("cut is %+v", l.Cut)
				}
			}
		})
	}
}

// TestGarbageClosesItsConnection, and no other.
func TestGarbageClosesItsConnection(t *testing.T) {
	to := inputstest.NewRecorder(t)
	a, running := start(t, Config{Listen: "tcp:127.0.0.1:0", Keep: true}, Deps{}, nil, to)
	good, bad := dial(t, a), dial(t, a)
	write(t, good, "<13>one\n")
	write(t, bad, "7 <13>abc7 garbagegarbage")
	closed(t, bad)
	huge := dial(t, a)
	write(t, huge, "7 <13>abc99999999999 <13>")
	closed(t, huge)
	write(t, good, "<13>two\n")
	want := []string{"<13>one", "<13>abc", "<13>abc", "garbage", "<13>two"}
	to.WaitAll(want)
	running.Stop()
	to.Same(want)
}

func TestSlowAndIdleConnectionsAreClosed(t *testing.T) {
	to := inputstest.NewRecorder(t)
	config := Config{Listen: "tcp:127.0.0.1:0", IdleTimeout: 50 * time.Millisecond}
	a, running := start(t, config, Deps{}, func(l *limits) { l.frame = 50 * time.Millisecond }, to)
	idle, slow, torn := dial(t, a), dial(t, a), dial(t, a)
	write(t, slow, "never ended")
	write(t, torn, "100 <13>torn")
	closed(t, idle)
	closed(t, slow)
	closed(t, torn)
	running.Stop()
	to.Same([]string{"never ended", "<13>torn"})
}

func TestTooManyConnectionsAreRefused(t *testing.T) {
	to := inputstest.NewRecorder(t)
	a, running := start(t, Config{Listen: "tcp:127.0.0.1:0"}, Deps{}, func(l *limits) { l.connections = 1 }, to)
	first := dial(t, a)
	write(t, first, "one\n")
	to.WaitLines(1)
	closed(t, dial(t, a))
	_ = first.Close()
	webtest.Await(t, "the first connection ends", func() bool { return webtest.Goroutines("syslog.(*run).connection(") == 0 })
	second := dial(t, a)
	write(t, second, "two\n")
	to.WaitLines(2)
	running.Stop()
	to.Same([]string{"one", "two"})
}

func TestMutualTLS(t *testing.T) {
	authority, dir := certtest.New(t, "test authority"), t.TempDir()
	cert, key := authority.Issue(t, "server").Write(t, dir, "server")
	to := inputstest.NewRecorder(t)
	config := Config{Listen: "tcp:127.0.0.1:0", TLS: listen.TLS{Cert: cert, Key: key, ClientCA: authority.Write(t, dir, "ca")}}
	a, running := start(t, config, Deps{}, nil, to)
	roots, pair := authority.Pool(), authority.Issue(t, "client").TLS(t)
	known := tls.Client(dial(t, a), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}) //nolint:gosec // a test
	write(t, known, "12 <13>by known")
	stranger := tls.Client(dial(t, a), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}) //nolint:gosec // a test
	if err := stranger.HandshakeContext(t.Context()); err == nil {
		_, _ = io.WriteString(stranger, "<13>by stranger\n") // TLS 1.3 tells with the next read
	}
	closed(t, stranger)
	plain := dial(t, a)
	write(t, plain, "<13>in the clear\n")
	closed(t, plain)
	to.WaitLines(1)
	running.Stop()
	to.Same([]string{"<13>by known"})
}

func TestRenewedCertificateIsUsed(t *testing.T) {
	authority, dir := certtest.New(t, "test authority"), t.TempDir()
	cert, key := authority.Issue(t, "server").Write(t, dir, "server")
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	to := inputstest.NewRecorder(t)
	config := Config{Listen: "tcp:127.0.0.1:0", TLS: listen.TLS{Cert: cert, Key: key}}
	a, running := start(t, config, Deps{Now: clock}, nil, to)
	serial := func() string {
		conn := tls.Client(dial(t, a), &tls.Config{RootCAs: authority.Pool(), ServerName: "127.0.0.1"}) //nolint:gosec // a test
		defer conn.Close()
		if err := conn.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	authority.Issue(t, "server").Write(t, dir, "server") // over the same files
	later := time.Now().Add(time.Second)
	for _, name := range []string{cert, key} {
		if err := os.Chtimes(name, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if serial() != before {
		t.Error("the files are looked at for every connection")
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	if serial() == before {
		t.Error("the renewed certificate is not used")
	}
	running.Stop()
}

func TestOldSocketIsReplaced(t *testing.T) {
	for _, network := range []string{"unix", "unixgram"} {
		socket := webtest.Socket(t)
		address := network + ":" + socket
		// What a crash leaves behind: the socket with nobody listening.
		if network == "unix" {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			_ = l.Close()
		} else {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		to := inputstest.NewRecorder(t)
		a, running := start(t, Config{Listen: address}, Deps{}, nil, to)
		write(t, dial(t, a), "one\n")
		to.WaitLines(1)
		other, err := New(Config{Name: "other", Listen: address}, Deps{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Run(t.Context(), nil, to); err == nil || !strings.Contains(err.Error(), "another program listens there") {
			t.Errorf("%s: the second Run returned %v", network, err)
		}
		info, err := os.Stat(socket)
		if err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%s: the socket has %v, %v", network, info.Mode(), err)
		}
		running.Stop()
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the socket is there after the stop: %v", network, err)
		}
		if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := other.Run(t.Context(), nil, to); err == nil || !strings.Contains(err.Error(), "something else") {
			t.Errorf("%s: Run over a file returned %v", network, err)
		}
	}
}

func TestConfig(t *testing.T) {
	ca := listen.TLS{Cert: "c", Key: "k", ClientCA: "ca"}
	for _, test := range []struct {
		config Config
		want   string // part of the error, empty for none
	}{
		{Config{}, "name is missing"},
		{Config{Name: "a"}, ""},
		{Config{Name: "a", Listen: "127.0.0.1:514"}, ""},
		{Config{Name: "a", Listen: "tcp:[::1]:514"}, ""},
		{Config{Name: "a", Listen: "udp:localhost:514"}, ""},
		{Config{Name: "a", Listen: "udp::514"}, "other hosts"},
		{Config{Name: "a", Listen: "udp:0.0.0.0:514"}, "other hosts"},
		{Config{Name: "a", Listen: "udp:0.0.0.0:514", Open: true}, ""},
		{Config{Name: "a", Listen: "udp:0.0.0.0:514", TLS: ca}, "TLS is for tcp"},
		{Config{Name: "a", Listen: "tcp:0.0.0.0:6514", TLS: listen.TLS{Cert: "c", Key: "k"}}, "other hosts"},
		{Config{Name: "a", Listen: "tcp:0.0.0.0:6514", TLS: ca}, ""},
		{Config{Name: "a", Listen: "tcp:0.0.0.0:6514", TLS: listen.TLS{Cert: "c"}}, "go together"},
		{Config{Name: "a", Listen: "unix:relative"}, "must be absolute"},
		{Config{Name: "a", Listen: "unix:/" + strings.Repeat("x", 107)}, "at most"},
		{Config{Name: "a", Listen: "tcp:127.0.0.1:70000"}, "the port"},
		{Config{Name: "a", Listen: "tcp:127.0.0.1"}, "host:port"},
		{Config{Name: "a", MaxLine: 100}, "max_line"},
		{Config{Name: "a", IdleTimeout: -1}, "idle_timeout"},
	} {
		_, err := New(test.config, Deps{Logger: slog.New(slog.DiscardHandler)})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
}

// TestStreamAnyhow: how the bytes come, and how large the buffer is, changes
// nothing.
func TestStreamAnyhow(t *testing.T) {
	text := header + "one\r\n\n" + strings.Repeat("x", 50) + "\r\n" + strings.Repeat("y", 15) + "\r\r\n" + strings.Repeat("z", 40) + "\r"
	want := readAll(t, strings.NewReader(text), 4096)
	if len(want) != 5 || want[1] != "" || want[4] != strings.Repeat("z", 40)+"\r" {
		t.Fatalf("messages are %q", want)
	}
	for size := 16; size < 64; size++ {
		for step := 1; step < 40; step++ {
			if got := readAll(t, &stepReader{text: text, step: step}, size); !slices.Equal(got, want) {
				t.Fatalf("in steps of %d with %d bytes: %q, want %q", step, size, got, want)
			}
		}
	}
}

type stepReader struct {
	text string
	step int
}

func (r *stepReader) Read(b []byte) (int, error) {
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), r.step)], r.text)
	r.text = r.text[n:]
	return n, nil
}

// readAll returns the messages of a stream; a cut one with its length.
func readAll(t testing.TB, from io.Reader, size int) []string {
	t.Helper()
	room := inputs.NewMemory(100)
	s := newStream(from, size, 100, room)
	var out []string
	for {
		m, err := s.next(t.Context())
		if err != nil {
			if room.Long.Free() != room.Long.Size() {
				t.Fatal("memory is claimed after the end")
			}
			return out
		}
		text := string(m.data)
		if m.cut != nil {
			text += fmt.Sprintf("… %d %x", m.cut.Length, m.cut.SHA256)
		}
		out = append(out, text)
		s.release()
	}
}

// FuzzStream: every byte that came is in a message or in the framing, however
// it came.
func FuzzStream(f *testing.F) {
	f.Add([]byte("<13>one\n<13>two\r\n"), uint8(1), uint8(16))
	f.Add([]byte("7 <13>abc7 <13>def"), uint8(3), uint8(16))
	f.Add([]byte("120 <13>"+strings.Repeat("a", 116)+"5 <1>\n"), uint8(200), uint8(20))
	f.Add([]byte("1 x\n999999999999 <"), uint8(2), uint8(16))
	f.Add([]byte(strings.Repeat("b", 150)+"\r\n"), uint8(7), uint8(33))
	f.Fuzz(func(t *testing.T, text []byte, step, size uint8) {
		want := readAll(t, strings.NewReader(string(text)), 1<<16)
		got := readAll(t, &stepReader{string(text), int(step)%50 + 1}, int(size)+16)
		if !slices.Equal(got, want) {
			t.Fatalf("%q is read as %q and as %q", text, want, got)
		}
		if kind := newStream(strings.NewReader(string(text)), 4096, 100, nil).detect(); kind == lines {
			reference := strings.Split(string(text), "\n")
			if reference[len(reference)-1] == "" {
				reference = reference[:len(reference)-1]
			}
			if len(reference) != len(want) {
				t.Fatalf("%d messages in %q, want %d", len(want), text, len(reference))
			}
		}
	})
}
