package main

import (
	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/service"
	"github.com/auditail/auditail/packaging/systemd"
)

func newService() *cobra.Command {
	return service.NewCommand(service.Program{
		Name: "auditail", Title: "auditail agent", Description: "auditail, the audit trail of AI model servers",
		Unit: systemd.Agent(), Config: config.DefaultFile(configName), State: "/var/lib/auditail",
		Check: func(path string) error {
			cfg, err := config.Load(path)
			if err == nil && countInputs(cfg) == 0 {
				err = errNoInput
			}
			return err
		},
	})
}
