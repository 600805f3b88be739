package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/service"
	"github.com/auditail/auditail/outputs"
)

// probeTimeout bounds the probe of one output.
const probeTimeout = 15 * time.Second

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check configuration, permissions, buffer and outputs", Args: cobra.NoArgs,
		Long: `Checks the configuration, the permissions of keys and folders, TLS files, the
health of the buffer, the [[test]] cases, and each output with a probe. One line a
finding; exit 0 when there is no error, 1 otherwise. It may run beside a running
agent.

For the configuration of an installed service it looks as the service does: root
becomes the unit's user with its groups, and what the unit's sandbox keeps from the
service is an error.`,
	}
	path := configFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "one JSON object a finding")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := &checker{out: cmd.OutOrStdout(), json: *asJSON}
		c.asService(cmd.Context(), *path)
		cfg, err := config.Load(*path)
		if err != nil {
			c.fail("configuration", err)
			return c.result()
		}
		c.ok("configuration", *path)
		for _, w := range cfg.Warnings {
			c.print("warning", "configuration", w)
		}
		c.all(cmd.Context(), cfg)
		return c.result()
	}
	return cmd
}

// checker prints findings and remembers whether one was an error.
type checker struct {
	out    io.Writer
	json   bool
	unit   service.Unit // of the service that runs with this configuration, if one does
	failed bool
	err    error // of writing
}

func (c *checker) print(level, part, text string) {
	var err error
	if c.json {
		err = json.NewEncoder(c.out).Encode(map[string]string{"level": level, "part": part, "text": text})
	} else {
		_, err = fmt.Fprintf(c.out, "%-7s  %s: %s\n", level, part, text)
	}
	c.err = errors.Join(c.err, err)
}

func (c *checker) ok(part, text string)   { c.print("ok", part, text) }
func (c *checker) warn(part, text string) { c.print("warning", part, text) }
func (c *checker) fail(part string, err error) {
	c.failed = true
	c.print("error", part, oneSentence(err))
}

func (c *checker) result() error {
	if c.failed {
		return errors.Join(errReported, c.err)
	}
	return c.err
}

// asService takes the place of the installed service: what root may read and
// write says nothing about it.
func (c *checker) asService(ctx context.Context, path string) {
	if path != config.DefaultFile(configName) {
		return
	}
	c.unit = service.LookUp(ctx, "auditail")
	if c.unit.User() == "" || os.Geteuid() != 0 {
		return
	}
	if err := c.unit.Become(); err != nil {
		c.warn("user", fmt.Sprintf("checked as root, which says little about the service: %v", err))
		return
	}
	c.ok("user", c.unit.User()+", as the service runs")
}

func (c *checker) all(ctx context.Context, cfg *config.Config) {
	fsys := durable.OS{}
	if c.folder("data_dir", cfg.Agent.DataDir) {
		c.keys(fsys, cfg)
		c.buffer(fsys, cfg)
	}
	for _, look := range []func() error{cfg.CheckFiles, cfg.CheckSecrets} {
		if err := look(); err != nil {
			c.fail("configuration", err)
			return
		}
	}
	if _, err := newInputs(cfg, checkKey(), inputs.NewMemory(longestLine(cfg)), slog.New(slog.DiscardHandler)); err != nil {
		c.fail("inputs", err)
	}
	if countInputs(cfg) == 0 {
		c.fail("inputs", errNoInput)
	}
	for i := range cfg.Inputs.File {
		c.files(&cfg.Inputs.File[i])
	}
	cfg.Inputs.Each(func(kind string, _ int, in *config.Input) {
		if kind != "file" {
			c.ok("input "+in.Name, kind+", opened by run alone")
		}
	})
	c.tests(ctx, cfg)
	c.weights(cfg)
	c.outputs(ctx, fsys, cfg)
}

// tests runs the [[test]] cases of the configuration.
func (c *checker) tests(ctx context.Context, cfg *config.Config) {
	for i := range cfg.Tests {
		part := fmt.Sprintf("test %q", cfg.Tests[i].Name)
		if err := runTest(ctx, cfg, &cfg.Tests[i]); err != nil {
			c.fail(part, err)
			continue
		}
		c.ok(part, "as expected")
	}
}

func (c *checker) keys(fsys durable.FS, cfg *config.Config) {
	signing := newSigningKey(fsys, cfg)
	_, err := signing.Public()
	switch {
	case errors.Is(err, fs.ErrNotExist) && cfg.Agent.IdentityKey.File != "":
		c.ok("signing key", "none yet; it is made at the first start")
	case err != nil:
		c.fail("signing key", err)
	default:
		c.ok("signing key", signing.String())
	}
	_, err = readCaptureKeys(cfg.Capture.HMACKey)
	switch {
	case errors.Is(err, fs.ErrNotExist) && cfg.Capture.HMACKey.File != "":
		c.ok("capture key", "none yet; it is made at the first start")
	case err != nil:
		c.fail("capture key", err)
	default:
		c.ok("capture key", cfg.Capture.HMACKey.String())
	}
}

