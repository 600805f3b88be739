package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/agent/identity"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/internal/version"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/directory"
	s3output "github.com/auditail/auditail/outputs/s3"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/seal"
)

// The server's own log is that of an agent inside it: the same buffer, the same
// seals, one input that takes the server's events and one output. Its archive
// lies beside that of the agents, so that whoever verifies theirs need not know
// the server's key.
const (
	eventsInput   = "events"
	ownName       = "own"
	eventsService = "auditail-server"
	eventsClass   = "standard"
	eventsKeep    = 6 * 365 * 24 * time.Hour
	eventsDisk    = 256 << 20
)

// journal takes events until the agent inside makes them durable.
type journal struct {
	queue chan pendingEvent
	ended chan struct{}
}

type pendingEvent struct {
	line []byte
	done chan error
}

var errJournalEnded = errors.New("the server's own log has ended")

func newJournal() *journal {
	return &journal{queue: make(chan pendingEvent, maxEvents), ended: make(chan struct{})}
}

// Record implements server.Journal.
func (j *journal) Record(ctx context.Context, e server.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	p := pendingEvent{line: line, done: make(chan error, 1)}
	select {
	case j.queue <- p:
	case <-j.ended:
		return errJournalEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.done:
		return err
	case <-j.ended:
		return errJournalEnded
	}
}

// maxEvents is how many events go into one commit at most.
const maxEvents = 256

// Run implements inputs.Input. Each run is a generation of its own: what an
// earlier one accepted was acknowledged, so there is nothing to resume.
func (j *journal) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	var id [8]byte
	rand.Read(id[:])
	generation := hex.EncodeToString(id[:])
	var forget []inputs.Position
	for _, at := range resume {
		forget = append(forget, inputs.Position{Generation: at.Generation})
	}
	for count := int64(0); ; {
		var batch []pendingEvent
		select {
		case p := <-j.queue:
			batch = append(batch, p)
		case <-ctx.Done():
			return nil
		}
		for len(batch) < maxEvents && len(j.queue) > 0 {
			batch = append(batch, <-j.queue)
		}
		now := time.Now()
		c := inputs.Chunk{
			Ranges:    []inputs.Range{{Generation: generation, Unit: inputs.UnitLines, From: count, To: count + int64(len(batch)), Lines: int64(len(batch))}},
			Positions: append(forget, inputs.Position{Generation: generation, Token: strconv.AppendInt(nil, count+int64(len(batch)), 10)}),
		}
		for i, p := range batch {
			c.Lines = append(c.Lines, inputs.Line{
				Source: eventsInput, Generation: generation, Offset: count + int64(i), Size: 1, Data: p.line, Seen: now, NotBefore: now,
			})
		}
		err := to.Append(ctx, c)
		for _, p := range batch {
			p.done <- err
		}
		if ctx.Err() == nil && err != nil {
			return err
		}
		count, forget = count+int64(len(batch)), nil
	}
}

// eventParser turns events into records.
type eventParser struct{}

// Parse implements parsers.Parser.
func (eventParser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	var e server.Event
	if err := json.Unmarshal(line.Data, &e); err != nil { // the server itself made the line
		return dst, parsers.Outcome{}, fmt.Errorf("read event: %w", err)
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	r.SetString(audit.Event, e.Event)
	r.SetString(audit.Outcome, "success")
	if e.Outcome != "" {
		r.SetString(audit.Outcome, e.Outcome)
	}
	setIf(r, audit.Reason, e.Reason)
	if e.Actor == "" {
		r.SetString(audit.ActorType, "system")
	} else {
		r.SetString(audit.ActorID, e.Actor)
		r.SetString(audit.ActorBasis, "api_key")
		r.SetBool(audit.ActorVerified, true)
	}
	if host, _, err := net.SplitHostPort(e.Client); err == nil {
		setIf(r, audit.ClientIP, host)
	}
	setIf(r, audit.APIPath, e.Path)
	if e.Status != 0 {
		r.SetInt(audit.APIStatus, int64(e.Status))
	}
	if e.Event == "alert.raise" || e.Event == "alert.close" {
		fillAlert(r, &e)
	}
	extra, err := json.Marshal(struct {
		Log    string `json:"log,omitempty"`
		Detail string `json:"detail,omitempty"`
	}{e.Log, e.Detail})
	if err != nil {
		return dst, parsers.Outcome{}, err
	}
	r.SetJSON(audit.Extra, extra)
	return dst, parsers.Outcome{Verdict: parsers.Recorded}, nil
}

func fillAlert(r *audit.Record, e *server.Event) {
	r.SetString(audit.AlertRule, "auditail-server."+e.Reason)
	r.SetString(audit.AlertRuleVersion, "1")
	r.SetString(audit.AlertTitle, e.Log+": "+e.Detail)
	group := audit.AppendString([]byte(`{"log":`), e.Log)
	r.SetJSON(audit.AlertGroup, append(group, '}'))
	state := "open"
	if e.Event == "alert.close" { // the server saw it end; nobody judged it
		state = "auto_resolved"
	}
	r.SetString(audit.AlertState, state)
	r.SetInt(audit.Severity, 4)
}

func setIf(r *audit.Record, f audit.Field, value string) {
	if value != "" {
		r.SetString(f, value)
	}
}

// lockOwn takes the folder of the server's own log: there is one server of an id.
func lockOwn(c server.Config, d server.Deps) (dir string, unlock func() error, err error) {
	state, err := server.StateDir(c, d)
	if err != nil {
		return "", nil, err
	}
	dir = ownDir(state, c.ID)
	if err := d.FS.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the folder of the server's own log: %w", err)
	}
	unlock, err = durable.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return "", nil, fmt.Errorf("another auditail-server with the id %q runs over this state: stop it, or set another id: %w", c.ID, err)
	}
	return dir, unlock, err
}

