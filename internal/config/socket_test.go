package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAdminSocket(t *testing.T) {
	if got := adminSocket("linux", "/var/lib/auditail"); filepath.ToSlash(got) != "/var/lib/auditail/admin.sock" {
		t.Error(got)
	}
	one := adminSocket("windows", `C:\ProgramData\auditail\data`)
	if !strings.HasPrefix(one, `\\.\pipe\auditail-`) || checkAdminSocket("windows", one) != nil {
		t.Errorf("%s: %v", one, checkAdminSocket("windows", one))
	}
	for folder, same := range map[string]bool{
		`c:\programdata\auditail\data\`: true, `C:/ProgramData/auditail/data`: true, `C:\ProgramData\auditail`: false,
	} {
		if got := adminSocket("windows", folder); (got == one) != same {
			t.Errorf("%s: %s", folder, got)
		}
	}
	for _, path := range []string{`C:\data\admin.sock`, `\\.\pipe\`, `\\.\pipe\a\b`, "/run/admin.sock"} {
		if err := checkAdminSocket("windows", path); err == nil || !strings.Contains(err.Error(), `\\.\pipe\auditail`) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
