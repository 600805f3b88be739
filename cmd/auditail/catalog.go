package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/agent/catalog/weights"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/probe"
	"github.com/auditail/auditail/internal/version"
)

// declaredCatalog is the catalog of an input that is only tried: it asks nobody.
func declaredCatalog(cfg *config.Config, in *config.Input, log *slog.Logger) *catalog.Catalog {
	return catalog.NewStore(catalogConfig(cfg), catalog.Deps{Log: log, Now: time.Now}).Input(in.Name, in.Provider)
}

// useCatalog gives the agent a model catalog that asks servers and looks at
// weights, and each of its inputs their part of it.
func useCatalog(cfg *config.Config, fsys durable.FS, log *slog.Logger, to *agent.Config) {
	deps := catalog.Deps{Log: log, Now: time.Now, UserAgent: "auditail/" + version.String()}
	if paths := weightsPaths(cfg); len(paths) > 0 {
		cache := filepath.Join(cfg.Agent.DataDir, "catalog", "weights.json")
		deps.Weights = weights.New(weights.Config{Paths: paths, Cache: cache}, weights.Deps{FS: fsys, Log: log, Now: time.Now})
	}
	to.Catalog = catalog.NewStore(catalogConfig(cfg), deps)
	for i := range to.Inputs {
		in := cfg.Inputs.Find(to.Inputs[i].Name)
		to.Inputs[i].Catalog = to.Catalog.Input(in.Name, in.Provider)
	}
}

func catalogConfig(cfg *config.Config) (c catalog.Config) {
	for _, e := range cfg.Catalog {
		entry := catalog.Entry{
			Input: e.Input, Name: e.Name, Provider: e.Provider, ID: e.ID, Version: e.Version, Revision: e.Revision, Digest: e.Digest,
			Adapter: e.Adapter, Config: e.Config, Sensitivity: e.Sensitivity, Owner: e.Owner, Ticket: e.Ticket, Weights: e.Weights,
			Probe: probe.Question{Target: e.Target, Remote: e.ProbeRemote},
		}
		if !e.ProbeToken.IsZero() {
			entry.Probe.Token = e.ProbeToken.Resolve
		}
		c.Entries = append(c.Entries, entry)
	}
	for _, d := range cfg.Data {
		c.Data = append(c.Data, catalog.Data{
			Input: d.Input, Path: d.Path, Model: d.Model, Name: d.Name, Role: d.Role, ID: d.ID, Kind: d.Kind,
			Version: d.Version, Digest: d.Digest, Class: d.Class, Format: d.Format,
		})
	}
	return c
}

func weightsPaths(cfg *config.Config) (paths []string) {
	for _, e := range cfg.Catalog {
		if e.Weights != "" && !slices.Contains(paths, e.Weights) {
			paths = append(paths, e.Weights)
		}
	}
	return paths
}

// weights checks that the agent may read what it is to hash. Servers are not
// asked: that would stand in their logs as somebody's use.
func (c *checker) weights(cfg *config.Config) {
	for _, path := range weightsPaths(cfg) {
		if err := readable(path); err != nil {
			c.fail("weights", err)
		} else {
			c.ok("weights", path)
		}
	}
}

func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return openable(path, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Type()&fs.ModeDir == 0 {
			if err := openable(filepath.Join(path, entry.Name()), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func openable(path string, err error) error {
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
