// Package framing turns the physical lines of a file into the lines that
// parsers get: it decodes, takes off what a container runtime or a syslog
// daemon wrote in front, and joins what belongs together.
//
// Its promise is that of the input it works for: every physical line becomes
// part of exactly one line, and what a line is depends on the bytes of the file
// alone, not on where a read ended or the agent was stopped. It keeps it by
// having no memory. A [Framer] is shown the bytes from a clean cut on, and
// hands over the lines up to the next one: a clean cut is a place that no line
// reaches across, although the lines of two streams may interleave. What stands
// behind it is shown again when there is more. So nothing of an unfinished join
// lies anywhere but in the file.
//
// Three things end a line early: nothing more of it came for the timeout, a
// limit, or the end of the file. Only the first depends on time.
package framing

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Encoding names how the characters of a file are encoded.
type Encoding string

// The encodings. Lines are handed over in UTF-8.
const (
	UTF8    Encoding = "utf-8"    // as it is, not looked at
	UTF16   Encoding = "utf-16"   // the byte order mark says which; without one little endian
	UTF16LE Encoding = "utf-16le" // a byte order mark is dropped
	UTF16BE Encoding = "utf-16be" // a byte order mark is dropped
	Latin1  Encoding = "latin-1"  // ISO 8859-1
)

// Wrapper names what others wrote in front of each line.
type Wrapper string

// The wrappers. A line that does not fit its wrapper is handed over as it is.
const (
	WrapperNone   Wrapper = "none"
	WrapperAuto   Wrapper = "auto"   // what the first line of a file fits
	WrapperCRI    Wrapper = "cri"    // containerd, CRI-O: time, stream, P or F
	WrapperDocker Wrapper = "docker" // Docker's json-file: an object with log, stream, time
	WrapperSyslog Wrapper = "syslog" // RFC 5424, RFC 3164, and the latter with an ISO 8601 time
)

// Defaults of a Config.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultMaxLines = 500
)

// Bounds of a Config.
const (
	minTimeout = 10 * time.Millisecond
	maxTimeout = time.Hour
	// maxMaxLines is below maxHeld, so that the limit a user chose comes first.
	maxMaxLines = 10_000
)

// maxHeld is how many physical lines wait for a clean cut at most.
const maxHeld = 32 << 10

// overhead is room for what a wrapper adds to a line of max_line. Runtimes cut
// lines at 16 KiB, of which JSON escapes make at most 96 KiB.
const overhead = 128 << 10

// Config is what users say about the lines of an input. Its zero value means
// physical lines as they are.
type Config struct {
	Encoding Encoding // empty: UTF8
	Wrapper  Wrapper  // empty: WrapperNone
	// Start is an RE2 pattern of lines that begin a line of several; those that
	// do not match belong to the one before. Continue is one of lines that
	// belong to the one before. At most one of both is given. They see what is
	// inside the wrapper, of a line that the runtime split its first part.
	Start, Continue string
	// Timeout is how long after its last part a line waits for more; 0 is
	// DefaultTimeout.
	Timeout time.Duration
	// MaxLines is how many lines are joined at most; 0 is DefaultMaxLines.
	MaxLines int
}

// Plain tells whether lines are handed over as they are.
func (c *Config) Plain() bool {
	return (c.Encoding == "" || c.Encoding == UTF8) && (c.Wrapper == "" || c.Wrapper == WrapperNone) && !c.multiline()
}

func (c *Config) multiline() bool { return c.Start != "" || c.Continue != "" }

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if !slices.Contains([]Encoding{"", UTF8, UTF16, UTF16LE, UTF16BE, Latin1}, c.Encoding) {
		problems = append(problems, fmt.Errorf("encoding = %q: must be %q, %q, %q, %q or %q",
			c.Encoding, UTF8, UTF16, UTF16LE, UTF16BE, Latin1))
	}
	if !slices.Contains([]Wrapper{"", WrapperNone, WrapperAuto, WrapperCRI, WrapperDocker, WrapperSyslog}, c.Wrapper) {
		problems = append(problems, fmt.Errorf("wrapper = %q: must be %q, %q, %q, %q or %q",
			c.Wrapper, WrapperNone, WrapperAuto, WrapperCRI, WrapperDocker, WrapperSyslog))
	}
	if c.Start != "" && c.Continue != "" {
		problems = append(problems, errors.New("multiline has both start and continue: give one"))
	}
	for _, pattern := range []struct{ option, text string }{{"start", c.Start}, {"continue", c.Continue}} {
		if _, err := regexp.Compile(pattern.text); err != nil {
			problems = append(problems, fmt.Errorf("multiline.%s: %w", pattern.option, err))
		}
	}
	if c.Timeout != 0 && (c.Timeout < minTimeout || c.Timeout > maxTimeout) {
		problems = append(problems, fmt.Errorf("multiline.timeout is %s: must be from %s to %s", c.Timeout, minTimeout, maxTimeout))
	}
	if c.MaxLines != 0 && (c.MaxLines < 2 || c.MaxLines > maxMaxLines) {
		problems = append(problems, fmt.Errorf("multiline.max_lines is %d: must be from 2 to %d", c.MaxLines, maxMaxLines))
	}
	return errors.Join(problems...)
}

