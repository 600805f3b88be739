package pipe

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/pushed"
)

// DefaultMaxLine is the longest line handed over whole when nothing else is
// configured, in bytes.
const DefaultMaxLine = pushed.DefaultMaxLine

// Limits of MaxLine in bytes.
const (
	minMaxLine = 256
	maxMaxLine = 1 << 30
)

// Config is what users say about a pipe input.
type Config struct {
	// Name is the input's name; it becomes Line.Source.
	Name string
	// Path is the absolute path of the named pipe.
	Path string
	// MaxLine is the most bytes of one line handed over; 0 is DefaultMaxLine.
	MaxLine int64
}

// Deps is what code gives to a pipe input.
type Deps struct {
	Logger *slog.Logger
	// Memory is shared by the inputs of an agent; nil: the input has its own.
	Memory *inputs.Memory
	// Now defaults to time.Now; it stamps lines.
	Now func() time.Time
}

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if c.Name == "" {
		problems = append(problems, errors.New("name is missing"))
	}
	switch {
	case c.Path == "":
		problems = append(problems, errors.New(`path is missing: give the named pipe, as in path = "/run/vllm/audit.pipe"`))
	case !filepath.IsAbs(c.Path):
		problems = append(problems, fmt.Errorf("path = %q: must be absolute", c.Path))
	}
	if c.MaxLine != 0 && (c.MaxLine < minMaxLine || c.MaxLine > maxMaxLine) {
		problems = append(problems, fmt.Errorf("max_line is %d bytes: must be from %d bytes to 1 GiB", c.MaxLine, minMaxLine))
	}
	return errors.Join(problems...)
}
