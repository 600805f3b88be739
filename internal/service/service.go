// Package service makes one of our programs a service of the system it runs on:
// systemd with our own hardened unit, launchd, Windows services.
//
// Its promise: what is installed is what the packages install, an existing unit
// is never written over without being asked, a step that fails leaves nothing
// half done, and each refusal says what to do instead. Data is never removed.
package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	kardianos "github.com/kardianos/service"
)

// Program is what becomes a service.
type Program struct {
	Name        string // of program, unit and account
	Title       string
	Description string
	Unit        string // the package's systemd unit
	Config      string // the package's configuration, an absolute path that Unit names
	State       string // where Unit keeps the data
	// Check tells what is wrong with a configuration.
	Check func(path string) error
}

// Options of an installation.
type Options struct {
	Config string // path of the configuration
	User   string // account, of launchd and Windows; the unit has its own
	Force  bool   // replace what is installed
}

// host is where a service is installed. Tests have their own.
type host struct {
	root    string // in front of the paths of units
	systemd bool   // systemd runs here
	admin   bool   // may install
	control func(Program, *kardianos.Config) (kardianos.Service, error)
	account func(Program) error
}

func thisHost() *host {
	_, err := os.Stat("/run/systemd/system")
	return &host{
		systemd: err == nil, admin: runtime.GOOS == "windows" || os.Geteuid() == 0,
		control: func(_ Program, c *kardianos.Config) (kardianos.Service, error) { return kardianos.New(idle{}, c) },
		account: makeAccount,
	}
}

// idle satisfies the library where nothing is run through it.
type idle struct{}

func (idle) Start(kardianos.Service) error { return nil }
func (idle) Stop(kardianos.Service) error  { return nil }

// unitPath is where an installation puts its unit; packagedUnit where packages do.
func (h *host) unitPath(p Program) string {
	return filepath.Join(h.root, "/etc/systemd/system", p.Name+".service")
}

func (h *host) packagedUnit(p Program) (path string, found bool) {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		path = filepath.Join(h.root, dir, p.Name+".service")
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}

// ready tells why nothing can be done here.
func (h *host) ready(p Program, verb string, change bool) error {
	if runtime.GOOS == "linux" && !h.systemd {
		return fmt.Errorf("systemd does not run here, and no other service manager of Linux is supported: "+
			"in a container make `%s run` its program, elsewhere start that from your service manager", p.Name)
	}
	if change && !h.admin {
		return fmt.Errorf("this needs root: sudo %s service %s", p.Name, verb)
	}
	return nil
}

// Install makes the service start with the system. It does not start it now.
func (h *host) install(p Program, o Options, exe string) (string, error) {
	if err := h.ready(p, "install", true); err != nil {
		return "", err
	}
	config, err := filepath.Abs(o.Config)
	if err != nil {
		return "", fmt.Errorf("find configuration: %w", err)
	}
	if path, found := h.packagedUnit(p); found {
		return "", fmt.Errorf("the package has installed %s already: start it with: systemctl enable --now %s", path, p.Name)
	}
	if err := p.Check(config); err != nil {
		return "", fmt.Errorf("nothing was installed, the configuration has to be right first: %w", err)
	}
	settings := p.settings(exe, config, o.User)
	if runtime.GOOS == "darwin" {
		list, err := plist(p, exe, config, o.User)
		if err != nil {
			return "", err
		}
		settings.Option["LaunchdConfig"] = list
	}
	if runtime.GOOS != "linux" {
		return h.register(p, settings, o.Force)
	}
	if o.User != "" {
		return "", errors.New("--user is for launchd and Windows: the unit has a user of its own, and systemctl edit " + p.Name + " another")
	}
	unit, err := render(p, exe, config)
	if err != nil {
		return "", err
	}
	settings.Option = kardianos.KeyValue{"SystemdScript": unit}
	return h.installUnit(p, settings, unit, o.Force)
}

func (p Program) settings(exe, config, user string) *kardianos.Config {
	return &kardianos.Config{
		Name: p.Name, DisplayName: p.Title, Description: p.Description, Executable: exe, UserName: user,
		Arguments: []string{"run", "--config", config},
		Option: kardianos.KeyValue{
			"OnFailure": "restart", "OnFailureDelayDuration": "2s", "DelayedAutoStart": true, // Windows
		},
	}
}

