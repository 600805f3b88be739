package file

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
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
}

// Deps is what code gives to a file input.
type Deps struct {
	Logger *slog.Logger
	// Now defaults to time.Now. Its monotonic reading measures waits; its wall
	// clock stamps lines and serves IgnoreOlder, nothing else.
	Now func() time.Time
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
