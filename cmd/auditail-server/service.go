package main

import (
	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/internal/service"
	"github.com/auditail/auditail/packaging/systemd"
)

func serviceCommand() *cobra.Command {
	return service.NewCommand(service.Program{
		Name: "auditail-server", Title: "auditail central receiver", Description: "auditail-server, the central receiver of audit batches",
		Unit: systemd.Server(), Config: defaultFile(), State: "/var/lib/auditail-server",
		Check: func(path string) error {
			_, err := server.LoadConfig(durable.OS{}, path)
			return err
		},
	})
}
