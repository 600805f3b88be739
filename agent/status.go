package agent

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/admin"
)

// countersOf returns an input's counters: the same ones for each of its pipelines.
func (a *Agent) countersOf(input string) *counters {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counters[input]
	if c == nil {
		c = new(counters)
		a.counters[input] = c
	}
	return c
}

// useBuffer makes a buffer that of the session.
func (a *Agent) useBuffer(b *buffer.Buffer) {
	a.buffer = b
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live = b
}

func (a *Agent) setReady(ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready = ready
}

func (a *Agent) noteReopened() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reopened++
}

// show has those who tap see the records of a durable entry. They see exactly
// what was written, behind the capture policy.
func (a *Agent) show(input string, e *buffer.Entry) {
	taps := a.deps.Taps
	if !taps.Watched() {
		return
	}
	seq := e.FirstSeq
	var line []byte
	for open := range bytes.Lines(e.Records) {
		line = audit.AppendSeq(append(line[:0], bytes.TrimSuffix(open, []byte("\n"))...), seq)
		taps.Pass(input, line)
		seq++
	}
}

// Status returns what the agent knows of itself. Safe for concurrent use with
// Run; it costs a few reads of memory and, for an output with a backlog from
// before the start, of one manifest.
func (a *Agent) Status() admin.Status {
	now := a.deps.Now().UTC()
	a.mu.Lock()
	live, ready := a.live, a.ready
	s := admin.Status{
		Version: a.cfg.Run.Version, Log: a.cfg.Log.String(), Started: a.startedAt.UTC(), Now: now, Ready: ready,
		Config: a.config,
		Inputs: []admin.Input{}, Outputs: []admin.Output{}, Alerts: []admin.Alert{},
	}
	s.Config.Digest = "sha256:" + a.cfg.Run.Config.String()
	if s.Config.Generation == 0 {
		s.Config.Generation, s.Config.Loaded = 1, s.Started
	}
	s.Buffer.Failures = a.reopened
	shippers := a.outputs
	for i := range a.cfg.Inputs {
		in := &a.cfg.Inputs[i]
		s.Inputs = append(s.Inputs, a.counters[in.Name].status(in, now, a.startedAt))
		s.Models = addModels(s.Models, in)
	}
	a.mu.Unlock()
	b := live.Status()
	s.Epoch = b.Epoch
	fillBuffer(&s.Buffer, &b)
	for _, one := range shippers {
		s.Outputs = append(s.Outputs, one.status(b.Outputs[one.output.Name]))
	}
	s.Alerts = append(s.Alerts, alerts(&s)...)
	return s
}

func (c *counters) status(in *Input, now, started time.Time) admin.Input {
	s := admin.Input{Name: in.Name, Kind: in.Kind, Parser: in.ParserName, Service: in.Service}
	if l, ok := in.Input.(inputs.Lagger); ok {
		lag := l.Lag()
		s.Sources, s.LagBytes = &lag.Sources, &lag.Bytes
		for _, u := range lag.Unreadable {
			s.Unreadable = append(s.Unreadable, admin.Unreadable(u))
		}
	}
	if c == nil {
		return s
	}
	s.Lines, s.Bytes, s.Records = c.lines(), c.bytes.Load(), c.records.Load()
	s.Gaps, s.GapBytes, s.Waiting = c.gaps.Load(), c.gapBytes.Load(), c.waiting.Load() > 0
	s.Rate = c.rate.perSecond(now, started)
	if s.Lines.Read > 0 {
		s.UnparsedShare = float64(s.Lines.Unparsed) / float64(s.Lines.Read)
	}
	if last := c.lastLine.Load(); last > 0 {
		s.LastLine = time.Unix(0, last).UTC()
	}
	return s
}

// addModels adds what the names of an input's log mean. A name that means the
// same everywhere stands once.
func addModels(list []admin.Model, in *Input) []admin.Model {
	for _, v := range in.Catalog.Known() {
		m := admin.Model{
			Name: v.Name, Provider: v.Provider, ID: v.ID, Version: v.Version, Revision: v.Revision, Digest: v.Digest,
			Basis: v.Basis.String(), Since: v.Since,
		}
		if slices.Contains(list, m) {
			continue
		}
		if slices.ContainsFunc(list, func(o admin.Model) bool { return o.Name == m.Name }) {
			m.Input = in.Name
		}
		list = append(list, m)
	}
	return list
}

