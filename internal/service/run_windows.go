package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"

	"github.com/auditail/auditail/internal/sdnotify"
)

const (
	// readyTime is how long the service may say that it starts. One that waits for
	// longer, for space on the disk, runs: nobody could stop it otherwise.
	readyTime = 25 * time.Second
	// stopTime is what a stop takes at most.
	stopTime = 15 * time.Second
)

// Run runs a program that the service manager of Windows started, and returns
// its exit code; elsewhere, and when it was started by a person, it does nothing.
// What the program writes to stderr becomes entries of the event log.
//
// Only the dispatcher knows who started a process: every other way (the parent's
// name, its session) is a guess. It must be asked before the program listens to
// signals: one that does so ends as soon as any user logs off.
func Run(name string, args []string, main func(ctx context.Context, stderr io.Writer) int) (code int, done bool) {
	if len(args) == 0 || args[0] != "run" {
		return 0, false
	}
	work := &supervised{name: name, main: main}
	err := svc.Run(name, work)
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return 0, false
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: speak with the service manager: %v\n", name, err)
		return 1, true
	}
	return work.code, true
}

type supervised struct {
	name string
	main func(ctx context.Context, stderr io.Writer) int
	code int
}

// Execute is called by the dispatcher, and runs the program until it ends. The
// service runs when the program says that it is ready.
func (s *supervised) Execute(_ []string, requests <-chan svc.ChangeRequest, states chan<- svc.Status) (specific bool, code uint32) {
	states <- svc.Status{State: svc.StartPending, WaitHint: milliseconds(readyTime)}
	log, err := eventlog.Open(s.name)
	if err != nil {
		return true, 1 // nobody would hear why
	}
	defer log.Close()
	ready, ended := make(chan struct{}, 1), make(chan int, 1)
	ctx, stop := context.WithCancel(sdnotify.NewContext(context.Background(), func(messages ...string) {
		if slices.Contains(messages, sdnotify.Ready) {
			ready <- struct{}{} // the program says it once
		}
	}))
	defer stop()
	go func() { ended <- s.main(ctx, eventWriter{log}) }()
	running := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	late := time.NewTimer(readyTime)
	defer late.Stop()
	for {
		select {
		case <-ready:
			states <- running
		case <-late.C:
			states <- running
		case request := <-requests:
			switch request.Cmd {
			case svc.Interrogate:
				states <- request.CurrentStatus
			case svc.Stop, svc.Shutdown:
				states <- svc.Status{State: svc.StopPending, WaitHint: milliseconds(stopTime)}
				late.Stop()
				stop()
			}
		case s.code = <-ended:
			if ctx.Err() == nil {
				// It ended by itself: the manager starts a service again whose process
				// is gone and did not say that it stops.
				os.Exit(max(s.code, 1)) //nolint:forbidigo // there is no other way to end so
			}
			return s.code != 0, uint32(max(s.code, 0))
		}
	}
}

// milliseconds is a time as the service manager takes it.
func milliseconds(d time.Duration) uint32 { return uint32(d.Milliseconds()) }

// eventWriter writes each line as an entry of the event log.
type eventWriter struct{ log *eventlog.Log }

func (w eventWriter) Write(p []byte) (int, error) {
	line := string(bytes.TrimRight(p, "\r\n"))
	var err error
	switch {
	case bytes.Contains(p, []byte("level=ERROR")), bytes.Contains(p, []byte(`"level":"ERROR"`)):
		err = w.log.Error(3, line)
	case bytes.Contains(p, []byte("level=WARN")), bytes.Contains(p, []byte(`"level":"WARN"`)):
		err = w.log.Warning(2, line)
	default:
		err = w.log.Info(1, line)
	}
	return len(p), err
}
