package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/sdnotify"
)

const (
	// startPoll is how often the agent is asked whether it is ready, until it is.
	startPoll = 50 * time.Millisecond
	// statusEvery is how often `systemctl status` gets a new line.
	statusEvery = 10 * time.Second
	// stallTime is how long the agent may stand still, where it has no reason to,
	// before the watchdog is left to bite. A slow disk is no reason to kill.
	stallTime = 2 * time.Minute
)

// supervisor tells the service manager how the agent is. It speaks only behind
// an answer of the agent itself: a lock that is never released ends the signs of
// life, and so does work that stands still without a reason.
type supervisor struct {
	notifier sdnotify.Notifier
	status   func() admin.Status
	log      *slog.Logger
	now      func() time.Time

	ready    bool
	progress progress
	failed   bool // the manager could not be reached, and the log says so
}

// run works until ctx ends; then the agent stops.
func (s *supervisor) run(ctx context.Context) {
	if !s.notifier.Enabled() {
		return
	}
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.send(sdnotify.Stopping, sdnotify.Status("stopping: what was read is sealed and shipped"))
			return
		case <-tick.C:
			if s.look() {
				tick.Reset(s.interval())
			}
		}
	}
}

// interval is how often the agent is asked once it is ready.
func (s *supervisor) interval() time.Duration {
	if w := s.notifier.Interval(); w > 0 {
		return min(w, statusEvery)
	}
	return statusEvery
}

// look asks the agent, tells the manager, and returns whether the agent has just
// become ready.
func (s *supervisor) look() (begins bool) {
	status := s.status()
	if !s.ready && !status.Ready {
		return false
	}
	messages := []string{sdnotify.Status(statusLine(&status))}
	if !s.ready {
		s.ready, begins = true, true
		messages = append(messages, sdnotify.Ready)
	}
	if s.notifier.Interval() > 0 {
		if stuck := s.progress.stuck(&status, s.now()); stuck == "" {
			messages = append(messages, sdnotify.Watchdog)
		} else {
			s.log.Error("the agent stands still: the watchdog of the service manager will restart it", "what", stuck)
		}
	}
	s.send(messages...)
	return begins
}

func (s *supervisor) send(messages ...string) {
	err := s.notifier.Send(messages...)
	if err != nil && !s.failed {
		s.log.Warn("the service manager does not hear of the agent", "error", err)
	}
	s.failed = err != nil
}

// progress remembers since when the agent stands still.
type progress struct {
	moved    time.Time // when anything was last seen to move
	records  int64
	batches  uint64
	acquired int64
}

// stuck returns what stands still for too long; empty while all is well. Reading
// that waits for space on the disk or below max_disk has its reason, and is not.
func (p *progress) stuck(s *admin.Status, now time.Time) string {
	records, waiting, lines := int64(0), "", int64(0)
	for i := range s.Inputs {
		records += s.Inputs[i].Records
		lines += s.Inputs[i].Lines.Read
		if s.Inputs[i].Waiting {
			waiting = s.Inputs[i].Name
		}
	}
	overdue := s.Ready && !s.Buffer.LastSeal.NextBy.IsZero() && now.After(s.Buffer.LastSeal.NextBy)
	moved := records != p.records || lines != p.acquired || s.Buffer.LastSeal.Batch != p.batches
	excused := s.Buffer.Full || s.Buffer.DiskFull || s.Ready && waiting == "" && !overdue
	p.records, p.acquired, p.batches = records, lines, s.Buffer.LastSeal.Batch
	if p.moved.IsZero() || excused || moved {
		p.moved = now
	}
	if now.Sub(p.moved) < stallTime {
		return ""
	}
	switch {
	case !s.Ready:
		return "the buffer failed and did not come back"
	case waiting != "":
		return "a chunk of input " + waiting + " is not committed"
	}
	return "no batch is sealed, not even a heartbeat"
}

// statusLine is a status in one line, what is wrong first.
func statusLine(s *admin.Status) string {
	var parts []string
	switch {
	case len(s.Alerts) > 0:
		parts = append(parts, fmt.Sprintf("needs attention: %s: %s", s.Alerts[0].Part, s.Alerts[0].Text))
	case s.Ready:
		parts = append(parts, "running")
	default:
		parts = append(parts, "waiting for the buffer")
	}
	rate := 0.0
	for i := range s.Inputs {
		rate += s.Inputs[i].Rate
	}
	parts = append(parts, fmt.Sprintf("%d inputs, %.0f lines/s", len(s.Inputs), rate))
	if last := s.Buffer.LastSeal; last.Kind != "" {
		parts = append(parts, fmt.Sprintf("batch %d sealed", last.Batch))
	}
	for i := range s.Outputs {
		parts = append(parts, fmt.Sprintf("output %s: %d batches wait", s.Outputs[i].Name, s.Outputs[i].Waiting))
	}
	return strings.Join(parts, "; ")
}
