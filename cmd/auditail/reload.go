package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/sdnotify"
	"github.com/auditail/auditail/seal"
)

// reloader loads the configuration again when somebody asks: over the socket,
// or by SIGHUP. What is asked for while one load is under way is answered by the
// next one.
type reloader struct {
	path     string
	setup    *setup
	agent    *agent.Agent
	log      *slog.Logger
	notifier sdnotify.Notifier
	requests chan request
	state    admin.Config // of the configuration in force
}

// request waits for a load that begins after it was made.
type request struct{ answer chan<- answer }

type answer struct {
	generation int
	err        error
}

func newReloader(path string, s *setup, a *agent.Agent, n sdnotify.Notifier) *reloader {
	r := &reloader{path: path, setup: s, agent: a, log: s.log, notifier: n, requests: make(chan request)}
	r.state = admin.Config{Path: path, Generation: 1, Loaded: time.Now().UTC()}
	a.NoteConfig(r.state)
	return r
}

// Reload is admin.Deps.Reload.
func (r *reloader) Reload(ctx context.Context) (generation int, err error) {
	reply := make(chan answer, 1)
	select {
	case r.requests <- request{reply}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case got := <-reply:
		return got.generation, got.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run serves requests and signals until ctx ends.
func (r *reloader) run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	for {
		var waiting []request
		select {
		case <-ctx.Done():
			return
		case <-signals:
		case one := <-r.requests:
			waiting = append(waiting, one)
		}
		for more := true; more; {
			select {
			case <-signals:
			case one := <-r.requests:
				waiting = append(waiting, one)
			default:
				more = false
			}
		}
		err := r.announced(ctx)
		for _, one := range waiting {
			one.answer <- answer{r.state.Generation, err}
		}
	}
}

// announced loads, and tells the service manager when that begins and when it has
// ended, before those who asked are answered. Ready ends a reload that was refused
// too: the agent does its work as before. One that is not ready says nothing: a
// reload must not call it so.
func (r *reloader) announced(ctx context.Context) error {
	if !r.agent.Status().Ready {
		return r.load(ctx)
	}
	began := r.notifier.Send(sdnotify.Reloading())
	err := r.load(ctx)
	if unheard := errors.Join(began, r.notifier.Send(sdnotify.Ready)); unheard != nil {
		r.log.WarnContext(ctx, "the service manager does not hear of the reload", "error", unheard)
	}
	return err
}

// load brings what the file says into force, or says why it does not.
func (r *reloader) load(ctx context.Context) error {
	changed, err := r.apply(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		r.state.Refused, r.state.RefusedAt = err.Error(), time.Now().UTC()
		r.log.ErrorContext(ctx, "the configuration is refused; the one before runs on", "error", err)
	case err == nil && changed:
		r.state = admin.Config{Path: r.path, Generation: r.state.Generation + 1, Loaded: time.Now().UTC()}
	case err == nil:
		r.state.Refused, r.state.RefusedAt = "", time.Time{}
	}
	r.agent.NoteConfig(r.state)
	return err
}

func (r *reloader) apply(ctx context.Context) (changed bool, err error) {
	cfg, err := config.Load(r.path)
	if err != nil {
		return false, err
	}
	for _, w := range cfg.Warnings {
		r.log.Warn(w) //nolint:sloglint // the sentence is the configuration's
	}
	s := r.setup
	if err := fixed(s.file, cfg); err != nil {
		return false, err
	}
	keys, err := loadCaptureKeys(s.deps.FS, cfg)
	if err != nil {
		return false, err
	}
	if cfg.Digest() == s.file.Digest() && keys.Current().ID == s.key {
		return false, nil
	}
	if longestLine(cfg) != longestLine(s.file) {
		s.memory = inputs.NewMemory(longestLine(cfg))
		memoryLimit(cfg)
	}
	run := s.config.Run
	run.Config = seal.DigestOf(cfg.JSON())
	next, key, err := s.build(ctx, cfg, s.config.Host, run)
	if err != nil {
		return false, err
	}
	if err := r.agent.Reload(ctx, next, cfg.Change); err != nil {
		return false, err
	}
	s.file, s.config, s.key = cfg, next, key
	return true, nil
}

// fixed refuses what a running agent can not change: which log it writes, where
// it keeps it, and where it answers.
func fixed(now, next *config.Config) error {
	var changed []string
	for _, key := range []struct {
		name string
		same bool
	}{
		{"agent.id", now.Agent.ID == next.Agent.ID},
		{"agent.organization", now.Agent.Organization == next.Agent.Organization},
		{"agent.environment", now.Agent.Environment == next.Agent.Environment},
		{"agent.data_dir", now.Agent.DataDir == next.Agent.DataDir},
		{"admin", now.Admin == next.Admin},
		{"log", now.Log == next.Log},
	} {
		if !key.same {
			changed = append(changed, key.name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("%s can not change while the agent runs: restart it (`auditail service restart`), or set it back and reload again", strings.Join(changed, ", "))
}
