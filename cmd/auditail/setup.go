package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"time"
	_ "time/tzdata" // zones of the configuration on hosts without a zone database

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/file"
	httpinput "github.com/auditail/auditail/inputs/http"
	"github.com/auditail/auditail/inputs/journald"
	"github.com/auditail/auditail/inputs/otlp"
	"github.com/auditail/auditail/inputs/pipe"
	"github.com/auditail/auditail/inputs/syslog"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/version"
	"github.com/auditail/auditail/seal"
)

// setup is an agent ready to be made, with the data_dir locked.
type setup struct {
	config agent.Config
	deps   agent.Deps
	admin  admin.Settings
	file   *config.Config
	log    *slog.Logger
	memory *inputs.Memory // of all inputs, those of later configurations too
	key    string         // id of the capture key in force
	// selfLog returns the newest lines of the own log.
	selfLog func() []byte
	run     *crash.Run // nil before begin
	unlock  func() error
}

// begin notes that a run begins, and says how the one before ended.
func (s *setup) begin() {
	s.run = crash.Start(s.deps.FS, s.file.Agent.DataDir, time.Now(), s.log)
}

// close ends the run in order and gives the data_dir free.
func (s *setup) close() (err error) {
	if s.run != nil {
		err = s.run.Finish()
	}
	return errors.Join(err, s.unlock())
}

// prepare turns the configuration into what the agent is made of. It is the one
// place that names concrete kinds.
func prepare(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *setup, err error) {
	fsys := durable.OS{}
	if countInputs(cfg) == 0 {
		return nil, errNoInput // before a folder is made
	}
	if err := fsys.MkdirAll(cfg.Agent.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make agent.data_dir: %w", err)
	}
	unlock, err := durable.Lock(filepath.Join(cfg.Agent.DataDir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another auditail runs with data_dir %s: stop it, or give this one a data_dir and an agent.id of its own", cfg.Agent.DataDir)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock())
		}
	}()
	s := &setup{file: cfg, log: log, unlock: unlock, deps: agent.Deps{FS: fsys, Log: log, Now: time.Now, Taps: admin.NewTaps()}}
	s.admin = admin.Settings{Socket: cfg.Admin.Socket, Listen: cfg.Admin.Listen, ReadyAge: cfg.Admin.ReadyAge}
	signing := newSigningKey(fsys, cfg)
	if _, err := signing.Public(); errors.Is(err, fs.ErrNotExist) && buffer.Begun(fsys, filepath.Join(cfg.Agent.DataDir, "buffer")) {
		// Another one would look like the key of this log from then on.
		return nil, fmt.Errorf("the log in %s was begun, but its signing key %s is not there: restore the key; without it, begin anew with another agent.id and an empty data_dir", cfg.Agent.DataDir, signing)
	}
	identity, made, err := signing.Make()
	if err != nil {
		return nil, err
	}
	s.deps.Keys = signing
	host, err := agent.FindHost(fsys, cfg.Agent.DataDir)
	if err != nil {
		return nil, err
	}
	run, err := version.Run(cfg.JSON())
	if err != nil {
		return nil, err
	}
	s.memory = inputs.NewMemory(longestLine(cfg))
	if s.config, s.key, err = s.build(ctx, cfg, host, run); err != nil {
		return nil, err
	}
	if key, ok := identity.Public().(ed25519.PublicKey); made && ok {
		log.InfoContext(ctx, "an identity key was made; enrol it where batches go", "vkey", seal.VKey(s.config.Log.String(), key))
	}
	return s, nil
}

// build makes the parts of an agent: at the start, and for each configuration
// that a reload brings.
func (s *setup) build(ctx context.Context, cfg *config.Config, host agent.Host, run seal.Run) (c agent.Config, key string, err error) {
	if countInputs(cfg) == 0 {
		return c, "", errNoInput
	}
	if err := cfg.CheckFiles(); err != nil {
		return c, "", err
	}
	c = baseConfig(cfg, host, run)
	captureKeys, err := loadCaptureKeys(s.deps.FS, cfg)
	if err != nil {
		return c, "", err
	}
	current := captureKeys.Current()
	if c.Inputs, err = newInputs(cfg, current, s.memory, s.log); err != nil {
		return c, "", err
	}
	useCatalog(cfg, s.deps.FS, s.log, &c)
	if c.Witnesses, err = newWitnesses(cfg); err != nil {
		return c, "", err
	}
	c.WitnessQuorum, c.WitnessDigest = cfg.Agent.WitnessQuorum, cfg.WitnessDigest()
	c.Outputs, err = newOutputs(ctx, cfg, s.deps.FS, s.log)
	for i := range c.Outputs {
		c.Outputs[i].Digest = cfg.OutputDigest(c.Outputs[i].Name)
	}
	return c, current.ID, err
}

// baseConfig is what needs no kind.
func baseConfig(cfg *config.Config, host agent.Host, run seal.Run) agent.Config {
	return agent.Config{
		Log:         seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID},
		Environment: cfg.Agent.Environment,
		Host:        host,
		Run:         run,
		Buffer: buffer.Config{
			Dir: filepath.Join(cfg.Agent.DataDir, "buffer"), MaxDisk: int64(cfg.Buffer.MaxDisk), BatchSize: int64(cfg.Buffer.BatchSize),
			BatchAge: cfg.Buffer.BatchAge, Heartbeat: cfg.Buffer.Heartbeat, Retention: cfg.Retention,
		},
	}
}

var errNoInput = errors.New("the configuration has no input: add an [[inputs.file]] with name, paths and parser")

