package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/auditail/auditail/internal/admin"
)

// start listens on a socket and a loopback port, and returns the client of the
// one and the URL of the other.
func start(t *testing.T, settings admin.Settings, deps admin.Deps) (client *admin.Client, url string) {
	t.Helper()
	settings.Socket, settings.Listen = socketPath(t), "127.0.0.1:0"
	deps.Log = slog.New(slog.DiscardHandler)
	if deps.Tap == nil {
		deps.Tap = admin.NewTaps()
	}
	s, err := admin.Listen(t.Context(), settings, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(settings.Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there after Close: %v", err)
		}
	})
	return admin.NewClient(settings.Socket), s.Addresses()[1]
}

var (
	began = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	five  = 5
	much  = int64(1 << 20)
)

// sample is a status that has every field.
func sample() admin.Status {
	return admin.Status{
		Version: "v1", Log: "audit.example.com/gpu-07", Epoch: 1, Started: began, Now: began.Add(time.Hour), Ready: true, LastRun: "stopped",
		Config: admin.Config{Digest: "sha256:00", Generation: 2, Loaded: began},
		Inputs: []admin.Input{{
			Name: "vllm", Kind: "file", Parser: "vllm/1", Service: "chat", Lines: admin.Lines{Read: 10, Recorded: 7, Unparsed: 2, Ignored: 1},
			Records: 5, Rate: 1.5, UnparsedShare: 0.2, Sources: &five, LagBytes: &much, LastLine: began,
		}},
		Buffer: admin.Buffer{UsedBytes: 10, MaxBytes: 100, LastSeal: admin.Seal{Batch: 7, Kind: "data", Sealed: began, NextBy: began.Add(2 * time.Hour)}},
		Outputs: []admin.Output{
			{Name: "central", Kind: "http", Next: 5, Waiting: 3, Oldest: began.Add(30 * time.Minute), Error: "503", ErrorSince: began, Failures: 4},
		},
		Models: []admin.Model{{Name: "llama", Basis: "digest", Digest: "sha256:aa"}},
		Alerts: []admin.Alert{{Level: admin.Warning, Part: "output central", Text: "3 batches wait: 503"}},
	}
}

