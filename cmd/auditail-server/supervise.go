package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/auditail/auditail/internal/sdnotify"
	"github.com/auditail/auditail/internal/server"
)

const (
	// startPoll is how often the server is asked until it answers.
	startPoll = 50 * time.Millisecond
	// answerTime is how long an answer may take.
	answerTime = 10 * time.Second
	// askEvery is how often the server is asked, when the service manager has no wish.
	askEvery = 10 * time.Second
)

// supervise tells the service manager how the server is, until ctx ends. It
// speaks only behind an answer that came over the network as an agent's would.
func supervise(ctx context.Context, n sdnotify.Notifier, c server.Config, at net.Addr, log *slog.Logger) {
	if !n.Enabled() {
		return
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	url := scheme + "://" + at.String() + server.HealthPath
	client := &http.Client{Timeout: answerTime, Transport: &http.Transport{
		DisableKeepAlives: true,                                                                // each question takes the whole way
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, // this process, asked by its address
	}}
	send := func(messages ...string) {
		if err := n.Send(messages...); err != nil {
			log.WarnContext(ctx, "the service manager does not hear of the server", "error", err)
		}
	}
	interval := askEvery
	if w := n.Interval(); w > 0 {
		interval = min(w, askEvery)
	}
	tick, ready := time.NewTicker(startPoll), false
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			send(sdnotify.Stopping, sdnotify.Status("stopping: requests under way are answered"))
			return
		case <-tick.C:
		}
		err := ask(ctx, client, url)
		switch {
		case err != nil && ctx.Err() == nil && ready:
			log.ErrorContext(ctx, "the server does not answer itself: the watchdog of the service manager will restart it", "error", err)
		case err == nil && !ready:
			ready = true
			tick.Reset(interval)
			send(sdnotify.Ready, sdnotify.Watchdog, sdnotify.Status(fmt.Sprintf("listening on %s://%s, archive %s", scheme, at, c.Store)))
		case err == nil:
			send(sdnotify.Watchdog)
		}
	}
}

// ask returns nil when the server answered at all: one that is busy is alive.
func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if closing := answer.Body.Close(); err == nil {
		err = closing
	}
	return err
}
