package syslogoutput_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/outputstest"
	syslogoutput "github.com/auditail/auditail/outputs/syslog"
)

func TestConformance(t *testing.T) {
	var server *tls.Config // of the test that runs: they run one after the other
	outputstest.RunCopies(t, outputstest.CopyKind{
		Start: func(t *testing.T, dial outputstest.Dial) outputs.Output {
			t.Helper()
			dir := certificates(t)
			server = serverConfig(t, dir)
			o, err := syslogoutput.New(syslogoutput.Config{Name: "siem", Address: "127.0.0.1", CAFile: filepath.Join(dir, "ca.pem")},
				syslogoutput.Deps{Log: slog.New(slog.DiscardHandler), Dial: dial})
			if err != nil {
				t.Fatal(err)
			}
			return o
		},
		Serve: func(t *testing.T, c net.Conn, r *outputstest.Receiver) {
			t.Helper()
			serve(t, tls.Server(c, server), r)
		},
		Distrusted: func(t *testing.T) outputs.Output {
			t.Helper()
			dir := certificates(t)
			l, err := tls.Listen("tcp", "127.0.0.1:0", serverConfig(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			var served sync.WaitGroup
			served.Go(func() { refuseAll(t, l) })
			t.Cleanup(func() {
				l.Close()
				served.Wait()
			})
			return newOutput(t, syslogoutput.Config{Address: l.Addr().String(), CAFile: filepath.Join(dir, "other.pem")}, io.Discard)
		},
	})
}

// refuseAll wants no byte of any connection.
func refuseAll(t *testing.T, l net.Listener) {
	t.Helper()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if n, _ := io.Copy(io.Discard, c); n > 0 {
			t.Errorf("%d bytes came", n)
		}
		c.Close()
	}
}

// serve is a receiver on one connection.
func serve(t *testing.T, c *tls.Conn, r *outputstest.Receiver) {
	t.Helper()
	from := bufio.NewReader(c)
	for {
		message, err := frame(from)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return // the output has given up
		}
		_, record, ok := strings.Cut(message, `"] `)
		if !ok {
			t.Errorf("message without a record: %s", message)
		}
		if r.Take(record) != nil {
			return
		}
	}
	if outputstest.Talk(c, r.Answer()) == nil {
		_ = c.Close() // the output looks at what it reads
	}
}
