package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/sdnotify"
)

func TestStuck(t *testing.T) {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	well := admin.Status{Ready: true, Inputs: []admin.Input{{Name: "vllm"}}}
	well.Buffer.LastSeal = admin.Seal{Batch: 3, Kind: "data", NextBy: start.Add(time.Hour)}
	for name, c := range map[string]struct {
		change func(s *admin.Status, minute int)
		want   string
	}{
		"nothing to do":             {func(*admin.Status, int) {}, ""},
		"a chunk waits for ever":    {func(s *admin.Status, _ int) { s.Inputs[0].Waiting = true }, "input vllm is not committed"},
		"a chunk waits, others not": {func(s *admin.Status, m int) { s.Inputs[0].Waiting, s.Inputs[0].Records = true, int64(m) }, ""},
		"the disk is full": {func(s *admin.Status, _ int) {
			s.Inputs[0].Waiting, s.Buffer.DiskFull, s.Ready = true, true, false
		}, ""},
		"max_disk is reached": {func(s *admin.Status, _ int) { s.Inputs[0].Waiting, s.Buffer.Full = true, true }, ""},
		"no heartbeat":        {func(s *admin.Status, _ int) { s.Buffer.LastSeal.NextBy = start.Add(-time.Second) }, "not even a heartbeat"},
		"heartbeats are late": {func(s *admin.Status, m int) {
			s.Buffer.LastSeal = admin.Seal{Batch: uint64(m), NextBy: start.Add(-time.Second)}
		}, ""},
		"the buffer does not come back": {func(s *admin.Status, _ int) { s.Ready = false }, "did not come back"},
	} {
		t.Run(name, func(t *testing.T) {
			var p progress
			got := ""
			for minute := range 5 {
				s := well
				s.Inputs = []admin.Input{well.Inputs[0]}
				c.change(&s, minute)
				got = p.stuck(&s, start.Add(time.Duration(minute)*time.Minute))
				if minute < 2 && got != "" {
					t.Fatalf("after %d minutes: %s", minute, got)
				}
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("stuck: %q, want %q", got, c.want)
			}
		})
	}
}

// The manager hears of the agent what the agent says, and nothing when it hangs.
func TestSupervisorSpeaks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
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
	clock := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	status := admin.Status{Inputs: []admin.Input{{Name: "vllm", Rate: 12}}}
	s := supervisor{
		notifier: sdnotify.FromEnvironment(func(v string) string {
			return map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"}[v]
		}, 1),
		status: func() admin.Status { return status }, log: slog.New(slog.DiscardHandler), now: func() time.Time { return clock },
	}
	if s.look() {
		t.Error("ready before the inputs run")
	}
	status.Ready = true
	if !s.look() {
		t.Error("not ready, and the inputs run")
	}
	if got, want := next(), "STATUS=running; 1 inputs, 12 lines/s\nREADY=1\nWATCHDOG=1"; got != want {
		t.Errorf("first message %q, want %q", got, want)
	}
	status.Inputs[0].Waiting = true
	status.Alerts = []admin.Alert{{Part: "output central", Text: "it stopped\nREADY=1"}}
	s.look()
	if got := next(); !strings.Contains(got, "WATCHDOG=1") {
		t.Errorf("the agent waits since now: %q", got)
	}
	clock = clock.Add(stallTime)
	s.look()
	if got := next(); strings.Contains(got, "WATCHDOG=1") || !strings.HasPrefix(got, "STATUS=needs attention: output central: it stopped READY=1; ") {
		t.Errorf("the agent stands still: %q", got)
	}
}
