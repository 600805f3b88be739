package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
)

// watching is the environment variable that a watcher has.
const watching = "AUDITAIL_CRASH_WATCH"

// Watcher is a watched process's side of the watch.
type Watcher struct {
	cmd     *exec.Cmd
	stderr  io.Writer
	restore func() error
	ended   chan struct{}
	stopped atomic.Bool
}

// Watch starts the watcher: this program with the given arguments, which has to
// run a [Reporter] on its standard input, as [Command] does. From then on what the runtime writes goes
// there; what the process itself has to say goes to Stderr.
func Watch(stderr io.Writer, args ...string) (_ *Watcher, err error) {
	if os.Getenv(watching) != "" {
		return nil, errors.New("a watcher is not watched") // or a wrong argument would make processes without end
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe to the watcher: %w", err)
	}
	w := &Watcher{ended: make(chan struct{})}
	// The watcher outlives what ends the process, so no context ends it.
	w.cmd = exec.CommandContext(context.Background(), program, args...)
	w.cmd.Args[0] = os.Args[0]
	w.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=8MiB", watching+"=1")
	w.cmd.Stdin, w.cmd.Stderr = read, os.Stderr
	w.cmd.SysProcAttr = apart()
	err = w.cmd.Start()
	err = errors.Join(err, read.Close())
	if err == nil {
		w.stderr, w.restore, err = divert(stderr, write)
	}
	if err = errors.Join(err, write.Close()); err != nil {
		return nil, fmt.Errorf("start the watcher of crashes: %w", err)
	}
	debug.SetTraceback("all")
	go w.wait()
	return w, nil
}

// Stderr is where the process writes what people shall read.
func (w *Watcher) Stderr() io.Writer { return w.stderr }

// wait gives standard error back to the runtime when the watcher is gone.
func (w *Watcher) wait() {
	_ = w.cmd.Wait() // its exit code says nothing that matters
	if w.stopped.CompareAndSwap(false, true) {
		_ = w.restore() // as it was before the watch, or nothing can be done
	}
	close(w.ended)
}

// Stop ends the watch, and with it the watcher.
func (w *Watcher) Stop() (err error) {
	if w.stopped.CompareAndSwap(false, true) {
		err = w.restore()
	}
	<-w.ended
	return err
}

// IgnoreSignals is for the watcher: the end of its input ends it, nothing else. A
// service manager signals all processes of a service.
func IgnoreSignals() { signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP) }
