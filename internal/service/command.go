package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	kardianos "github.com/kardianos/service"
	"github.com/spf13/cobra"
)

// ErrNotRunning is what status returns, behind its line, for a service that does
// not run.
var ErrNotRunning = errors.New("the service does not run")

// NewCommand returns the command `service` of a program.
func NewCommand(p Program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "Install and control the system service", Args: cobra.NoArgs,
		Long: `Makes ` + p.Name + ` a service of the system: of systemd, with the unit of the
packages, of launchd, or of Windows. Where a package is installed its unit is there
already, and only start, stop, restart and status are of use.`,
		Example: fmt.Sprintf("  %[1]s service install --config %[2]s\n  %[1]s service start\n  %[1]s service status", p.Name, p.Config),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newInstall(p), newUninstall(p), newStatus(p))
	for verb, c := range map[string]struct {
		short string
		what  func(kardianos.Service) error
	}{
		"start":   {"Start the service, and wait until it is ready", kardianos.Service.Start},
		"stop":    {"Stop the service", kardianos.Service.Stop},
		"restart": {"Restart the service, and wait until it is ready", kardianos.Service.Restart},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: verb, Short: c.short, Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return thisHost().steer(p, verb, c.what) },
		})
	}
	return cmd
}

func newInstall(p Program) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use: "install", Short: "Install the service and have it start with the system", Args: cobra.NoArgs,
		Long: `Checks the configuration, makes the account and installs the service. It runs the
program that this command is of: put that where it stays, as /usr/local/bin.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err == nil {
				exe, err = filepath.EvalSymlinks(exe)
			}
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return say(cmd)(thisHost().install(p, o, exe))
		},
	}
	cmd.Flags().StringVarP(&o.Config, "config", "c", p.Config, "configuration file")
	cmd.Flags().StringVar(&o.User, "user", "", "account to run as, with launchd and Windows")
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace a service that is installed already")
	return cmd
}

func newUninstall(p Program) *cobra.Command {
	return &cobra.Command{
		Use: "uninstall", Short: "Stop the service and remove it; data and configuration stay", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return say(cmd)(thisHost().uninstall(p)) },
	}
}

func newStatus(p Program) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell whether the service is installed and runs; exit 1 when it does not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			line, running, err := thisHost().status(p)
			if err := say(cmd)(line, err); err != nil {
				return err
			}
			if !running {
				return ErrNotRunning
			}
			return nil
		},
	}
}

// say prints what was done.
func say(cmd *cobra.Command) func(string, error) error {
	return func(line string, err error) error {
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
		return err
	}
}
