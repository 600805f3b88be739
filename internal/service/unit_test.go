package service

import (
	"strings"
	"testing"
)

func TestUnitOfService(t *testing.T) {
	installed := parseUnit("LoadState=loaded\nUser=auditail\nSupplementaryGroups=adm vllm\nProtectHome=yes\nProtectSystem=strict\nPrivateTmp=yes\nStateDirectory=auditail\nReadWritePaths=/srv/audit -/mnt/worm\n")
	open := parseUnit("LoadState=loaded\nUser=\nProtectHome=read-only\nProtectSystem=no\nPrivateTmp=no\nStateDirectory=auditail\n")
	absent := parseUnit("LoadState=not-found\nUser=\nProtectHome=yes\n")
	if installed.User() != "auditail" || open.User() != "" || absent.User() != "" {
		t.Errorf("accounts %q, %q, %q", installed.User(), open.User(), absent.User())
	}
	for path, want := range map[string]string{
		"/home/ai/vllm.log":   "ProtectHome=read-only",
		"/root/*.log":         "ProtectHome=read-only",
		"/tmp/vllm.log":       "PrivateTmp=no",
		"/var/log/vllm/*.log": "",
		"/homes/vllm.log":     "",
	} {
		if got := installed.Hides(path); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s is hidden: %q, want %q", path, got, want)
		}
		if open.Hides(path)+absent.Hides(path) != "" {
			t.Errorf("%s is hidden by a unit that hides nothing", path)
		}
	}
	for dir, want := range map[string]string{
		"/var/lib/auditail/archive": "",
		"/srv/audit/gpu-07":         "",
		"/mnt/worm":                 "",
		"/srv":                      "ReadWritePaths=/srv",
		"/var/lib/auditail2":        "ReadWritePaths=/var/lib/auditail2",
	} {
		if got := installed.Seals(dir); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s is sealed: %q, want %q", dir, got, want)
		}
		if open.Seals(dir)+absent.Seals(dir) != "" {
			t.Errorf("%s is sealed by a unit that seals nothing", dir)
		}
	}
}
