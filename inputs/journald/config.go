package journald

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/pushed"
)

// Start says what happens to the entries that are in the journal at the very
// first start.
type Start string

// The starts.
const (
	StartBeginning Start = "beginning" // read them (default)
	StartEnd       Start = "end"       // skip them, and say so with a gap of cause start_end
)

// DefaultMaxLine is the longest line handed over whole when nothing else is
// configured, in bytes.
const DefaultMaxLine = pushed.DefaultMaxLine

// Limits of MaxLine in bytes.
const (
	minMaxLine = 256
	maxMaxLine = 1 << 30
)

// Config is what users say about a journald input.
type Config struct {
	// Name is the input's name; it becomes Line.Source.
	Name string
	// Units are the systemd units to read, as of journalctl --unit; globs are
	// allowed. None, together with no identifiers, stands for the whole journal.
	Units []string
	// Identifiers are the syslog identifiers to read, as of journalctl
	// --identifier. An entry has to match a unit and an identifier when both
	// are given.
	Identifiers []string
	// Start defaults to StartBeginning.
	Start Start
	// Since skips, at the very first start, entries older than this; 0 reads all.
	Since time.Duration
	// Directory of journal files to read instead of the host's; absolute.
	Directory string
	// MaxLine is the most bytes of one line handed over; 0 is DefaultMaxLine.
	MaxLine int64
}

// Deps is what code gives to a journald input.
type Deps struct {
	Logger *slog.Logger
	// Memory is shared by the inputs of an agent; nil: the input has its own.
	Memory *inputs.Memory
	// Now defaults to time.Now; it stamps lines and serves Since.
	Now func() time.Time
	// Journalctl is the program to run; empty looks for journalctl in PATH.
	Journalctl string
}

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if c.Name == "" {
		problems = append(problems, errors.New("name is missing"))
	}
	for _, unit := range c.Units {
		if !validUnit(unit) {
			problems = append(problems, fmt.Errorf("units: %q is no name of a systemd unit, as in \"vllm.service\"", unit))
		}
	}
	for _, identifier := range c.Identifiers {
		if !validIdentifier(identifier) {
			problems = append(problems, fmt.Errorf("identifiers: %q must be 1 to 255 printable characters", identifier))
		}
	}
	switch c.Start {
	case "", StartBeginning, StartEnd:
	default:
		problems = append(problems, fmt.Errorf("start = %q: must be %q or %q", c.Start, StartBeginning, StartEnd))
	}
	switch {
	case c.Since < 0:
		problems = append(problems, fmt.Errorf("since is %s: must not be negative", c.Since))
	case c.Since > 0 && c.Start == StartEnd:
		problems = append(problems, fmt.Errorf("since = %q and start = %q: give one of them", c.Since, c.Start))
	}
	if c.Directory != "" && (!filepath.IsAbs(c.Directory) || strings.ContainsRune(c.Directory, 0)) {
		problems = append(problems, fmt.Errorf("directory = %q: must be absolute", c.Directory))
	}
	if c.MaxLine != 0 && (c.MaxLine < minMaxLine || c.MaxLine > maxMaxLine) {
		problems = append(problems, fmt.Errorf("max_line is %d bytes: must be from %d bytes to 1 GiB", c.MaxLine, minMaxLine))
	}
	return errors.Join(problems...)
}

// validUnit takes the characters of unit names (systemd.unit(5)) and of globs.
func validUnit(name string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@*?[]"
	return name != "" && len(name) <= 255 && strings.Trim(name, alphabet) == ""
}

func validIdentifier(name string) bool {
	return name != "" && len(name) <= 255 &&
		strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) < 0
}

// selection are the arguments that choose entries; each is one argument, so
// that no value is taken for an option.
func (c *Config) selection() []string {
	var args []string
	for _, unit := range c.Units {
		args = append(args, "--unit="+unit)
	}
	for _, identifier := range c.Identifiers {
		args = append(args, "--identifier="+identifier)
	}
	return args
}
