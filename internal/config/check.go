package config

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checker checks what the keys mean. Each check names the path of the key it
// looked at, and the tree turns the path into a place.
type checker struct {
	root   *node
	config *Config
	err    error // the first thing wrong
}

// check returns the first thing wrong with a decoded configuration, and
// collects its warnings.
func (k *checker) check() error {
	k.agent()
	inputs := k.inputs()
	k.catalog(inputs)
	k.capture(inputs)
	k.data(inputs)
	k.identities(inputs)
	k.buffer()
	k.outputs()
	k.witnesses()
	k.tests(inputs)
	k.admin()
	return k.err
}

// path is the path of a key: strings and array indexes, as node.at takes them.
type path []any

func (p path) key(name string) path { return append(slices.Clone(p), name) }

// wrong notes what is wrong with a key, or, for a missing one, with its table.
func (k *checker) wrong(at path, format string, args ...any) {
	if k.err == nil {
		k.err = k.root.at(at...).value.errorf(format, args...)
	}
}

func (k *checker) warn(at path, format string, args ...any) {
	where := k.root.at(at...).key.place()
	k.config.Warnings = append(k.config.Warnings, where+": "+fmt.Sprintf(format, args...))
}

func (k *checker) name(at path, what, name string) {
	if !validName(name) {
		k.wrong(at, "%s %q %s, such as %q", what, name, nameRule, cleanName(name))
	}
}

func (k *checker) absolute(at path, what, name string) {
	if err := absolute(k.root.at(at...), what, name); err != nil && k.err == nil {
		k.err = err
	}
}

// unique notes a name that an earlier element has, and remembers it.
func (k *checker) unique(seen map[string]path, at path, what, name string) {
	if first, twice := seen[name]; twice {
		k.wrong(at, "%s %q is there already: %s", what, name, k.root.at(first...).value.place())
	}
	seen[name] = at
}

func (k *checker) agent() {
	agent := &k.config.Agent
	k.name(path{"agent", "id"}, "agent.id", agent.ID)
	for segment := range strings.SplitSeq(agent.Organization, "/") {
		if !validName(segment) {
			k.wrong(path{"agent", "organization"}, "agent.organization %q: each part between slashes %s, such as \"audit.example.com/acme\"", agent.Organization, nameRule)
		}
	}
	k.absolute(path{"agent", "data_dir"}, "agent.data_dir", agent.DataDir)
	if agent.IdentityKey.Env != "" {
		k.wrong(path{"agent", "identity_key", "env"}, `agent.identity_key is a private key, and an environment is inherited and shown; write { file = "/path" } or { credential = "name" }`)
	}
}

// inputs returns the names of all inputs.
func (k *checker) inputs() []string {
	seen := map[string]path{}
	var names []string
	k.config.Inputs.Each(func(kind string, i int, input *Input) {
		at := path{"inputs", kind, i}
		k.input(input, at, "inputs."+kind)
		k.unique(seen, at.key("name"), "an input named", input.Name)
		names = append(names, input.Name)
	})
	for i := range k.config.Inputs.File {
		k.fileInput(&k.config.Inputs.File[i], path{"inputs", "file", i})
	}
	for i := range k.config.Inputs.Pipe {
		k.absolute(path{"inputs", "pipe", i, "path"}, "inputs.pipe.path", k.config.Inputs.Pipe[i].Path)
	}
	for i := range k.config.Inputs.Journald {
		if directory := k.config.Inputs.Journald[i].Directory; directory != "" {
			k.absolute(path{"inputs", "journald", i, "directory"}, "inputs.journald.directory", directory)
		}
	}
	for i := range k.config.Inputs.Syslog {
		input, at := &k.config.Inputs.Syslog[i], path{"inputs", "syslog", i}
		k.pair(at, "inputs.syslog", input.TLSCert, input.TLSKey)
		k.listen(at, "inputs.syslog", input.Listen)
	}
	for i := range k.config.Inputs.HTTP {
		k.httpInput(&k.config.Inputs.HTTP[i], path{"inputs", "http", i}, "inputs.http")
	}
	for i := range k.config.Inputs.OTLP {
		k.httpInput(&k.config.Inputs.OTLP[i], path{"inputs", "otlp", i}, "inputs.otlp")
	}
	if len(names) == 0 {
		k.config.Warnings = append(k.config.Warnings, "no input is configured: the agent has nothing to read")
	}
	return names
}

