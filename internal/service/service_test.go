package service

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	kardianos "github.com/kardianos/service"

	"github.com/auditail/auditail/packaging/systemd"
)

func program() Program {
	return Program{
		Name: "auditail", Title: "auditail agent", Unit: systemd.Agent(), Config: "/etc/auditail/auditail.toml", State: "/var/lib/auditail",
		Check: func(string) error { return nil },
	}
}

// manager does with the unit what the library does, and enables as told.
type manager struct {
	kardianos.Service
	path, unit string
	enable     error
	did        []string
}

func (m *manager) Install() error {
	if _, err := os.Stat(m.path); err == nil {
		return errors.New("Init already exists")
	}
	m.did = append(m.did, "install")
	if err := os.WriteFile(m.path, []byte(m.unit), 0o600); err != nil {
		return err
	}
	return m.enable
}

func (m *manager) Stop() error { m.did = append(m.did, "stop"); return nil }

func (m *manager) Uninstall() error {
	m.did = append(m.did, "uninstall")
	return os.Remove(m.path)
}

func testHost(t *testing.T) (*host, *manager) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	m := &manager{path: filepath.Join(root, "etc/systemd/system/auditail.service")}
	h := &host{root: root, systemd: true, admin: true, account: func(Program) error { return nil }}
	h.control = func(_ Program, c *kardianos.Config) (kardianos.Service, error) {
		m.unit, _ = c.Option["SystemdScript"].(string)
		return m, nil
	}
	return h, m
}

func TestUnit(t *testing.T) {
	unit, err := render(program(), "/usr/local/bin/auditail", "/srv/gpu.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nType=notify\n", "\nExecStart=/usr/local/bin/auditail run --config /srv/gpu.toml\n",
		"\nExecReload=/usr/local/bin/auditail reload --config /srv/gpu.toml\n", "\nUser=auditail\n", "\nProtectSystem=strict\n",
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit has no %q", want)
		}
	}
	// The library would take these for its template language.
	if strings.Contains(unit, "{{") || strings.Contains(unit, "/usr/bin/auditail") {
		t.Error("the unit is not complete")
	}
	for _, path := range []string{"/home/ops/auditail", "/root/auditail", "/tmp/auditail", "/opt/my auditail", "/opt/100%", "/opt/$x", `/opt/{{Name}}`} {
		if _, err := render(program(), path, "/etc/auditail/auditail.toml"); err == nil || !strings.Contains(err.Error(), "move") {
			t.Errorf("program %s: %v", path, err)
		}
	}
}

func TestInstall(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // the units are of Linux
	}
	const exe = "/usr/local/bin/auditail"
	options := Options{Config: "/etc/auditail/auditail.toml"}
	wrong := errors.New("line 3: unknown key")
	for name, c := range map[string]struct {
		prepare func(h *host, m *manager, p *Program)
		force   bool
		want    string // of the error; empty: none
		unit    string // of the file behind; "-": none, "=": ours
	}{
		"fresh":               {func(*host, *manager, *Program) {}, false, "", "="},
		"no systemd":          {func(h *host, _ *manager, _ *Program) { h.systemd = false }, false, "systemd does not run here", "-"},
		"not root":            {func(h *host, _ *manager, _ *Program) { h.admin = false }, false, "sudo auditail service install", "-"},
		"wrong configuration": {func(_ *host, _ *manager, p *Program) { p.Check = func(string) error { return wrong } }, false, "line 3", "-"},
		"package installed": {func(h *host, _ *manager, _ *Program) {
			write(t, filepath.Join(h.root, "usr/lib/systemd/system/auditail.service"), "x")
		}, true, "systemctl enable --now auditail", "-"},
		"another unit":         {func(_ *host, m *manager, _ *Program) { write(t, m.path, "mine") }, false, "--force", "mine"},
		"another unit, forced": {func(_ *host, m *manager, _ *Program) { write(t, m.path, "mine") }, true, "", "="},
		"can not enable":       {func(_ *host, m *manager, _ *Program) { m.enable = errors.New("masked") }, false, "masked", "-"},
		"forced, can not enable": {func(_ *host, m *manager, _ *Program) {
			write(t, m.path, "mine")
			m.enable = errors.New("masked")
		}, true, "masked", "mine"},
		"no account": {func(h *host, _ *manager, _ *Program) {
			h.account = func(Program) error { return errors.New("no sysusers") }
		}, false, "no sysusers", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			h, m := testHost(t)
			p := program()
			c.prepare(h, m, &p)
			o := options
			o.Force = c.force
			_, err := h.install(p, o, exe)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("install: %v, want %q", err, c.want)
			}
			got, err := os.ReadFile(m.path)
			want := c.unit
			if want == "=" {
				if want, err = render(p, exe, options.Config); err != nil {
					t.Fatal(err)
				}
			}
			if c.unit == "-" && !os.IsNotExist(err) || c.unit != "-" && string(got) != want {
				t.Errorf("the unit behind is %q (%v), want %q", got, err, c.unit)
			}
			if c.want != "" {
				return
			}
			// The same again changes nothing; uninstall stops first.
			m.did = nil
			if _, err := h.install(p, options, exe); err != nil || len(m.did) > 0 {
				t.Errorf("install again: %v %v", m.did, err)
			}
			line, err := h.uninstall(p)
			if err != nil || !strings.Contains(line, "/var/lib/auditail") || strings.Join(m.did, " ") != "stop uninstall" {
				t.Errorf("uninstall: %q %v %v", line, m.did, err)
			}
			if _, err := h.uninstall(p); err == nil || !strings.Contains(err.Error(), "not installed") {
				t.Errorf("uninstall again: %v", err)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