// installUnit writes the unit and enables it. The library refuses to write over a
// unit, and leaves the one that it could not enable: both are for us.
func (h *host) installUnit(p Program, settings *kardianos.Config, unit string, force bool) (string, error) {
	path := h.unitPath(p)
	old, err := os.ReadFile(path) //nolint:gosec // a fixed folder
	switch {
	case err == nil && string(old) == unit:
		return fmt.Sprintf("%s is installed already, and as it should be", p.Name), nil
	case err == nil && !force:
		return "", fmt.Errorf("%s exists and differs from what would be installed: put local changes into a drop-in (systemctl edit %s) and say --force to replace it", path, p.Name)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return "", fmt.Errorf("replace unit: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("look for unit: %w", err)
	}
	err = h.account(p)
	if err == nil {
		err = h.do(p, settings, kardianos.Service.Install)
	}
	if err == nil {
		return fmt.Sprintf("%s is installed and starts with the system; start it now with: %s service start", p.Name, p.Name), nil
	}
	if old != nil {
		return "", errors.Join(fmt.Errorf("install %s: %w", p.Name, err), os.WriteFile(path, old, 0o644)) //nolint:gosec // units are for all to read
	}
	if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return "", fmt.Errorf("install %s: %w", p.Name, err)
}

// register installs through launchd or as a Windows service.
func (h *host) register(p Program, settings *kardianos.Config, force bool) (string, error) {
	service, err := h.control(p, settings)
	if err != nil {
		return "", fmt.Errorf("reach the service manager: %w", err)
	}
	if _, err := service.Status(); !errors.Is(err, kardianos.ErrNotInstalled) {
		if !force {
			return "", fmt.Errorf("%s is installed already: --force replaces it", p.Name)
		}
		_ = service.Stop() // that it does not run is no reason
		if err := service.Uninstall(); err != nil {
			return "", fmt.Errorf("replace %s: %w", p.Name, err)
		}
	}
	if err := service.Install(); err != nil {
		return "", fmt.Errorf("install %s: %w", p.Name, err)
	}
	return fmt.Sprintf("%s is installed and starts with the system; start it now with: %s service start", p.Name, p.Name), nil
}

// uninstall stops the service and removes it. Data, configuration and account stay.
func (h *host) uninstall(p Program) (string, error) {
	if err := h.ready(p, "uninstall", true); err != nil {
		return "", err
	}
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(h.unitPath(p)); errors.Is(err, fs.ErrNotExist) {
			if path, found := h.packagedUnit(p); found {
				return "", fmt.Errorf("%s belongs to the package: apt remove %s, or rpm -e %s", path, p.Name, p.Name)
			}
			return "", fmt.Errorf("%s is not installed as a service", p.Name)
		}
	}
	settings := p.settings("", "", "")
	if err := h.do(p, settings, kardianos.Service.Stop); err != nil && runtime.GOOS == "linux" {
		return "", fmt.Errorf("stop %s: %w", p.Name, err)
	}
	if err := h.do(p, settings, kardianos.Service.Uninstall); err != nil {
		return "", fmt.Errorf("uninstall %s: %w", p.Name, err)
	}
	data := "data_dir"
	if runtime.GOOS == "linux" {
		data = p.State
	}
	return fmt.Sprintf("%s is no service any more; its data (%s), configuration and account are kept: they are evidence", p.Name, data), nil
}

// do has the service manager do something.
func (h *host) do(p Program, settings *kardianos.Config, what func(kardianos.Service) error) error {
	service, err := h.control(p, settings)
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	return what(service)
}

// steer starts, stops or restarts the service.
func (h *host) steer(p Program, verb string, what func(kardianos.Service) error) error {
	if err := h.ready(p, verb, true); err != nil {
		return err
	}
	err := h.do(p, p.settings("", "", ""), what)
	if err == nil && verb != "stop" {
		err = awaitReady(p.Name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w%s", verb, p.Name, err, hint(p))
	}
	return nil
}

// hint is where the reason of a failure stands.
func hint(p Program) string {
	switch runtime.GOOS {
	case "linux":
		return fmt.Sprintf(": systemctl status %s and journalctl -u %s say why", p.Name, p.Name)
	case "windows":
		return fmt.Sprintf(": the event log says why (Event Viewer, Windows Logs, Application, source %s)", p.Name)
	case "darwin":
		return fmt.Sprintf(": %s says why", launchdLog(p.Name))
	}
	return ""
}

// status returns one line, and whether the service runs.
func (h *host) status(p Program) (string, bool, error) {
	if err := h.ready(p, "status", false); err != nil {
		return "", false, err
	}
	service, err := h.control(p, p.settings("", "", ""))
	if err != nil {
		return "", false, fmt.Errorf("reach the service manager: %w", err)
	}
	switch status, err := service.Status(); {
	case errors.Is(err, kardianos.ErrNotInstalled):
		return p.Name + " is not installed as a service", false, nil
	case err != nil:
		return "", false, fmt.Errorf("status of %s: %w%s", p.Name, err, hint(p))
	case status == kardianos.StatusRunning:
		return p.Name + " runs", true, nil
	}
	return p.Name + " is installed and stopped", false, nil
}

// hidden are folders that the unit hides from the service.
func hidden() []string { return []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"} }

// render is the package's unit for this program and configuration. The text has
// none of the library's template actions.
func render(p Program, exe, config string) (string, error) {
	for _, path := range []string{exe, config} {
		if strings.ContainsAny(path, " \t\r\n\"'\\%${};") {
			return "", fmt.Errorf("%q has a character that a unit gives a meaning: move the file", path)
		}
		for _, dir := range hidden() {
			if strings.HasPrefix(path, dir+"/") {
				return "", fmt.Errorf("%s lies under %s, which the service does not see: move the program to /usr/local/bin and the configuration to /etc/auditail", path, dir)
			}
		}
	}
	unit := strings.ReplaceAll(p.Unit, "/usr/bin/"+p.Name+" ", exe+" ")
	return strings.ReplaceAll(unit, p.Config, config), nil
}

// makeAccount makes the account that the unit names, as the package does.
func makeAccount(p Program) error {
	tool, err := exec.LookPath("systemd-sysusers")
	if err != nil {
		return fmt.Errorf("make user %s: systemd-sysusers is not there; make it by hand: useradd --system --user-group --home-dir %s --shell /usr/sbin/nologin %s", p.Name, p.State, p.Name)
	}
	line := fmt.Sprintf("u %s - %q %s", p.Name, p.Title, p.State)
	if out, err := exec.Command(tool, "--inline", line).CombinedOutput(); err != nil { //nolint:gosec,noctx // our own words; it is one write of /etc/passwd
		return fmt.Errorf("make user %s: %w: %s", p.Name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
