package service

import (
	"encoding/xml"
	"fmt"
	"strings"
)

const (
	// launchdFiles is how many files the service may have open. launchd's own limit
	// is 256, and each followed log is one.
	launchdFiles = 65536
	// launchdExit is after how many seconds launchd ends by force what does not stop.
	launchdExit = 20
	// launchdUmask is 0077, which the format can write in decimal alone.
	launchdUmask = 0o077
)

// launchdLog is the file that launchd writes the output of a service to.
func launchdLog(name string) string { return "/var/log/" + name + ".log" }

// plist is the property list of a launchd service (launchd.plist(5)) for a program
// and its configuration. The library would write its own, without limits; it takes
// the text for a template, so that a path may not look like one of its actions.
func plist(p Program, exe, config, user string) (string, error) {
	var b strings.Builder
	var failed error
	text := func(s string) string {
		if failed == nil && strings.Contains(s, "{{") {
			failed = fmt.Errorf("%q has two opening braces, which the file of launchd can not have: move it", s)
		}
		var escaped strings.Builder
		if err := xml.EscapeText(&escaped, []byte(s)); err != nil && failed == nil {
			failed = err
		}
		return escaped.String()
	}
	key := func(name, value string) { fmt.Fprintf(&b, "\t<key>%s</key>\n\t%s\n", name, value) }
	str := func(s string) string { return "<string>" + text(s) + "</string>" }
	number := func(n int) string { return fmt.Sprintf("<integer>%d</integer>", n) }

	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n<plist version=\"1.0\">\n<dict>\n")
	key("Label", str(p.Name))
	key("ProgramArguments", "<array>\n\t\t"+str(exe)+"\n\t\t"+str("run")+"\n\t\t"+str("--config")+"\n\t\t"+str(config)+"\n\t</array>")
	if user != "" {
		key("UserName", str(user))
	}
	key("RunAtLoad", "<true/>")
	key("KeepAlive", "<true/>")
	key("ExitTimeOut", number(launchdExit))
	key("Umask", number(launchdUmask))
	for _, limits := range []string{"SoftResourceLimits", "HardResourceLimits"} {
		key(limits, "<dict>\n\t\t<key>NumberOfFiles</key>\n\t\t"+number(launchdFiles)+"\n\t</dict>")
	}
	key("StandardOutPath", str(launchdLog(p.Name)))
	key("StandardErrorPath", str(launchdLog(p.Name)))
	b.WriteString("</dict>\n</plist>\n")
	return b.String(), failed
}
