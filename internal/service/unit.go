package service

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"strings"
)

// Unit is what systemd says of an installed service: as whom it runs, and what its
// sandbox keeps from it. The zero value is of a service that systemd does not know;
// it keeps nothing from anybody. `auditail check` looks with its eyes.
type Unit struct{ properties map[string]string }

// LookUp asks systemd for the unit of a service.
func LookUp(ctx context.Context, name string) Unit {
	out, err := exec.CommandContext(ctx, "systemctl", "show", //nolint:gosec // name is our program's
		"--property=LoadState,User,SupplementaryGroups,ProtectHome,ProtectSystem,PrivateTmp,StateDirectory,ReadWritePaths", name+".service").Output()
	if err != nil {
		return Unit{} // no systemd, or one that does not run
	}
	return parseUnit(string(out))
}

func parseUnit(text string) Unit {
	u := Unit{properties: map[string]string{}}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		u.properties[key] = value
	}
	if u.properties["LoadState"] != "loaded" {
		return Unit{}
	}
	return u
}

// User is the account that the service runs as; empty: root, or none is installed.
func (u Unit) User() string {
	if name := u.properties["User"]; name != "root" && name != "0" {
		return name
	}
	return ""
}

// Hides says why the service can not see what a path or pattern names, though it
// is there for others, and what to do; empty: it can, as far as the unit goes.
func (u Unit) Hides(name string) string {
	switch home := u.properties["ProtectHome"]; {
	case (home == "yes" || home == "tmpfs") && below(name, "/home", "/root", "/run/user"):
		return "the unit hides /home, /root and /run/user from the service: write the log elsewhere, or systemctl edit the unit: [Service], ProtectHome=read-only"
	case u.properties["PrivateTmp"] == "yes" && below(name, "/tmp", "/var/tmp"):
		return "the service has a /tmp of its own: write the log elsewhere, or systemctl edit the unit: [Service], PrivateTmp=no"
	}
	return ""
}

// Seals says why the service can not write below a folder, and what to do; empty:
// it can, as far as the unit goes.
func (u Unit) Seals(dir string) string {
	if u.properties["ProtectSystem"] != "strict" || u.Makes(dir) {
		return ""
	}
	for open := range strings.FieldsSeq(u.properties["ReadWritePaths"]) {
		if below(dir, strings.TrimLeft(open, "-+")) {
			return ""
		}
	}
	return fmt.Sprintf("the unit lets the service write to its own folder alone: systemctl edit the unit: [Service], ReadWritePaths=%s", dir)
}

// Makes tells whether a folder is one that systemd makes for the service, or lies
// below such a one.
func (u Unit) Makes(dir string) bool {
	for state := range strings.FieldsSeq(u.properties["StateDirectory"]) {
		if below(dir, path.Join("/var/lib", state)) {
			return true
		}
	}
	return false
}

func below(path string, folders ...string) bool {
	for _, folder := range folders {
		if path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/") {
			return true
		}
	}
	return false
}