// input checks what every input has; what is the path of its table for people.
func (k *checker) input(input *Input, at path, what string) {
	k.name(at.key("name"), what+".name", input.Name)
	if slices.Contains([]string{"agent", "catalogue", "rules"}, input.Name) {
		k.wrong(at.key("name"), "%s.name %q is the source of records that the agent makes itself; choose another", what, input.Name)
	}
	k.name(at.key("service"), what+".service", input.Service)
	if input.Service == "auditail" {
		k.wrong(at.key("service"), `service "auditail" is for the agent's own records; choose another`)
	}
	if input.Timezone != "" {
		zone, err := time.LoadLocation(input.Timezone)
		if err != nil || input.Timezone == "Local" {
			k.wrong(at.key("timezone"), `unknown time zone %q; write a name of the IANA database such as "Europe/Berlin" or "UTC"`, input.Timezone)
		}
		input.Location = zone
	}
	if _, defined := k.config.Retention[input.Retention]; !defined {
		k.wrong(at.key("retention"), "retention class %q is not defined; add it to [retention] with its term, such as %s = \"184d\"", input.Retention, quote(input.Retention))
	}
	for i, rule := range input.Ignore {
		if _, err := regexp.Compile(rule.Pattern); err != nil {
			k.wrong(append(at.key("ignore"), i, "pattern"), "%s.ignore.pattern: %s", what, regexError(err))
		}
		k.name(append(at.key("ignore"), i, "name"), what+".ignore.name", rule.Name)
	}
	if input.MaxLine < KiB || input.MaxLine > 64*MiB {
		k.wrong(at.key("max_line"), "%s.max_line must be between 1KiB and 64MiB", what)
	}
}

// httpInput checks what can be checked without opening anything. The input
// itself refuses an address off the host without TLS and token.
func (k *checker) httpInput(input *HTTPInput, at path, what string) {
	if input.Path != "" && !strings.HasPrefix(input.Path, "/") {
		k.wrong(at.key("path"), "%s.path %q must start with a slash", what, input.Path)
	}
	k.pair(at, what, input.TLSCert, input.TLSKey)
	k.listen(at, what, input.Listen)
}

// listen checks the form of an address; which networks it may name is the input's
// business.
func (k *checker) listen(at path, what, address string) {
	network, host, found := strings.Cut(address, ":")
	switch {
	case found && strings.HasPrefix(network, "unix"):
		k.absolute(at.key("listen"), what+".listen", host)
		return
	case !found || network != "tcp" && network != "udp":
		host = address
	}
	_, port, err := net.SplitHostPort(host)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		k.wrong(at.key("listen"), `%s.listen %q is no address; write host:port, such as "127.0.0.1:9428", or unix:/path`, what, address)
	}
}

func (k *checker) pair(at path, what, cert, key string) {
	if (cert == "") != (key == "") {
		k.wrong(at, "%s: tls_cert and tls_key go together; set both or none", what)
	}
}

