package file

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/framing"
)

// Start says what happens to content that is there when the input sees its
// sources for the first time.
type Start string

// The starts.
const (
	StartBeginning Start = "beginning" // read it (default)
	StartEnd       Start = "end"       // skip it, and say so with a gap of cause start_end
)

// DefaultMaxLine is the longest line handed over whole when nothing else is
// configured, in bytes.
const DefaultMaxLine = 4 << 20

// Limits of MaxLine in bytes.
const (
	minMaxLine = 256
	maxMaxLine = 1 << 30
)

// Config is what users say about a file input.
type Config struct {
	// Name is the input's name; it becomes Line.Source.
	Name string
	// Paths are globs as of path.Match; a component "**" stands for any number
	// of directories, none included. Relative paths start at the working directory.
	Paths []string
	// Exclude are globs of what is not to be followed. Without a separator they
	// are matched against the last component of a path.
	Exclude []string
	// Rotated are globs of further places where rotated files may lie (logrotate's
	// olddir), searched for the unread rest of a followed file. The file's own
	// directory and the directories in it are always searched.
	Rotated []string
	// Start defaults to StartBeginning.
	Start Start
	// MaxLine is the most bytes of one line handed over; 0 is DefaultMaxLine.
	MaxLine int64
	// IgnoreOlder leaves files alone that were never seen before and were not
	// modified for so long; 0 reads all.
	IgnoreOlder time.Duration
	// CloseAfter closes the descriptor of a rotated file that was read to its
	// end and did not change for so long; 0 is five minutes.
	CloseAfter time.Duration
	// Encoding defaults to EncodingUTF8.
	Encoding Encoding
	// Wrapper defaults to WrapperNone.
	Wrapper   Wrapper
	Multiline Multiline
}

// Encoding names how the characters of the files are encoded. Lines are handed
// over in UTF-8.
type Encoding = framing.Encoding

// The encodings.
const (
	EncodingUTF8    = framing.UTF8    // as it is, not looked at
	EncodingUTF16   = framing.UTF16   // the byte order mark says which; without one little endian
	EncodingUTF16LE = framing.UTF16LE // a byte order mark is dropped
	EncodingUTF16BE = framing.UTF16BE // a byte order mark is dropped
	EncodingLatin1  = framing.Latin1  // ISO 8859-1
)

// Wrapper names what others wrote in front of each line. A line that does not
// fit is handed over as it is.
type Wrapper = framing.Wrapper

// The wrappers.
const (
	WrapperNone   = framing.WrapperNone
	WrapperAuto   = framing.WrapperAuto   // what the first line of a file fits
	WrapperCRI    = framing.WrapperCRI    // containerd, CRI-O; split lines are joined
	WrapperDocker = framing.WrapperDocker // Docker's json-file; split lines are joined
	WrapperSyslog = framing.WrapperSyslog // RFC 5424, RFC 3164, and the latter with an ISO 8601 time
)

// Multiline says which lines are joined; at most one of Start and Continue is
// given. They are RE2 patterns that see what is inside the wrapper.
type Multiline struct {
	// Start matches lines that begin a line of several; the others belong to
	// the one before. Continue matches lines that belong to the one before.
	Start, Continue string
	// Timeout is how long after its last part a line waits for more, also one
	// that a container runtime split; 0 is two seconds.
	Timeout time.Duration
	// MaxLines is how many lines are joined at most; 0 is 500.
	MaxLines int
}

func (c *Config) framing() framing.Config {
	return framing.Config{
		Encoding: c.Encoding, Wrapper: c.Wrapper, Start: c.Multiline.Start, Continue: c.Multiline.Continue,
		Timeout: c.Multiline.Timeout, MaxLines: c.Multiline.MaxLines,
	}
}

// Deps is what code gives to a file input.
type Deps struct {
	Logger *slog.Logger
	// Now defaults to time.Now. Its monotonic reading measures waits; its wall
	// clock stamps lines and serves IgnoreOlder, nothing else.
	Now func() time.Time
	// Memory is shared by the inputs of an agent; nil: the input has its own.
	Memory *inputs.Memory
}

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if c.Name == "" {
		problems = append(problems, errors.New("name is missing"))
	}
	if len(c.Paths) == 0 {
		problems = append(problems, errors.New(`paths is empty: give at least one glob, as in paths = ["/var/log/vllm/*.log"]`))
	}
	for _, list := range []struct {
		option string
		globs  []string
	}{{"paths", c.Paths}, {"exclude", c.Exclude}, {"rotated", c.Rotated}} {
		for _, glob := range list.globs {
			if err := validGlob(glob); err != nil {
				problems = append(problems, fmt.Errorf("%s: %q: %w", list.option, glob, err))
			}
		}
	}
	switch c.Start {
	case "", StartBeginning, StartEnd:
	default:
		problems = append(problems, fmt.Errorf("start = %q: must be %q or %q", c.Start, StartBeginning, StartEnd))
	}
	if c.MaxLine != 0 && (c.MaxLine < minMaxLine || c.MaxLine > maxMaxLine) {
		problems = append(problems, fmt.Errorf("max_line is %d bytes: must be from %d bytes to 1 GiB", c.MaxLine, minMaxLine))
	}
	if c.IgnoreOlder < 0 {
		problems = append(problems, fmt.Errorf("ignore_older is %s: must not be negative", c.IgnoreOlder))
	}
	if c.CloseAfter < 0 {
		problems = append(problems, fmt.Errorf("close_after is %s: must not be negative", c.CloseAfter))
	}
	lines := c.framing()
	problems = append(problems, lines.Validate())
	return errors.Join(problems...)
}

// withDefaults returns a copy with every default filled in and every path absolute.
func (c Config) withDefaults() (Config, error) {
	if c.Start == "" {
		c.Start = StartBeginning
	}
	if c.MaxLine == 0 {
		c.MaxLine = DefaultMaxLine
	}
	if c.CloseAfter == 0 {
		c.CloseAfter = 5 * time.Minute
	}
	var err error
	if c.Paths, err = absolute(c.Paths, false); err != nil {
		return c, err
	}
	if c.Rotated, err = absolute(c.Rotated, false); err != nil {
		return c, err
	}
	c.Exclude, err = absolute(c.Exclude, true)
	return c, err
}

// absolute returns the globs from the root on; with bare, those without a
// separator stay as they are.
func absolute(globs []string, bare bool) ([]string, error) {
	out := make([]string, 0, len(globs))
	for _, glob := range globs {
		if !bare || strings.ContainsRune(glob, filepath.Separator) {
			abs, err := filepath.Abs(glob)
			if err != nil {
				return nil, fmt.Errorf("make %q absolute: %w", glob, err)
			}
			glob = abs
		}
		out = append(out, glob)
	}
	return out, nil
}