func get(t *testing.T, url, host string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

// TestMetrics: what is served is what Prometheus accepts, by its own linter.
func TestMetrics(t *testing.T) {
	_, url := start(t, admin.Settings{}, admin.Deps{Status: sample})
	code, header, text := get(t, url+"/metrics", "")
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("answer %d with %q", code, header.Get("Content-Type"))
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{
		`auditail_input_lines_total{input="vllm",outcome="unparsed"} 2`, `auditail_input_lag_bytes{input="vllm"} 1.048576e+06`,
		`auditail_output_waiting_batches{output="central"} 3`, `auditail_output_oldest_age_seconds{output="central"} 1800`,
		`auditail_buffer_oldest_unacknowledged_age_seconds 1800`, `auditail_agent_alerts{level="warning"} 1`, `auditail_output_failing{output="central"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s in:\n%s", want, text)
		}
	}
}

// TestReady: ready means that lines come in and batches get out.
func TestReady(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*admin.Status)
		why    string // empty: ready
	}{
		"a warning does not make it unready": {func(*admin.Status) {}, ""},
		"the inputs do not run":              {func(s *admin.Status) { s.Ready = false }, "the inputs do not run"},
		"something critical":                 {func(s *admin.Status) { s.Alerts[0].Level = admin.Critical }, "output central: 3 batches wait"},
		"a batch waits too long":             {func(s *admin.Status) { s.Outputs[0].Oldest = began }, "1h0m0s old"},
		"an open batch waits too long":       {func(s *admin.Status) { s.Buffer.OldestOpen = began.Add(-time.Minute) }, "1h1m0s old"},
	} {
		t.Run(name, func(t *testing.T) {
			status := sample()
			test.change(&status)
			_, url := start(t, admin.Settings{ReadyAge: 45 * time.Minute}, admin.Deps{Status: func() admin.Status { return status }})
			code, _, text := get(t, url+"/readyz", "")
			if ready := code == http.StatusOK; ready != (test.why == "") || !strings.Contains(text, test.why) {
				t.Errorf("answer %d: %s", code, text)
			}
			if code, _, _ := get(t, url+"/healthz", ""); code != http.StatusOK {
				t.Errorf("healthz answers %d: an agent that waits is alive", code)
			}
		})
	}
}

// TestOpenAddress: what shows records or changes the agent is on the socket
// alone, and a page elsewhere can not reach the rest through a browser.
func TestOpenAddress(t *testing.T) {
	_, url := start(t, admin.Settings{}, admin.Deps{Status: sample})
	for _, path := range []string{"/tap", "/reload", "/profile/heap", "/debug/pprof/"} {
		if code, _, _ := get(t, url+path, ""); code != http.StatusNotFound {
			t.Errorf("%s answers %d", path, code)
		}
	}
	for host, want := range map[string]int{
		"evil.example": http.StatusForbidden, "evil.example:80": http.StatusForbidden, "10.0.0.1": http.StatusForbidden,
		"localhost:9600": http.StatusOK, "127.0.0.1": http.StatusOK, "[::1]:9600": http.StatusOK,
	} {
		if code, _, _ := get(t, url+"/status", host); code != want {
			t.Errorf("host %s: answer %d, want %d", host, code, want)
		}
	}
	_, header, page := get(t, url+"/", "")
	if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(page, "<title>auditail</title>") {
		t.Errorf("page without its policy: %q", header)
	}
}

func TestStatusAndReload(t *testing.T) {
	refuse := errors.New("auditail.toml:3: unknown key")
	var answer error
	client, _ := start(t, admin.Settings{}, admin.Deps{Status: sample, Reload: func(context.Context) (int, error) { return 4, answer }})
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%+v", s.Inputs[0].Lines) + s.Outputs[0].Error; got != "{Read:10 Recorded:7 Unparsed:2 Ignored:1 Held:0}503" {
		t.Errorf("status came back as %s", got)
	}
	if r, err := client.Reload(t.Context()); err != nil || r.Generation != 4 || r.Error != "" {
		t.Errorf("reload: %+v, %v", r, err)
	}
	answer = refuse
	if r, err := client.Reload(t.Context()); err != nil || r.Generation != 4 || r.Error != refuse.Error() {
		t.Errorf("refused reload: %+v, %v", r, err)
	}
	if profile, err := client.Raw(t.Context(), "/profile/goroutine"); err != nil || len(profile) == 0 {
		t.Errorf("profile: %d bytes, %v", len(profile), err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	_, err := admin.NewClient(socketPath(t)).Status(t.Context())
	if !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), "auditail service start") {
		t.Errorf("got %v", err)
	}
}

// TestTap: who looks sees what passes, of the input asked for; who does not keep
// up is told how much is missing, and holds nobody up.
func TestTap(t *testing.T) {
	taps := admin.NewTaps()
	client, _ := start(t, admin.Settings{}, admin.Deps{Status: sample, Tap: taps})
	if taps.Watched() {
		t.Error("watched, and nobody looks")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen bytes.Buffer
	ended := make(chan error, 1)
	enough := errors.New("enough")
	go func() {
		ended <- client.Tap(ctx, "vllm", func(record []byte) error {
			seen.Write(record)
			if bytes.Contains(record, []byte("last")) {
				return enough
			}
			return nil
		}, func(string) {})
	}()
	wait(t, taps.Watched)
	record := []byte(`{"id":"first"}`)
	taps.Pass("other", []byte(`{"id":"of another input"}`))
	taps.Pass("vllm", record)
	record[7] = '!' // it is not kept
	taps.Pass("vllm", []byte(`{"id":"last"}`))
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
	if got := seen.String(); got != `{"id":"first"}{"id":"last"}` {
		t.Errorf("saw %s", got)
	}
	wait(t, func() bool { return !taps.Watched() })

	if err := client.Tap(t.Context(), "nobody", nil, nil); err == nil || !strings.Contains(err.Error(), `no input "nobody"`) {
		t.Errorf("unknown input: %v", err)
	}
}

func TestSlowTap(t *testing.T) {
	taps := admin.NewTaps()
	client, _ := start(t, admin.Settings{}, admin.Deps{Status: sample, Tap: taps})
	release, lost := make(chan struct{}), make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = client.Tap(ctx, "", func([]byte) error { <-release; return nil }, func(n string) {
			select {
			case lost <- n:
			default:
			}
		})
	}()
	wait(t, taps.Watched)
	line := bytes.Repeat([]byte("x"), 1<<10)
	for range 4096 { // more than the kernel's buffers and the view hold
		taps.Pass("vllm", line)
	}
	close(release)
	select {
	case n := <-lost:
		if n == "0" {
			t.Error("a loss of 0 was told")
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing was told of the records that were left out")
	}
}

func wait(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited 30 s")
		}
	}
}