func fillBuffer(to *admin.Buffer, b *buffer.Status) {
	to.UsedBytes, to.MaxBytes, to.OpenBytes = b.Used, b.Max, b.Open
	to.Batches, to.Full, to.DiskFull, to.Unsigned, to.Damaged = b.Batches, b.Full, b.DiskFull, b.Unsigned, int64(b.Damaged)
	if !b.OldestOpen.IsZero() {
		to.OldestOpen = b.OldestOpen.UTC()
	}
	to.LastSeal = admin.Seal{
		Batch: b.LastSeal.Batch, Kind: string(b.LastSeal.Kind), Sealed: b.LastSeal.Sealed, NextBy: b.LastSeal.NextBy,
	}
	if to.LastSeal.Kind == "" && !b.LastSeal.Sealed.IsZero() {
		to.LastSeal.Kind = earlierRun
	}
}

// earlierRun is the kind of a manifest that an earlier process made.
const earlierRun = "earlier run"

// late is how long behind its promised time a seal may be before that is an alert.
const late = 5 * time.Second

// alerts are what a status says that an operator should look at, worst first.
func alerts(s *admin.Status) (list []admin.Alert) {
	add := func(level, part string, since time.Time, format string, args ...any) {
		list = append(list, admin.Alert{Level: level, Part: part, Text: fmt.Sprintf(format, args...), Since: since})
	}
	for i := range s.Outputs {
		o := &s.Outputs[i]
		part := "output " + o.Name
		switch {
		case o.Stopped:
			add(admin.Critical, part, o.ErrorSince, "it stopped and keeps its batches: %s", o.Error)
		case o.Error != "":
			add(admin.Warning, part, o.ErrorSince, "%s: %s", waiting(o.Waiting), o.Error)
		}
		if o.Skipped > 0 || o.Rejected > 0 {
			add(admin.Warning, part, time.Time{}, "this copy lacks %d batches and %d records; the evidence is complete at the other outputs", o.Skipped, o.Rejected)
		}
		if o.Quarantined > 0 {
			add(admin.Critical, part, time.Time{}, "%d payloads were refused for good and lie in quarantine under data_dir", o.Quarantined)
		}
	}
	if s.Config.Refused != "" {
		add(admin.Warning, "configuration", s.Config.RefusedAt, "it was refused and the one before runs on: %s", s.Config.Refused)
	}
	b := &s.Buffer
	if b.DiskFull {
		add(admin.Critical, "buffer", time.Time{}, "the disk is full: reading stops until there is space")
	}
	if b.Full {
		add(admin.Critical, "buffer", time.Time{}, "buffer.max_disk is reached: reading stops until outputs acknowledge, or max_disk is raised")
	}
	if b.Unsigned {
		add(admin.Critical, "seal", time.Time{}, "the signing key does not sign: batches wait on the disk, and nothing new is shipped")
	}
	if b.Damaged > 0 {
		add(admin.Warning, "buffer", time.Time{}, "%d ranges were damaged on the disk at the start; each is recorded", b.Damaged)
	}
	if due := b.LastSeal.NextBy; s.Ready && !due.IsZero() && s.Now.After(due.Add(late)) {
		add(admin.Critical, "seal", due, "the next batch was due %s ago", s.Now.Sub(due).Round(time.Second))
	}
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if n := len(in.Unreadable); n > 0 {
			more := ""
			if n > 1 {
				more = fmt.Sprintf(", and %d more", n-1)
			}
			add(admin.Warning, "input "+in.Name, time.Time{}, "%s can not be read: %s%s; it is tried every second; the agent's user needs the right to read it, by a group or an ACL",
				in.Unreadable[0].Path, in.Unreadable[0].Reason, more)
		}
		if in.Gaps > 0 {
			add(admin.Warning, "input "+in.Name, time.Time{}, "%d ranges were gone before they could be read; each is a signed record", in.Gaps)
		}
		if in.Lines.Read >= unknownLines && in.UnparsedShare > unknownShare {
			add(admin.Warning, "input "+in.Name, time.Time{}, "the parser %s does not know %.0f %% of the lines: see `auditail try --explain`", in.Parser, 100*in.UnparsedShare)
		}
	}
	slices.SortStableFunc(list, func(x, y admin.Alert) int { return cmp.Compare(rank(x.Level), rank(y.Level)) })
	return list
}

// From so many lines on, an input of which so great a part is unknown has the
// wrong parser.
const (
	unknownLines = 100
	unknownShare = 0.5
)

func rank(level string) int {
	if level == admin.Critical {
		return 0
	}
	return 1
}

func waiting(batches int) string {
	if batches == 1 {
		return "1 batch waits"
	}
	return fmt.Sprintf("%d batches wait", batches)
}
