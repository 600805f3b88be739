package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/version"
	"github.com/auditail/auditail/outputs/directory"
	httpoutput "github.com/auditail/auditail/outputs/http"
	otlpoutput "github.com/auditail/auditail/outputs/otlp"
	s3output "github.com/auditail/auditail/outputs/s3"
	syslogoutput "github.com/auditail/auditail/outputs/syslog"
)

// newOutputs makes the outputs of the configuration, evidence first.
func newOutputs(ctx context.Context, cfg *config.Config, fsys durable.FS, log *slog.Logger) ([]agent.Output, error) {
	var list []agent.Output
	for _, o := range cfg.Outputs.Directory {
		out, err := directory.New(directory.Config{Name: o.Name, Path: o.Path, Immutable: o.Immutable}, directory.Deps{FS: fsys, Log: log})
		if err != nil {
			return nil, err
		}
		item := agent.Output{Name: o.Name, Kind: "directory", Output: out}
		if rel, err := filepath.Rel(cfg.Agent.DataDir, o.Path); err == nil && filepath.IsLocal(rel) {
			item.CountsOnDisk = true
			if item.Stored, err = treeSize(o.Path); err != nil {
				return nil, fmt.Errorf("measure output %s: %w", o.Name, err)
			}
		}
		list = append(list, item)
	}
	for _, o := range cfg.Outputs.S3 {
		out, err := s3output.New(ctx, s3output.Config{
			Name: o.Name, SealTerm: cfg.Retention.Longest(),
			Config: bucket.Config{
				Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket, Prefix: o.Prefix,
				Addressing: bucket.Addressing(o.Addressing), Lock: bucket.Lock(o.Lock), LegalHold: o.LegalHold,
				Encryption: o.Encryption, KMSKey: o.KMSKey, Profile: o.Profile,
				AccessKey: o.AccessKey, SecretKey: resolver(o.SecretKey), SessionToken: resolver(o.SessionToken),
				CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Timeout: o.Timeout,
			},
		}, s3output.Deps{Log: log, Agent: cfg.Agent.ID, Version: version.String()})
		if err != nil {
			return nil, err
		}
		list = append(list, agent.Output{Name: o.Name, Kind: "s3", Output: out})
	}
	for _, o := range cfg.Outputs.HTTP {
		out, err := httpoutput.New(httpoutput.Config{
			Name: o.Name, URL: o.URL, Token: resolver(o.Token), CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Timeout: o.Timeout,
		}, httpoutput.Deps{Log: log, Agent: cfg.Agent.ID, Version: version.String()})
		if err != nil {
			return nil, err
		}
		list = append(list, agent.Output{Name: o.Name, Kind: "http", Output: out})
	}
	return newCopies(cfg, list, log)
}

// newCopies adds the outputs that get copies of the records.
func newCopies(cfg *config.Config, list []agent.Output, log *slog.Logger) ([]agent.Output, error) {
	for _, o := range cfg.Outputs.OTLP {
		out, err := otlpoutput.New(otlpoutput.Config{
			Name: o.Name, URL: o.URL, Token: resolver(o.Token), CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Timeout: o.Timeout,
		}, otlpoutput.Deps{Log: log, Version: version.String()})
		if err != nil {
			return nil, err
		}
		list = append(list, agent.Output{Name: o.Name, Kind: "otlp", Output: out, BestEffort: !o.Required})
	}
	for _, o := range cfg.Outputs.Syslog {
		out, err := syslogoutput.New(syslogoutput.Config{
			Name: o.Name, Address: o.Address, Format: syslogoutput.Format(o.Format), MaxMessage: int(o.MaxMessage),
			CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Timeout: o.Timeout,
		}, syslogoutput.Deps{Log: log})
		if err != nil {
			return nil, err
		}
		list = append(list, agent.Output{Name: o.Name, Kind: "syslog", Output: out, BestEffort: !o.Required})
	}
	return list, nil
}

// resolver reads a secret whenever it is needed; nil when there is none.
func resolver(s config.Secret) func() ([]byte, error) {
	if s.IsZero() {
		return nil
	}
	return s.Resolve
}

// treeSize adds up the files below root. What vanishes meanwhile is not there.
func treeSize(root string) (size int64, err error) {
	err = filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		size += info.Size()
		return nil
	})
	return size, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
