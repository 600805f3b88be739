// Package systemd holds the units, for packages and for `service install` alike.
// Both units name the program and the configuration of an installed package.
package systemd

import _ "embed"

//go:embed auditail.service
var agent string

//go:embed auditail-server.service
var server string

// Agent returns the unit of auditail.
func Agent() string { return agent }

// Server returns the unit of auditail-server.
func Server() string { return server }
