package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/manpage"
	"github.com/auditail/auditail/internal/version"
)

// configName is the file name of the configuration.
const configName = "auditail.toml"

// errReported ends a command whose findings are printed already.
var errReported = errors.New("see the findings above")

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case !errors.Is(err, errReported):
		fmt.Fprintf(stderr, "auditail: %s\n", oneSentence(err))
	}
	return 1
}

// oneSentence joins the lines of errors.Join, but leaves the excerpt of a
// configuration error as it is.
func oneSentence(err error) string {
	if _, ok := errors.AsType[*config.FileError](err); ok {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "auditail",
		Short: "Audit trail for hosts that serve AI models",
		Long: `auditail tails model-server and gateway logs, turns each line into an audit
record (who entered what, into which exact model, from where, under which policy,
what came back), buffers the records on disk in signed batches, and ships them to
central or WORM storage. auditail-verify checks the result offline.`,
		Example: `  auditail check --config auditail.toml     is everything in order?
  auditail run --config auditail.toml       run in the foreground
  auditail run --once                       read what is there, ship it, stop
  auditail status                           inputs, buffer, outputs, alerts at a glance
  auditail tap --input vllm                 watch records as they are written
  auditail try --parser vllm vllm.log       what would become of these lines?
  auditail keys show --format vkey          the key an auditor or server trusts`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// No template of our own, for --version or help: text/template finds methods by
	// name, and the linker then keeps every method of the AWS SDK: 7 MB.
	root.AddCommand(newRun(), newStatus(), newTap(), newReload(), newCheck(), newConfig(), newTry(), newKeys(), newEnroll(), newBuffer(), newDiagnose(), newService(), crash.Command("auditail", "`auditail diagnose` collects what is needed"), manpage.Command(8), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "auditail %s\n", version.String())
			return err
		},
	}
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", config.DefaultFile(configName), "configuration file")
}

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration was checked
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