func (c *checker) buffer(fsys durable.FS, cfg *config.Config) {
	report, err := buffer.Inspect(fsys, filepath.Join(cfg.Agent.DataDir, "buffer"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.ok("buffer", "none yet; it is made at the first start")
	case err != nil:
		c.fail("buffer", err)
	case len(report.Damaged) > 0:
		for _, d := range report.Damaged {
			c.fail("buffer", errors.New(d))
		}
	default:
		c.ok("buffer", fmt.Sprintf("%d segments with %d frames, all undamaged", report.Segments, report.Frames))
	}
}

// folder checks that a folder can be written, or made where it is absent. It
// makes nothing: check may run as another user than the agent.
func (c *checker) folder(part, dir string) bool {
	for parent := dir; ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil && parent != filepath.Dir(parent) {
			continue
		}
		switch sealed := c.unit.Seals(dir); {
		case sealed != "":
			c.fail(part, fmt.Errorf("%s: %s", dir, sealed))
		case err != nil:
			c.fail(part, err)
		case !info.IsDir():
			c.fail(part, fmt.Errorf("%s is not a folder: name one, which need not exist", parent))
		case parent != dir && c.unit.Makes(dir):
			c.ok(part, dir+", made at the first start")
			return true
		default:
			return c.writable(part, dir, parent)
		}
		return false
	}
}

func (c *checker) writable(part, dir, parent string) bool {
	probe, err := os.CreateTemp(parent, ".auditail-check-*")
	if err != nil {
		c.fail(part, fmt.Errorf("%s can not be made or written: %w", dir, err))
		return false
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		c.fail(part, err)
		return false
	}
	if parent != dir {
		dir += ", made at the first start"
	}
	c.ok(part, dir)
	return true
}

// files checks that what a file input's globs match now can be read.
func (c *checker) files(in *config.FileInput) {
	part := "input " + in.Name
	found, failed := 0, false
	for _, glob := range in.Paths {
		n, err := c.matching(glob)
		if err != nil {
			c.fail(part, err)
			failed = true
		}
		found += n
	}
	switch {
	case found > 0:
		c.ok(part, fmt.Sprintf("%d files", found))
	case !failed:
		c.warn(part, "no file matches its paths yet")
	}
}

// matching counts the files that match and can be read, and says what keeps the
// agent from others.
func (c *checker) matching(glob string) (found int, err error) {
	if hidden := c.unit.Hides(glob); hidden != "" {
		return 0, fmt.Errorf("%s: %s", glob, hidden)
	}
	matches, err := filepath.Glob(glob)
	if err != nil {
		return 0, fmt.Errorf("glob %q: %w", glob, err)
	}
	const access = "%w: give the user of the agent read access, by group or ACL"
	var unreadable []error
	for _, name := range matches {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			if name == glob {
				return 0, fmt.Errorf("%s is a folder: name the files in it, such as %s", name, filepath.Join(name, "*.log"))
			}
			continue
		}
		f, err := os.Open(name) //nolint:gosec // a configured path
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf(access, err))
			continue
		}
		_ = f.Close()
		found++
	}
	if len(matches) == 0 {
		// Glob takes a folder that it may not list for an empty one.
		if _, err := os.ReadDir(filepath.Dir(glob)); errors.Is(err, fs.ErrPermission) {
			return 0, fmt.Errorf(access, err)
		}
	}
	return found, errors.Join(unreadable...)
}

func (c *checker) outputs(ctx context.Context, fsys durable.FS, cfg *config.Config) {
	there := *cfg
	there.Outputs.Directory = nil
	for _, o := range cfg.Outputs.Directory {
		if info, err := os.Stat(o.Path); err != nil || !info.IsDir() {
			c.folder("output "+o.Name, o.Path) // New would make it
			continue
		}
		there.Outputs.Directory = append(there.Outputs.Directory, o)
	}
	list, err := newOutputs(ctx, &there, fsys, slog.New(slog.DiscardHandler))
	if err != nil {
		c.fail("outputs", err)
		return
	}
	for _, o := range list {
		part := "output " + o.Name
		prober, ok := o.Output.(outputs.Prober)
		if !ok {
			c.ok(part, "has no probe")
			continue
		}
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		err := prober.Probe(probe)
		cancel()
		if err = errors.Join(err, o.Output.Close()); err != nil {
			c.fail(part, err)
			continue
		}
		c.ok(part, "accepts batches")
	}
}