func countInputs(cfg *config.Config) (n int) {
	cfg.Inputs.Each(func(string, int, *config.Input) { n++ })
	return n
}

func newInputs(cfg *config.Config, key keyed.Key, memory *inputs.Memory, log *slog.Logger) (list []agent.Input, err error) {
	cfg.Inputs.Each(func(kind string, i int, in *config.Input) {
		if err != nil {
			return
		}
		spec, specErr := newSpec(cfg, in, key)
		if specErr == nil {
			spec.Input, specErr = newReader(&cfg.Inputs, kind, i, memory, log)
		}
		if specErr != nil {
			err = fmt.Errorf("input %s: %w", in.Name, specErr)
			return
		}
		spec.Kind = kind
		spec.Digest = cfg.InputDigest(in.Name) + key.ID
		list = append(list, spec)
	})
	return list, err
}

// longestLine returns the largest max_line, in bytes.
func longestLine(cfg *config.Config) int64 {
	longest := config.Size(0)
	cfg.Inputs.Each(func(_ string, _ int, in *config.Input) { longest = max(longest, in.MaxLine) })
	return int64(longest)
}

// newReader makes what reads an input: the kind of the i-th entry.
func newReader(cfg *config.Inputs, kind string, i int, memory *inputs.Memory, log *slog.Logger) (inputs.Input, error) {
	switch kind {
	case "file":
		in := &cfg.File[i]
		return file.New(fileConfig(in), file.Deps{Logger: log, Memory: memory})
	case "pipe":
		in := &cfg.Pipe[i]
		return pipe.New(pipe.Config{Name: in.Name, Path: in.Path, MaxLine: int64(in.MaxLine)}, pipe.Deps{Logger: log, Memory: memory})
	case "journald":
		in := &cfg.Journald[i]
		return journald.New(journald.Config{
			Name: in.Name, Units: in.Units, Identifiers: in.Identifiers, Start: journald.Start(in.Start), Since: in.Since,
			Directory: in.Directory, MaxLine: int64(in.MaxLine),
		}, journald.Deps{Logger: log, Memory: memory})
	case "syslog":
		return syslog.New(syslogConfig(&cfg.Syslog[i]), syslog.Deps{Logger: log, Memory: memory})
	case "http":
		return httpinput.New(webConfig(&cfg.HTTP[i]), httpinput.Deps{Logger: log, Memory: memory})
	case "otlp":
		return otlp.New(webConfig(&cfg.OTLP[i]), otlp.Deps{Logger: log, Memory: memory})
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func fileConfig(in *config.FileInput) file.Config {
	c := file.Config{
		Name: in.Name, Paths: in.Paths, Exclude: in.Exclude, Rotated: in.Rotated,
		Start: file.Start(in.Start), IgnoreOlder: in.IgnoreOlder, CloseAfter: in.CloseAfter, MaxLine: int64(in.MaxLine),
		Encoding: file.Encoding(in.Encoding), Wrapper: file.Wrapper(in.Wrapper),
		Multiline: file.Multiline{
			Start: in.Multiline.Start, Continue: in.Multiline.Continue, Timeout: in.Multiline.Timeout, MaxLines: in.Multiline.MaxLines,
		},
	}
	if start, maxLines := entries(in.Parser.Type); start != "" && c.Multiline.Start == "" && c.Multiline.Continue == "" {
		c.Multiline.Start, c.Multiline.MaxLines = start, maxLines
	}
	return c
}

func syslogConfig(in *config.SyslogInput) syslog.Config {
	c := syslog.Config{
		Name: in.Name, Listen: in.Listen, Keep: in.Keep, MaxLine: int64(in.MaxLine), IdleTimeout: in.IdleTimeout, Open: in.Open,
	}
	c.TLS.Cert, c.TLS.Key, c.TLS.ClientCA = in.TLSCert, in.TLSKey, in.ClientCA
	return c
}

func webConfig(in *config.HTTPInput) httpinput.Config {
	c := httpinput.Config{Name: in.Name, Listen: in.Listen, Path: in.Path, MaxLine: int64(in.MaxLine), MaxBody: int64(in.MaxBody)}
	c.TLS.Cert, c.TLS.Key, c.TLS.ClientCA = in.TLSCert, in.TLSKey, in.ClientCA
	if !in.Token.IsZero() {
		c.Token = in.Token.Resolve
	}
	return c
}

// newSpec is an input without what reads it.
func newSpec(cfg *config.Config, in *config.Input, key keyed.Key) (agent.Input, error) {
	policy, err := newPolicy(&cfg.Capture, in.Name, key)
	if err != nil {
		return agent.Input{}, err
	}
	parser, name, err := newParser(in, policy, keyed.NewKeyIDs(key))
	if err != nil {
		return agent.Input{}, err
	}
	var ignore []agent.IgnoreRule
	for _, rule := range in.Ignore {
		pattern, err := regexp.Compile(rule.Pattern)
		if err != nil {
			return agent.Input{}, fmt.Errorf("ignore rule %s: %w", rule.Name, err)
		}
		ignore = append(ignore, agent.IgnoreRule{Name: rule.Name, Pattern: pattern})
	}
	return agent.Input{
		Ignore: ignore,
		Name:   in.Name, Service: in.Service, Retention: in.Retention, Parser: parser, ParserName: name, Policy: policy,
		Catalog: declaredCatalog(cfg, in, slog.New(slog.DiscardHandler)), Identity: newIdentities(cfg, in.Name),
	}, nil
}
