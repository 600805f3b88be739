package endtoend

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/admin"
)

var (
	reloads    = flag.Int("reloads", 100, "how often TestReload loads the configuration again")
	reloadRate = flag.Int("reloads.rate", 500, "lines a second that TestReload writes to each file all the while")
)

const reloadConfig = `change = "CHG-SERVICE"
[agent]
id = "gpu-07"
organization = "audit.example.com/acme"
environment = "test"
data_dir = "DIR/data"

[admin]
socket = "SOCKET"

[buffer]
batch_age = "1s"

[[inputs.file]]
name = "kept"
paths = ["DIR/logs/kept.log"]
parser = "combined"

[[inputs.syslog]]
name = "connected"
listen = "tcp:ADDRESS"
parser = "combined"

[[inputs.file]]
name = "changed"
paths = ["DIR/logs/changed.log"]
parser = "combined"
service = "SERVICE"

[[outputs.directory]]
name = "local"
path = "DIR/archive"
`

// reloaded is a host whose agent loads its configuration again.
type reloaded struct {
	*site
	client     *admin.Client
	fill       *strings.Replacer
	connection net.Conn
	numbered   atomic.Int64 // lines written or about to be, over all inputs
}

func newReloaded(t *testing.T) *reloaded {
	t.Helper()
	r := &reloaded{site: newSite(t, "", "")}
	// The path of a socket has few bytes, and that of a test's folder many.
	dir, err := os.MkdirTemp("", "reload") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, address := filepath.Join(dir, "admin.sock"), freeAddress(t)
	r.client = admin.NewClient(socket)
	r.fill = strings.NewReplacer("DIR", r.dir, "SOCKET", socket, "ADDRESS", address)
	r.configure("service-0", "")
	return r
}

// configure replaces the configuration in one step, as an editor does.
func (r *reloaded) configure(service, more string) {
	r.t.Helper()
	r.write("next.toml", strings.ReplaceAll(r.fill.Replace(reloadConfig+more), "SERVICE", service))
	if err := os.Rename(r.path("next.toml"), r.path("auditail.toml")); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloaded) connect() {
	r.t.Helper()
	await(r.t, "the syslog input", func() bool {
		var err error
		r.connection, err = net.Dial("tcp", r.fill.Replace("ADDRESS"))
		return err == nil
	})
}

// next returns the next n lines; for any goroutine.
func (r *reloaded) next(n int) []byte { return accessLines(int(r.numbered.Add(int64(n)))-n, n) }

// lines writes one line to each input.
func (r *reloaded) lines() {
	r.t.Helper()
	appendTo(r.t, r.path("logs/kept.log"), r.next(1))
	appendTo(r.t, r.path("logs/changed.log"), r.next(1))
	line := "<134>1 2026-11-01T10:00:00Z gpu-07 nginx - - - " + strings.TrimSuffix(string(r.next(1)), "\n")
	if _, err := fmt.Fprintf(r.connection, "%d %s", len(line), line); err != nil {
		r.t.Fatalf("behind %d lines the connection is gone: %v", r.numbered.Load(), err)
	}
}