// File is what is known of the lines of one file.
type File struct {
	encoding Encoding // never UTF16
	wrapper  Wrapper  // never WrapperAuto
}

// New returns a framer for files whose lines are handed over up to maxLine
// bytes long.
func New(config Config, maxLine int64) (*Framer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Encoding == "" {
		config.Encoding = UTF8
	}
	if config.Wrapper == "" {
		config.Wrapper = WrapperNone
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.MaxLines == 0 {
		config.MaxLines = DefaultMaxLines
	}
	f := &Framer{config: config, maxLine: int(maxLine), multiline: config.multiline()}
	var err error
	if config.Start != "" {
		if f.start, err = regexp.Compile(config.Start); err != nil {
			return nil, fmt.Errorf("multiline.start: %w", err)
		}
	}
	if config.Continue != "" {
		if f.continuing, err = regexp.Compile(config.Continue); err != nil {
			return nil, fmt.Errorf("multiline.continue: %w", err)
		}
	}
	f.longest = f.maxLine + len("\r\n")
	if config.Encoding.wide() {
		f.longest = 2 * f.longest
	}
	if config.Wrapper != WrapperNone {
		f.longest += overhead
	}
	f.span = f.longest + overhead
	return f, nil
}

// Timeout is how long after its last part a line waits for more.
func (f *Framer) Timeout() time.Duration { return f.config.Timeout }

// WindowSize is how many bytes [Framer.Frame] must be shown at most to come to
// a clean cut.
func (f *Framer) WindowSize() int { return f.span + f.longest + 1 }

// HeadSize is how much of a file is looked at for its first line.
const HeadSize = 128 << 10

// Decide says what the lines of a file are, from its first bytes: at most
// HeadSize are looked at. It returns false when more of the file must be
// written first; final means that nothing more will be. A file of which a line
// was handed over is always decided, and its answer does not change.
func (f *Framer) Decide(head []byte, final bool) (File, bool) {
	file := File{encoding: f.config.Encoding, wrapper: f.config.Wrapper}
	if len(head) >= HeadSize {
		head, final = head[:HeadSize], true
	}
	if file.encoding == UTF16 {
		if len(head) < 2 && !final {
			return File{}, false
		}
		file.encoding = UTF16LE
		if len(head) >= 2 && head[0] == 0xfe && head[1] == 0xff {
			file.encoding = UTF16BE
		}
	}
	if file.wrapper != WrapperAuto {
		return file, true
	}
	end := file.encoding.LineEnd(head, 0)
	if end < 0 && !final {
		return File{}, false
	}
	file.wrapper = WrapperNone
	if end >= 0 || len(head) < HeadSize {
		file.wrapper = f.recognise(file, head, end)
	}
	return file, true
}

// recognise returns the wrapper that the first line of a file fits.
func (f *Framer) recognise(file File, head []byte, end int) Wrapper {
	if end < 0 {
		end = len(head)
	}
	var memory arena
	line := trimCR(file.encoding.decode(&memory, head[:end], 0))
	if _, ok := peelCRI(line); ok {
		return WrapperCRI
	}
	if _, ok := peelDocker(&memory, line); ok {
		return WrapperDocker
	}
	// A time, a level and a logger's name look like a time, a host and a tag:
	// without a priority only a process id makes it a syslog line for certain.
	if at, ok := syslogMessage(line); ok && (line[0] == '<' || at.process || !at.iso) {
		return WrapperSyslog
	}
	return WrapperNone
}
