package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/admin"
)

// process is one that is measured.
type process struct {
	command *exec.Cmd
	stderr  strings.Builder
	begun   time.Time
	peak    func() memory
	client  *http.Client // of an agent's status
}

// startAgent starts an agent that works in dir with a configuration.
func startAgent(ctx context.Context, bin, dir, config string, args ...string) (*process, error) {
	name := filepath.Join(dir, "auditail.toml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, exec.CommandContext(ctx, bin, append([]string{"run", "--config", name}, args...)...)) //nolint:gosec // our own program
	if err != nil {
		return nil, err
	}
	p.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "data", "admin.sock"))
	}}}
	return p, nil
}

func startProcess(_ context.Context, command *exec.Cmd) (*process, error) {
	p := &process{command: command, begun: time.Now()}
	command.Stderr = &p.stderr
	if err := command.Start(); err != nil {
		return nil, err
	}
	p.peak = watchPeak(command.Process.Pid)
	return p, nil
}

// ended waits for the end of the process and says what it took.
func (p *process) ended() (cpu, wall time.Duration, peak memory, err error) {
	if err := p.command.Wait(); err != nil {
		return 0, 0, memory{}, fmt.Errorf("%s: %w\n%s", p.command.Path, err, p.stderr.String())
	}
	state := p.command.ProcessState
	return state.UserTime() + state.SystemTime(), time.Since(p.begun), p.peak(), nil
}

// stop ends an agent as a service manager does, and says what it took in all.
func (p *process) stop() (cpu time.Duration, peak memory, err error) {
	err = p.command.Process.Signal(os.Interrupt)
	cpu, _, peak, endErr := p.ended()
	return cpu, peak, errors.Join(err, endErr)
}

// kill ends a process that nothing more is asked of.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended
	_ = p.command.Wait()         // killed
}

// status asks an agent.
func (p *process) status(ctx context.Context) (s admin.Status, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return s, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return s, err
	}
	return s, errors.Join(json.NewDecoder(response.Body).Decode(&s), response.Body.Close())
}

// patience is how long is waited for what has to come.
const patience = 5 * time.Minute

// until waits until an agent says that something is so.
func (p *process) until(ctx context.Context, so func(s *admin.Status) bool) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		s, err := p.status(ctx)
		if err == nil && so(&s) {
			return nil
		}
		if time.Since(begun) > patience {
			return fmt.Errorf("waited for %s: %+v: %w\n%s", patience, s.Inputs, err, p.stderr.String())
		}
	}
}

// untilRead waits until the agent has read so many lines.
func (p *process) untilRead(ctx context.Context, lines int64) error {
	return p.until(ctx, func(s *admin.Status) bool { return len(s.Inputs) == 1 && s.Inputs[0].Lines.Read >= lines })
}

// cpu returns what the process has used, in steps of 10 ms (proc(5), stat).
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may contain anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has other fields than it should")
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(userErr, systemErr)
}

// cores returns how much of a core the process takes during d.
func (p *process) cores(d time.Duration) (float64, error) {
	begun := time.Now()
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := p.cpu()
	return (after - before).Seconds() / time.Since(begun).Seconds(), err
}

// memory returns what the process has in memory now.
func (p *process) memory() memory {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid)) // of a process that has ended: nothing
	resident, _ := kibibytes(string(status), "VmRSS:")
	anonymous, _ := kibibytes(string(status), "RssAnon:")
	return memory{resident: resident, anonymous: anonymous}
}

// memory is what a process has in memory, in bytes: all of it, and what is in no
// file and can not be read again.
type memory struct{ resident, anonymous int64 }

// watchPeak reads the peak resident size of a process until it ends, and samples
// its anonymous size. (The kernel's ru_maxrss of a child counts this program's own
// size at the fork.)
func watchPeak(pid int) (peak func() memory) {
	result := make(chan memory, 1)
	go func() {
		var peak memory
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			resident, found := kibibytes(string(status), "VmHWM:")
			if err != nil || !found {
				result <- peak
				return
			}
			anonymous, _ := kibibytes(string(status), "RssAnon:")
			peak = memory{max(peak.resident, resident), max(peak.anonymous, anonymous)}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() memory { return <-result }
}

// kibibytes returns the bytes of a line such as "VmHWM:  1234 kB".
func kibibytes(status, name string) (int64, bool) {
	_, rest, found := strings.Cut(status, name)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n << 10, err == nil
}