// load writes lines to both files until stop is called.
func (r *reloaded) load() (stop func()) {
	ctx, enough := context.WithCancel(r.t.Context())
	written := make(chan error)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for began, each := time.Now(), 0; ; {
			select {
			case <-ctx.Done():
				written <- nil
				return
			case now := <-tick.C:
				// The time of a tick may be before that of the last one.
				more := max(int(now.Sub(began).Seconds()*float64(*reloadRate))-each, 0)
				each += more
				for _, name := range []string{"logs/kept.log", "logs/changed.log"} {
					if err := appendFile(r.path(name), r.next(more)); err != nil {
						written <- err
						return
					}
				}
			}
		}
	}()
	return func() {
		r.t.Helper()
		enough()
		if err := <-written; err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *reloaded) status() admin.Status {
	r.t.Helper()
	s, err := r.client.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// read waits until the agent has read all lines.
func (r *reloaded) read() {
	r.t.Helper()
	defer func() {
		if n := r.lineCount(); n != r.numbered.Load() {
			r.t.Errorf("%d lines read of %d: %+v", n, r.numbered.Load(), r.status().Inputs)
		}
	}()
	await(r.t, "all lines", func() bool { return r.lineCount() == r.numbered.Load() })
}

// lineCount is how many lines the agent has read.
func (r *reloaded) lineCount() (n int64) {
	r.t.Helper()
	for _, in := range r.status().Inputs {
		n += in.Lines.Read
	}
	return n
}

func (r *reloaded) metric(name string) int {
	r.t.Helper()
	page, err := r.client.Raw(r.t.Context(), "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(page)
	if found == nil {
		r.t.Fatalf("no metric %s in:\n%s", name, page)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return int(value)
}

// An input that a reload changes loses and repeats nothing; one that it does not
// change is not touched: the connection to it stays. Nothing is left behind by a
// reload but its record.
func TestReload(t *testing.T) {
	r := newReloaded(t)
	p := r.start("auditail", "run", "--config", r.path("auditail.toml")).logged("msg=running")
	r.connect()
	enough := r.load()
	var goroutines, files int
	for i := range *reloads {
		r.lines()
		r.configure(fmt.Sprintf("service-%d", i%7+1), "")
		if answer, err := r.client.Reload(t.Context()); err != nil || answer.Error != "" || answer.Generation != i+2 {
			t.Fatalf("reload %d: %+v, %v", i, answer, err)
		}
		r.lines()
		if i == 10 {
			goroutines, files = r.metric("go_goroutines"), r.metric("process_open_fds")
		}
		if i == 10 || i%100 == 0 || i == *reloads-1 {
			t.Logf("reload %d: %d goroutines, %d files, %d KiB resident, %d KiB of heap, %d of %d lines read", i, r.metric("go_goroutines"),
				r.metric("process_open_fds"), r.metric("process_resident_memory_bytes")>>10, r.metric("go_memory_heap_objects_bytes")>>10, r.lineCount(), r.numbered.Load())
		}
	}
	enough()
	r.read()
	t.Logf("%d lines read: %d KiB resident", r.numbered.Load(), r.metric("process_resident_memory_bytes")>>10)
	if more := r.metric("go_goroutines") - goroutines; more > 20 {
		t.Errorf("%d goroutines more than behind the first reloads", more)
	}
	if more := r.metric("process_open_fds") - files; more > 10 {
		t.Errorf("%d files are open that were not behind the first reloads", more)
	}

	// One that is wrong changes nothing, and says so.
	before := r.status().Config
	r.configure("service-0", "[nonsense]\n")
	hangUp(t, p)
	await(t, "the refusal", func() bool { return strings.Contains(r.status().Config.Refused, `unknown key "nonsense"`) })
	if now := r.status(); now.Config.Generation != before.Generation || now.Config.Digest != before.Digest || now.Healthy() {
		t.Errorf("behind a refused reload: %+v", now.Config)
	}
	if !strings.Contains(p.log.String(), "the configuration is refused; the one before runs on") || r.metric("auditail_config_reload_refused") != 1 {
		t.Error("neither log nor metrics say that a configuration was refused")
	}
	r.lines()

	// What identifies the log stays.
	r.configure("service-0", "")
	other := strings.Replace(string(r.file("auditail.toml")), `id = "gpu-07"`, `id = "gpu-08"`, 1)
	r.write("auditail.toml", other)
	if answer, err := r.client.Reload(t.Context()); err != nil || !strings.Contains(answer.Error, "agent.id can not change while the agent runs") {
		t.Errorf("another agent.id: %+v, %v", answer, err)
	}

	// An output that is added gets what comes, the one that is there goes on.
	r.configure("service-0", "[[outputs.directory]]\nname = \"second\"\npath = \"DIR/second\"\n")
	hangUp(t, p)
	await(t, "the second output", func() bool { return len(r.status().Outputs) == 2 && r.status().Config.Refused == "" })
	r.lines()
	r.read()

	// What a reload did is as durable as everything else.
	p.kill()
	p = r.start("auditail", "run", "--config", r.path("auditail.toml")).logged("msg=running")
	p.terminate(time.Minute)
	r.verify(r.path("archive"))
	c := r.site.read(r.path("archive"))
	wantLines(t, c, int(r.numbered.Load()))
	changes := 0
	for _, record := range c.records {
		if text(record, "event") != "agent.config" {
			continue
		}
		changes++
		if what := text(record, "change.what"); what != "inputs.changed changed" && what != "inputs.changed changed, outputs.second added" {
			t.Errorf("a change of %q", what)
		}
		if ticket := text(record, "change.ticket"); !strings.HasPrefix(ticket, "CHG-service-") {
			t.Errorf("ticket %q", ticket)
		}
	}
	if want := *reloads + 1; changes != want {
		t.Errorf("%d records of changes, want %d", changes, want)
	}
	c.validate(t)
}

func hangUp(t *testing.T, p *process) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func (s *site) file(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}
