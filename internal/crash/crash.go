// Package crash makes the end of a process by a defect readable: one sentence on
// standard error, the stacks in a file, and the next run knows of it.
//
// A panic that nobody recovers ends the process from inside the runtime, and so do
// fatal errors (two goroutines write one map, a stack overflows, no memory) and
// signals such as SIGABRT. No code of the process can run then. So [Watch] starts
// a second process of the same program that holds the other end of a pipe and
// waits: what the runtime writes there is kept when the pipe closes. The watcher
// opens nothing, and ends with the process that it watches, however that ends.
//
// The promise: exit code 2 (the runtime's own) and one line, for a defect in any
// goroutine. Without a watcher the process runs as every Go program does.
package crash

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/version"
)

const (
	// maxText bounds what is kept of one crash, in bytes. The goroutine that
	// failed comes first.
	maxText = 1 << 20
	// maxFiles is how many crash files stay; the oldest go.
	maxFiles = 5

	prefix    = "crash-"
	suffix    = ".txt"
	stampForm = "20060102T150405.000Z"
	// marker is the file in data_dir that tells of the newest run.
	marker = "run"
	// ended is what it says after a run that ended in order; during one, when it began.
	ended = "ended\n"
)

// Reporter keeps what the runtime says when a process ends by a defect.
type Reporter struct {
	Program string // as people know it
	Report  string // what a report of the defect should bring along, in words
	FS      durable.FS
	Dir     string // where the stacks go
	Now     func() time.Time
}

// Run is the work of the watcher: it reads until text ends, and when that is the
// end of a process by a defect it writes a file in Dir and one line to stderr.
// Anything else that was written comes out as it is.
func (r *Reporter) Run(text io.Reader, stderr io.Writer) error {
	said, err := io.ReadAll(io.LimitReader(text, maxText))
	if err == nil {
		_, err = io.Copy(io.Discard, text) // the process may not wait for a full pipe
	}
	if len(said) == 0 || err != nil {
		return err
	}
	what, isCrash := reason(string(said))
	if !isCrash {
		_, err = stderr.Write(said)
		return err
	}
	name, err := r.write(said, r.Now().UTC())
	if err != nil {
		_, printing := fmt.Fprintf(stderr, "%s %s; the stack could not be kept (%v) and follows; the next start recovers\n%s", r.Program, what, err, said)
		return printing
	}
	_, err = fmt.Fprintf(stderr, "%s %s; the stack is in %s; the next start recovers; please report it, %s\n", r.Program, what, name, r.Report)
	return err
}

// reason tells what ended the process, from what the runtime wrote.
func reason(text string) (what string, isCrash bool) {
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, strings.TrimSpace(line))
		if rest, ok := strings.CutPrefix(line, "panic: "); ok {
			return "stopped by a defect: " + rest, true
		}
		if rest, ok := strings.CutPrefix(line, "fatal error: "); ok {
			return "stopped by a defect: " + rest, true
		}
		if name, _, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(name, "SIG") && !strings.Contains(name, " ") {
			return "was ended by the signal " + name, true
		}
	}
	return "", false
}

// write keeps a crash and lets the oldest files go.
func (r *Reporter) write(text []byte, now time.Time) (name string, err error) {
	name = filepath.Join(r.Dir, prefix+now.Format(stampForm)+suffix)
	head := fmt.Sprintf("%s %s, %s %s/%s, %s\n\n", r.Program, version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH, now.Format(time.RFC3339))
	if err := durable.CreateFile(r.FS, name, append([]byte(head), text...), 0o600); err != nil {
		return "", fmt.Errorf("keep the stack of a crash: %w", err)
	}
	files, err := Files(r.FS, r.Dir)
	if err != nil {
		return name, nil //nolint:nilerr // the file is there; its elders can wait
	}
	for _, old := range files[min(maxFiles, len(files)):] {
		if err := r.FS.Remove(old); err != nil {
			return name, nil //nolint:nilerr // as above
		}
	}
	return name, nil
}

// Files returns the crash files in dir, the newest first.
func Files(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list crash files: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names) // names carry their time
	slices.Reverse(names)
	return names, nil
}

// End is how a run ended.
type End string

// Ends of a run.
const (
	None    End = "none"    // there was no run before
	Stopped End = "stopped" // it stopped as it was asked to, or with an error that it printed
	Crashed End = "crashed" // a defect or a fatal signal; there is a crash file
	Killed  End = "killed"  // SIGKILL, no memory, no power: nothing was written
)

// Run is a run that has begun.
type Run struct {
	Last End    // how the run before ended
	File string // its crash file, when it crashed

	fsys durable.FS
	name string
}

// Begin notes in dir that a run begins, and tells how the one before ended. The
// caller holds the lock of dir. On an error the run is usable and unmarked.
func Begin(fsys durable.FS, dir string, now time.Time) (*Run, error) {
	r := &Run{Last: None, fsys: fsys, name: filepath.Join(dir, marker)}
	before, err := durable.ReadFile(fsys, r.name, 4096)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return r, fmt.Errorf("read how the last run ended: %w", err)
	case string(before) == ended:
		r.Last = Stopped
	default:
		r.Last = Killed
		began := strings.TrimSpace(string(before))
		files, err := Files(fsys, dir)
		if err != nil {
			return r, err
		}
		if len(files) > 0 && filepath.Base(files[0]) >= prefix+began {
			r.Last, r.File = Crashed, files[0]
		}
	}
	if err := durable.WriteFile(fsys, r.name, []byte(now.UTC().Format(stampForm)+"\n"), 0o600); err != nil {
		return r, fmt.Errorf("note that a run begins: %w", err)
	}
	return r, nil
}

// Start is Begin for a program that says in its log how the last run ended.
func Start(fsys durable.FS, dir string, now time.Time, log *slog.Logger) *Run {
	run, err := Begin(fsys, dir, now)
	if err != nil {
		log.Warn("the next start will not know how this run ended", "error", err)
	}
	switch run.Last {
	case Crashed:
		log.Error("the last run was ended by a defect; this one recovers what it left", "stack", run.File)
	case Killed:
		log.Warn("the last run was killed or lost its power; this one recovers what it left")
	case None, Stopped:
	}
	return run
}

// Finish notes that the run ended in order.
func (r *Run) Finish() error {
	if err := durable.WriteFile(r.fsys, r.name, []byte(ended), 0o600); err != nil {
		return fmt.Errorf("note that the run ended: %w", err)
	}
	return nil
}
