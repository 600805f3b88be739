package service

import (
	"os"
	"path/filepath"
	"runtime"
)

// ConfigPath is where the configuration file of a program lies unless it is told
// another, an absolute path.
func ConfigPath(name string) string {
	if runtime.GOOS == "windows" {
		if base := os.Getenv("ProgramData"); base != "" {
			return filepath.Join(base, "auditail", name)
		}
		return `C:\ProgramData\auditail\` + name
	}
	return "/etc/auditail/" + name
}

// launchdLog is the file that launchd writes the output of a service to.
func launchdLog(name string) string { return "/var/log/" + name + ".log" }