func (k *checker) fileInput(input *FileInput, at path) {
	for i, glob := range input.Paths {
		k.pattern(append(at.key("paths"), i), "inputs.file.paths", glob)
		k.absolute(append(at.key("paths"), i), "each value of inputs.file.paths", glob)
	}
	for i, glob := range input.Rotated {
		k.pattern(append(at.key("rotated"), i), "inputs.file.rotated", glob)
		k.absolute(append(at.key("rotated"), i), "each value of inputs.file.rotated", glob)
	}
	for i, glob := range input.Exclude {
		k.pattern(append(at.key("exclude"), i), "inputs.file.exclude", glob)
		if strings.ContainsAny(glob, "/"+string(filepath.Separator)) {
			k.absolute(append(at.key("exclude"), i), "a value of inputs.file.exclude with a slash", glob)
		}
	}
	if k.root.at(at...).get("ignore_older") != nil && (input.IgnoreOlder < time.Second || input.IgnoreOlder > 100*year) {
		k.wrong(at.key("ignore_older"), "inputs.file.ignore_older must be between 1s and 100y; leave it out to read files of any age")
	}
	if input.CloseAfter < time.Second || input.CloseAfter > year {
		k.wrong(at.key("close_after"), "inputs.file.close_after must be between 1s and 1y")
	}
	k.multiline(input, at)
}

func (k *checker) multiline(input *FileInput, in path) {
	m, at := &input.Multiline, in.key("multiline")
	for _, pattern := range []struct{ key, text string }{{"start", m.Start}, {"continue", m.Continue}} {
		if _, err := regexp.Compile(pattern.text); err != nil {
			reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
			k.wrong(at.key(pattern.key), "inputs.file.multiline.%s is not a pattern of RE2: %s", pattern.key, reason)
		}
	}
	switch here := k.root.at(in...).get("multiline"); {
	case m.Start != "" && m.Continue != "":
		k.wrong(at.key("continue"), "inputs.file.multiline has both start and continue; give one of them")
	case here != nil && m.Start == "" && m.Continue == "" && input.Wrapper == WrapperNone:
		k.wrong(at, `inputs.file.multiline joins nothing; give it start = "…" or continue = "…"`)
	}
	if m.Timeout < 10*time.Millisecond || m.Timeout > time.Hour {
		k.wrong(at.key("timeout"), "inputs.file.multiline.timeout must be between 10ms and 1h")
	}
	if m.MaxLines < 2 || m.MaxLines > 10_000 {
		k.wrong(at.key("max_lines"), "inputs.file.multiline.max_lines must be between 2 and 10000")
	}
}

func (k *checker) pattern(at path, what, glob string) {
	if _, err := filepath.Match(glob, ""); err != nil {
		k.wrong(at, `%s: %q is not a pattern; a "[" must be closed, or written "\\["`, what, glob)
	}
}

func (k *checker) admin() {
	admin, at := &k.config.Admin, path{"admin"}
	k.absolute(at.key("socket"), "admin.socket", admin.Socket)
	if err := checkAdminSocket(runtime.GOOS, admin.Socket); err != nil {
		k.wrong(at.key("socket"), "%v", err)
	}
	if admin.Listen != "" {
		host, port, err := net.SplitHostPort(admin.Listen)
		if err != nil || port == "" || !loopback(host) {
			k.wrong(at.key("listen"), `admin.listen must be a loopback address with a port, such as "127.0.0.1:9600"; what other hosts should see goes through a proxy of yours`)
		}
	}
	if admin.ReadyAge < 0 || admin.ReadyAge > 0 && admin.ReadyAge < time.Second {
		k.wrong(at.key("ready_age"), "admin.ready_age must be at least 1s, or 0s for no bound")
	}
}

func (k *checker) buffer() {
	b := &k.config.Buffer
	at := path{"buffer"}
	if b.BatchSize < 4*KiB || b.BatchSize > GiB {
		k.wrong(at.key("batch_size"), "buffer.batch_size must be between 4KiB and 1GiB")
	}
	if b.MaxDisk < MiB || b.MaxDisk/2 < b.BatchSize {
		k.wrong(at.key("max_disk"), "buffer.max_disk must be at least 1MiB and hold two batches of batch_size (%s)", b.BatchSize)
	}
	if b.BatchAge < 100*time.Millisecond || b.BatchAge > day {
		k.wrong(at.key("batch_age"), "buffer.batch_age must be between 100ms and 1d")
	}
	if b.Heartbeat < time.Second || b.Heartbeat > day {
		k.wrong(at.key("heartbeat"), "buffer.heartbeat must be between 1s and 1d")
	}
}