// ownDir is where the key, the buffer and the archive of a server's own log lie.
func ownDir(state, id string) string { return filepath.Join(state, "own", id) }

// ownArchive is where the archive of a server's own log lies: beside that of the
// agents, in a bucket as in a directory.
func ownArchive(c server.Config, dir string) string {
	if place, ok := c.OwnBucket(); ok {
		return place
	}
	return filepath.Join(dir, "archive")
}

// ownOutput ships the server's own log.
func ownOutput(ctx context.Context, c server.Config, dir string, log *slog.Logger) (outputs.Output, error) {
	if _, ok := c.OwnBucket(); !ok {
		return directory.New(directory.Config{Name: ownName, Path: ownArchive(c, dir)}, directory.Deps{FS: durable.OS{}, Log: log})
	}
	config, err := c.OwnBucketConfig()
	if err != nil {
		return nil, err
	}
	return s3output.New(ctx, s3output.Config{Name: ownName, Config: config, SealTerm: eventsKeep}, s3output.Deps{
		Log: log, Agent: c.ID, Version: version.String(),
	})
}

// start opens the buffer and returns what runs the log until its context ends.
func (j *journal) start(ctx context.Context, c server.Config, dir string, log *slog.Logger) (run func(context.Context) error, err error) {
	fsys := durable.OS{}
	config, identityKey, err := ownConfig(c, dir)
	if err != nil {
		return nil, err
	}
	out, err := ownOutput(ctx, c, dir, log)
	if err != nil {
		return nil, err
	}
	if config.Inputs, err = j.asInput(); err != nil {
		return nil, err
	}
	config.Outputs = []agent.Output{{Name: ownName, Output: out}}
	a, err := agent.New(ctx, config, agent.Deps{FS: fsys, Log: log.With("own_log", config.Log.String()), Now: time.Now, Identity: identityKey})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		defer close(j.ended)
		return a.Run(ctx)
	}, nil
}

func (j *journal) asInput() ([]agent.Input, error) {
	policy, err := capture.New(capture.Config{Default: capture.Hashed, Unparsed: capture.Hashed}, keyed.New(time.Now()), eventsInput)
	if err != nil {
		return nil, err
	}
	return []agent.Input{{
		Name: eventsInput, Service: eventsService, Retention: eventsClass, Input: j, Parser: eventParser{}, ParserName: "auditail-server/1",
		Policy: policy, Catalog: catalog.New(nil, eventsInput, ""), Identity: identity.New(nil, nil, eventsInput),
	}}, nil
}

func ownConfig(c server.Config, dir string) (agent.Config, ed25519.PrivateKey, error) {
	fsys := durable.OS{}
	key, _, err := keys.LoadOrMakeIdentity(fsys, keys.IdentityPath(dir))
	if err != nil {
		return agent.Config{}, nil, err
	}
	host, err := agent.FindHost(fsys, dir)
	if err != nil {
		return agent.Config{}, nil, err
	}
	effective, err := json.Marshal(c)
	if err != nil {
		return agent.Config{}, nil, fmt.Errorf("encode the configuration: %w", err)
	}
	run, err := version.Run(effective)
	if err != nil {
		return agent.Config{}, nil, err
	}
	return agent.Config{
		Log: seal.Log{Organization: c.Organization, Agent: c.ID}, Environment: "prod", Host: host, Run: run,
		Buffer: buffer.Config{
			Dir: filepath.Join(dir, "buffer"), MaxDisk: eventsDisk, BatchSize: 8 << 20, BatchAge: 30 * time.Second, Heartbeat: time.Minute,
			Retention: map[string]time.Duration{eventsClass: eventsKeep},
		},
	}, key, nil
}
