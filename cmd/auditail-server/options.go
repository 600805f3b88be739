package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
)

// defaultFile is where the packages put the configuration.
func defaultFile() string { return config.DefaultFile("auditail-server.toml") }

// options are the flags that lead to a server.Config. A flag that was given
// overrides the file.
type options struct {
	file    string
	flags   server.Config
	command *cobra.Command
}

// storeOptions adds the flags that say where the store lies.
func storeOptions(c *cobra.Command) *options {
	o := &options{command: c}
	f := c.Flags()
	f.StringVar(&o.file, "config", "", "configuration file (TOML; default where it is, and without --store: "+defaultFile()+")")
	f.StringVar(&o.flags.Store, "store", "", "root directory of the archive, which must exist, or s3://bucket/prefix")
	f.StringVar(&o.flags.State, "state", "", "directory of enrolments and incoming files, on the store's file system and outside of it (default: the store's path + \".state\"; needed with a bucket)")
	return o
}

// work is what a command does over a server's places.
type work func(c *cobra.Command, args []string, config server.Config, d server.Deps) error

// look runs what changes nothing that an auditor would ask about.
func (o *options) look(do work) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		if err := server.CheckUser(config); err != nil {
			return err
		}
		return do(c, args, config, deps(c.ErrOrStderr(), slog.LevelInfo))
	}
}

// recorded runs what is kept in the signed log of what is done on the command
// line, beside that of a server that runs.
func (o *options) recorded(do work) func(*cobra.Command, []string) error {
	nameOptions(o)
	return o.look(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		return withJournal(c.Context(), config, d, func(d server.Deps) error { return do(c, args, config, d) })
	})
}

// table prints values as a table, or as one JSON array when that is asked for.
func table[T any](c *cobra.Command, asJSON bool, header string, values []T, row func(v *T) string) error {
	if asJSON {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(values)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	for i := range values {
		fmt.Fprintln(w, row(&values[i]))
	}
	return w.Flush()
}

// row joins the cells of a table's row.
func row(cells ...any) string {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = fmt.Sprint(cell)
	}
	return strings.Join(texts, "\t")
}

// clock spells a time for people.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// nameOptions adds the flags that say under which names the server signs.
func nameOptions(o *options) {
	f, defaults := o.command.Flags(), server.DefaultConfig()
	f.StringVar(&o.flags.Organization, "organization", defaults.Organization, "first part of the names under which the server signs")
	f.StringVar(&o.flags.ID, "id", defaults.ID, "name of the server's own log; each of several servers over one store needs another")
}

// listenOptions adds the flags that say how agents reach the server.
func listenOptions(c *cobra.Command) *options {
	o := storeOptions(c)
	nameOptions(o)
	f := c.Flags()
	defaults := server.DefaultConfig()
	f.StringVar(&o.flags.Listen, "listen", defaults.Listen, "address to listen on; without TLS only a loopback address")
	f.StringVar(&o.flags.TLSCert, "tls-cert", "", "PEM file of the certificate chain")
	f.StringVar(&o.flags.TLSKey, "tls-key", "", "PEM file of the certificate's key")
	f.Int64Var(&o.flags.MaxPayload, "max-payload", defaults.MaxPayload, "most bytes a payload may have, compressed")
	return o
}

// config returns the effective configuration.
func (o *options) config() (server.Config, error) {
	c := server.DefaultConfig()
	if o.file == "" && o.flags.Store == "" {
		if _, err := os.Stat(defaultFile()); err == nil {
			o.file = defaultFile()
		}
	}
	if o.file != "" {
		var err error
		if c, err = server.LoadConfig(durable.OS{}, o.file); err != nil {
			return c, err
		}
	}
	for flag, set := range map[string]func(){
		"store":        func() { c.Store = o.flags.Store },
		"state":        func() { c.State = o.flags.State },
		"listen":       func() { c.Listen = o.flags.Listen },
		"tls-cert":     func() { c.TLSCert = o.flags.TLSCert },
		"tls-key":      func() { c.TLSKey = o.flags.TLSKey },
		"max-payload":  func() { c.MaxPayload = o.flags.MaxPayload },
		"organization": func() { c.Organization = o.flags.Organization },
		"id":           func() { c.ID = o.flags.ID },
	} {
		if f := o.command.Flags().Lookup(flag); f != nil && f.Changed {
			set()
		}
	}
	return c, nil
}

// deps are the real ones; the log goes to w.
func deps(w io.Writer, level slog.Level) server.Deps {
	return server.Deps{
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})),
		FS:     durable.OS{},
		Now:    time.Now,
		Lock:   durable.Lock,
	}
}
