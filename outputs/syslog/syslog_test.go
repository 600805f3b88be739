package syslogoutput_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/certtest"
	"github.com/auditail/auditail/outputs"
	syslogoutput "github.com/auditail/auditail/outputs/syslog"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// certificates are an authority with a server's and a client's certificate, and
// a client's of another authority, as PEM files in a folder.
func certificates(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"ca", "other"} {
		authority := certtest.New(t, name)
		authority.Write(t, dir, name)
		for _, leaf := range []string{"server", "client"} {
			authority.Issue(t, leaf).Write(t, dir, name+"-"+leaf)
		}
	}
	return dir
}

func newOutput(t *testing.T, c syslogoutput.Config, log io.Writer) *syslogoutput.Output {
	t.Helper()
	c.Name = "siem"
	o, err := syslogoutput.New(c, syslogoutput.Deps{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func withClient(c syslogoutput.Config, dir, authority string) syslogoutput.Config {
	c.CAFile = filepath.Join(dir, "ca.pem")
	c.CertFile, c.KeyFile = filepath.Join(dir, authority+"-client.pem"), filepath.Join(dir, authority+"-client.key")
	return c
}

func sample(t *testing.T, n int) (seal.Batch, []string) {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	b := e.Data(sealtest.Chat(), e.Records(n))
	return b, strings.Split(strings.TrimSuffix(string(sealtest.Plain(t, e.Files[b.Manifest.PayloadPath])), "\n"), "\n")
}

// rsyslog starts the real receiver, which writes the messages into a file.
func rsyslog(t *testing.T, dir, options string) (address, file string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	file = filepath.Join(dir, "messages")
	config := strings.NewReplacer("DIR", dir, "PORT", port).Replace(`
global(workDirectory="DIR" defaultNetstreamDriver="gtls" maxMessageSize="64k"
  defaultNetstreamDriverCAFile="DIR/ca.pem" defaultNetstreamDriverCertFile="DIR/ca-server.pem" defaultNetstreamDriverKeyFile="DIR/ca-server.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="all" type="string" string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid% %structured-data%%msg%\n")
input(type="imtcp" port="PORT" address="127.0.0.1" ruleset="copy")
ruleset(name="copy") { action(type="omfile" file="DIR/messages" template="all") }
`) + options
	if err := os.WriteFile(filepath.Join(dir, "rsyslog.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c := exec.Command("/usr/sbin/rsyslogd", "-n", "-iNONE", "-f", filepath.Join(dir, "rsyslog.conf"))
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatalf("rsyslog with its gnutls driver is needed (.ci/stock-tools): %v", err)
	}
	var stopped atomic.Bool
	stop = func() {
		if !stopped.Swap(true) {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("rsyslog: %s", said.String())
		}
	})
	await(t, "rsyslog", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return address, file, stop
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func read(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// TestRsyslog: the real receiver has every record, as it was sealed, once.
func TestRsyslog(t *testing.T) {
	dir := certificates(t)
	address, file, _ := rsyslog(t, dir, "")
	o := newOutput(t, withClient(syslogoutput.Config{Address: address}, dir, "ca"), io.Discard)
	if err := o.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	batch, want := sample(t, 2000)
	receipt, err := o.Ship(t.Context(), batch)
	if err != nil || receipt.Stored != 1 || receipt.Batch != batch.Manifest.Batch {
		t.Fatalf("ship: %+v, %v", receipt, err)
	}
	await(t, "the messages", func() bool { return len(read(t, file)) >= len(want) })
	form := regexp.MustCompile(`^1\d\d \d{4}-\d\d-\d\dT\S+ \S+ auditail \S+ \[auditail@32473 id="[a-z0-9]*"\] ?(\{.*\})$`)
	var got []string
	for _, line := range read(t, file) {
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("message %q", line)
		}
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("rsyslog has %d messages that are not the %d records in order", len(got), len(want))
	}
	if trouble := o.Trouble(); trouble.Failures != 0 || trouble.Err != nil {
		t.Errorf("trouble: %+v", trouble)
	}
}

// TestRefusedCertificate: TLS 1.3 says that a client certificate is refused only
// after the handshake, to those who read. Nothing counts as delivered.
func TestRefusedCertificate(t *testing.T) {
	dir := certificates(t)
	address, file, _ := rsyslog(t, dir, "")
	for _, authority := range []string{"other", ""} {
		c := syslogoutput.Config{Address: address, CAFile: filepath.Join(dir, "ca.pem")}
		if authority != "" {
			c = withClient(c, dir, authority)
		}
		var log bytes.Buffer
		o := newOutput(t, c, &log)
		batch, _ := sample(t, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := o.Ship(ctx, batch)
		cancel()
		if err == nil || errors.Is(err, outputs.ErrPermanent) || o.Trouble().Failures == 0 {
			t.Errorf("authority %q: ship: %v, %+v", authority, err, o.Trouble())
		}
		if err := o.Probe(t.Context()); err == nil {
			t.Errorf("authority %q: probe says nothing", authority)
		}
		if !strings.Contains(log.String(), "client certificate") {
			t.Errorf("authority %q: log:\n%s", authority, log.String())
		}
	}
	if got := read(t, file); len(got) != 0 {
		t.Errorf("%d messages arrived", len(got))
	}
}

// TestWrongServer: a receiver that the authority does not know gets nothing.
func TestWrongServer(t *testing.T) {
	dir := certificates(t)
	address, file, _ := rsyslog(t, dir, "")
	o := newOutput(t, syslogoutput.Config{Address: address, CAFile: filepath.Join(dir, "other.pem")}, io.Discard)
	if err := o.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("probe: %v", err)
	}
	if got := read(t, file); len(got) != 0 {
		t.Errorf("%d messages arrived", len(got))
	}
}

// receiver is one in this process that breaks connections: the first ones, after
// so many bytes each.
type receiver struct {
	t        *testing.T
	listener net.Listener
	cuts     []int
	messages chan []string // of each connection that ended well
}

func serverConfig(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca-server.pem"), filepath.Join(dir, "ca-server.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func newReceiver(t *testing.T, dir string, cuts ...int) *receiver {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", serverConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, listener: l, cuts: cuts, messages: make(chan []string, 10)}
	t.Cleanup(func() { l.Close() })
	go r.serve()
	return r
}

func (r *receiver) serve() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		if len(r.cuts) > 0 {
			_, _ = io.CopyN(io.Discard, c, int64(r.cuts[0]))
			r.cuts = r.cuts[1:]
			_ = c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			c.(*tls.Conn).NetConn().Close()
			continue
		}
		messages, err := frames(c)
		if err != nil {
			r.t.Errorf("frames: %v", err)
		}
		c.Close()
		r.messages <- messages
	}
}

// frames reads octet-counted messages to the end.
func frames(c io.Reader) (messages []string, err error) {
	from := bufio.NewReader(c)
	for {
		message, err := frame(from)
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, message)
	}
}

// frame reads one message; io.EOF is an end between two.
func frame(from *bufio.Reader) (string, error) {
	length, err := from.ReadString(' ')
	if errors.Is(err, io.EOF) && length == "" {
		return "", io.EOF
	}
	n, wrong := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil || wrong != nil {
		return "", fmt.Errorf("length %q: %v", length, errors.Join(err, wrong))
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(from, message); err != nil {
		return "", fmt.Errorf("message of %d bytes: %v", n, err)
	}
	return string(message), nil
}

// TestCut: a connection that breaks anywhere before the receiver's end is no
// delivery; the batch comes again, in full.
func TestCut(t *testing.T) {
	dir := certificates(t)
	batch, want := sample(t, 200)
	r := newReceiver(t, dir, 0, 1, 1000, 50_000)
	o := newOutput(t, syslogoutput.Config{Address: r.listener.Addr().String(), CAFile: filepath.Join(dir, "ca.pem")}, io.Discard)
	if _, err := o.Ship(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := <-r.messages; len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	if o.Trouble().Failures != 4 {
		t.Errorf("%d failures, want 4", o.Trouble().Failures)
	}
}

// TestForms: header, structured data and the limit, byte by byte.
func TestForms(t *testing.T) {
	dir := certificates(t)
	record := `{"id":"abc","time":"2026-11-20T09:14:03.218441987+01:00","event":"model.inference","severity":4,"actor":{"id":"a\"b]c\\d\ne","verified":true},` +
		`"host":{"name":"gpu 07"},"usage":{"input_tokens":12},"policy":{"rules":["a","b"]},"extra":{"a name that is far too long for it":"x"}}`
	long := `{"id":"long","event":"e","time":"2026-11-20T09:14:03Z","output":{"text":"` + strings.Repeat("x", 10000) + `"}}`
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	batch := e.Data(sealtest.Chat(), [][]byte{[]byte(record), []byte(long)})
	header := "<107>1 2026-11-20T09:14:03.218441+01:00 gpu?07 auditail - model.inference "
	for format, want := range map[syslogoutput.Format]string{
		syslogoutput.FormatJSON: header + `[auditail@32473 id="abc"] ` + record,
		syslogoutput.FormatStructured: header + `[auditail@32473 actor.id="a\"b\]c\\d e" actor.verified="true" event="model.inference"` +
			` extra="{\"a name that is far too long for it\":\"x\"}" host.name="gpu 07" id="abc" policy.rules="[\"a\",\"b\"\]" severity="4"` +
			` time="2026-11-20T09:14:03.218441987+01:00" usage.input_tokens="12"]`,
	} {
		r := newReceiver(t, dir)
		o := newOutput(t, syslogoutput.Config{Address: r.listener.Addr().String(), CAFile: filepath.Join(dir, "ca.pem"), Format: format}, io.Discard)
		if _, err := o.Ship(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		got := <-r.messages
		if got[0] != want {
			t.Errorf("%s:\n got %s\nwant %s", format, got[0], want)
		}
		if wantLong := fmt.Sprintf(`<110>1 2026-11-20T09:14:03Z - auditail - e [auditail@32473 id="long" bytes="%d" truncated="true"]`, len(long)); got[1] != wantLong {
			t.Errorf("%s:\n got %s\nwant %s", format, got[1], wantLong)
		}
	}
}
