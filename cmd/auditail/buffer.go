package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

func newBuffer() *cobra.Command {
	cmd := &cobra.Command{
		Use: "buffer", Short: "Look after the buffer of a stopped agent", Args: cobra.NoArgs,
		Example: `  auditail buffer verify
  auditail buffer export > records.ndjson
  auditail buffer repair --dry-run`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBufferVerify(), newBufferExport(), newBufferRepair())
	return cmd
}

// withBuffer runs f on the buffer of a stopped agent.
func withBuffer(path string, f func(*config.Config, *buffer.Tools, string) error) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.Agent.DataDir, "buffer")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no buffer in %s yet: the agent makes it at its first start", cfg.Agent.DataDir)
	}
	unlock, err := durable.Lock(filepath.Join(cfg.Agent.DataDir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("the agent runs with data_dir %s: stop it first; auditail check looks at the buffer of a running one", cfg.Agent.DataDir)
	}
	if err != nil {
		return err
	}
	tools, err := buffer.NewTools(durable.OS{}, dir, seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID})
	if err == nil {
		err = f(cfg, tools, dir)
	}
	return errors.Join(err, unlock())
}

func newBufferVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Check every frame and every sealed batch", Args: cobra.NoArgs,
		Long: `Reads all segments and all batches that wait for an output, and changes nothing.
One line a finding; exit 1 when something is damaged. A torn tail, which a crash
leaves of a write that was never acknowledged, is no damage.`,
	}
	path := configFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "one JSON object a finding")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withBuffer(*path, func(cfg *config.Config, tools *buffer.Tools, dir string) error {
			c := &checker{out: cmd.OutOrStdout(), json: *asJSON}
			report, err := buffer.Inspect(durable.OS{}, dir)
			if err != nil {
				return err
			}
			for _, d := range report.Damaged {
				c.fail("segments", errors.New(d))
			}
			if len(report.Damaged) == 0 {
				c.ok("segments", fmt.Sprintf("%d with %d frames, all undamaged", report.Segments, report.Frames))
			}
			key, err := newSigningKey(durable.OS{}, cfg).Public()
			if err != nil {
				return err
			}
			batches, findings, err := tools.VerifySpool(key)
			if err != nil {
				return err
			}
			for _, f := range findings {
				c.fail("sealed batches", errors.New(f))
			}
			if len(findings) == 0 {
				c.ok("sealed batches", fmt.Sprintf("%d wait for an output, all verify", batches))
			}
			return c.result()
		})
	}
	return cmd
}

func newBufferExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write out the records that no output may have yet", Args: cobra.NoArgs,
		Long: `Writes the records of all batches that wait for an output, and of those that are
not sealed yet, as lines of JSON. Nothing is removed: the agent ships them at its
next start. What is damaged is passed over, named on standard error, and makes the
exit code 1.`,
		Example: `  auditail buffer export > records.ndjson
  auditail buffer export --output records.ndjson`,
	}
	path := configFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "", "new file instead of standard output")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withBuffer(*path, func(_ *config.Config, tools *buffer.Tools, _ string) error {
			w, finish, err := exportTo(cmd.OutOrStdout(), *output)
			if err != nil {
				return err
			}
			records, passed, err := tools.Export(w)
			if err = errors.Join(err, finish()); err != nil {
				return err
			}
			for _, p := range passed {
				fmt.Fprintf(cmd.ErrOrStderr(), "passed over: %s\n", p)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d records\n", records)
			if len(passed) > 0 {
				return errReported
			}
			return nil
		})
	}
	return cmd
}

func exportTo(stdout io.Writer, name string) (io.Writer, func() error, error) {
	if name == "" {
		return stdout, func() error { return nil }, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return nil, nil, fmt.Errorf("create output: %w", err)
	}
	return f, func() error { return errors.Join(f.Sync(), f.Close()) }, nil
}

func newBufferRepair() *cobra.Command {
	cmd := &cobra.Command{
		Use: "repair", Short: "Take damaged frames out of the buffer", Args: cobra.NoArgs,
		Long: `Takes damaged stretches out of segments and keeps the damaged originals in
quarantine. The agent starts without repair too, and either way what the stretches
held becomes a gap record; repair spares every further start the search.`,
	}
	path := configFlag(cmd)
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would be done and change nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withBuffer(*path, func(_ *config.Config, tools *buffer.Tools, _ string) error {
			done, err := tools.Repair(*dryRun)
			if err != nil {
				return err
			}
			if len(done) == 0 {
				done = []string{"nothing to repair"}
			}
			for _, d := range done {
				if *dryRun {
					d = "would: " + d
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}
