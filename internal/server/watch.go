package server

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"
)

// watchEvery is how often the agents are looked at.
const watchEvery = 30 * time.Second

// watch looks at the agents until ctx ends.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var seen map[string]AgentStatus
	for {
		found, err := s.look(ctx, seen)
		if err == nil {
			seen = found
		}
		if err != nil && ctx.Err() == nil {
			s.logger.ErrorContext(ctx, "the agents could not be looked at", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look compares each agent with what was last said of it, and says what changed:
// an alert record for what begins, another for what ends. seen is what it returned
// the last time.
func (s *Server) look(ctx context.Context, seen map[string]AgentStatus) (map[string]AgentStatus, error) {
	all, err := s.agents(ctx, s.clock(), seen)
	if err != nil {
		return nil, err
	}
	s.metrics.seen(all)
	found := make(map[string]AgentStatus, len(all))
	for i := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.tell(ctx, &all[i], seen); err != nil {
			return nil, err
		}
		found[all[i].Log] = all[i]
	}
	return found, nil
}

// The conditions of an agent that are told. A fork is told when it is seen.
const (
	conditionSilence  = "silence"   // next-by has passed
	conditionUnclosed = "unclosed"  // an epoch ended without close and another followed
	conditionOwed     = "loss"      // payloads were refused and are owed
	conditionsCell    = "condition" // folder of the cells that hold what was told
)

// conditions returns what is to be told of an agent, and why.
func (a *AgentStatus) conditions() map[string]string {
	found := make(map[string]string)
	if a.Late && a.Revoked.IsZero() {
		found[conditionSilence] = "nothing was received since " + a.LastReceived.UTC().Format(time.RFC3339) +
			", the next batch was due by " + a.NextBy.UTC().Format(time.RFC3339)
	}
	if len(a.Unclosed) > 0 {
		found[conditionUnclosed] = "an epoch ended without close and was followed by another: its tail may have been cut"
	}
	if a.Owed > 0 {
		found[conditionOwed] = "payloads were refused and are not stored; the agent keeps them in quarantine"
	}
	return found
}

// conditionText names the conditions, a line each.
func (a *AgentStatus) conditionText() (text string) {
	now := a.conditions()
	for _, condition := range []string{conditionSilence, conditionUnclosed, conditionOwed} {
		if _, ok := now[condition]; ok {
			text += condition + "\n"
		}
	}
	return text
}

// tell says what changed of one agent. The cell decides which of several servers
// says it, and keeps it over a restart.
func (s *Server) tell(ctx context.Context, a *AgentStatus, seen map[string]AgentStatus) error {
	if before, ok := seen[a.Log]; ok && before.conditionText() == a.conditionText() {
		return nil // told, or by another server
	}
	name := conditionsCell + "/" + a.Log[strings.LastIndexByte(a.Log, '/')+1:]
	old, tag, err := s.state.read(ctx, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now, text := a.conditions(), a.conditionText()
	if text == string(old) {
		return nil
	}
	err = s.state.swap(ctx, name, tag, []byte(text))
	if errors.Is(err, errSwapped) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, condition := range []string{conditionSilence, conditionUnclosed, conditionOwed} {
		detail, is := now[condition]
		was := strings.Contains(string(old), condition+"\n")
		switch {
		case is && !was:
			s.logger.ErrorContext(ctx, "ALERT: "+detail, "log", a.Log, "condition", condition) //nolint:sloglint // the sentence says what is wrong
			s.note(ctx, Event{Event: "alert.raise", Outcome: "failed", Reason: condition, Log: a.Log, Detail: detail})
		case was && !is:
			s.logger.InfoContext(ctx, "an alert ended", "log", a.Log, "condition", condition)
			s.note(ctx, Event{Event: "alert.close", Reason: condition, Log: a.Log, Detail: "over"})
		}
	}
	return nil
}
