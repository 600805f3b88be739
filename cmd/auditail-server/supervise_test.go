package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/sdnotify"
	"github.com/auditail/auditail/internal/server"
)

// The manager hears READY when the first answer came, signs of life while
// answers come, and STOPPING at the end.
func TestSupervise(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()

	n := sdnotify.FromEnvironment(func(v string) string {
		return map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "40000"}[v]
	}, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		supervise(ctx, n, server.Config{Store: "/srv/audit"}, s.Listener.Addr(), slog.New(slog.DiscardHandler))
	}()
	next := func() string {
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4096)
		size, err := manager.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		return string(got[:size])
	}
	if got := next(); !strings.HasPrefix(got, "READY=1\nWATCHDOG=1\nSTATUS=listening on http://127.0.0.1:") || asked.Load() == 0 {
		t.Errorf("first message %q behind %d answers", got, asked.Load())
	}
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("then %q", got)
	}
	stop()
	<-ended
	last := next()
	for last == "WATCHDOG=1" {
		last = next()
	}
	if !strings.HasPrefix(last, "STOPPING=1\n") {
		t.Errorf("at the end %q", last)
	}
}
