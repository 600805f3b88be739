// Package endtoend tests the three programs as processes on real files: what
// the README promises is broken here from outside, with signals,
// rotations and changed bytes.
package endtoend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/seal"
)

var binaries string // folder of the programs, set once by TestMain

func TestMain(m *testing.M) {
	if os.Getenv(modelServerEnv) != "" {
		serveModel()
		return
	}
	dir, err := os.MkdirTemp("", "auditail-endtoend-*")
	if err == nil {
		binaries = dir
		build := exec.Command("go", "build", "-o", dir, "../../cmd/...")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the programs:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const (
	agentID = "gpu-07"
	logName = "audit.example.com/acme/" + agentID
	// patience bounds waits on a machine that is busy with other things.
	patience = 2 * time.Minute
)

// site is one host: logs, configuration, state.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T, inputs, more string) *site {
	s := &site{t: t, dir: t.TempDir()}
	for _, sub := range []string{"logs", "archive"} {
		if err := os.Mkdir(s.path(sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s.write("auditail.toml", strings.ReplaceAll(`[agent]
id = "`+agentID+`"
organization = "audit.example.com/acme"
environment = "test"
data_dir = "DIR/data"
[log]
level = "debug"
`+inputs+more, "DIR", s.dir))
	return s
}

const directoryOutput = `
[[outputs.directory]]
name = "local"
path = "DIR/archive"
`

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(s.t.Context(), filepath.Join(binaries, name), args...)
}

// run runs a program to its end and fails the test when it does not succeed.
func (s *site) run(name string, args ...string) string {
	s.t.Helper()
	out, code := s.try(name, args...)
	if code != 0 {
		s.t.Fatalf("%s %s: exit %d\n%s", name, strings.Join(args, " "), code, out)
	}
	return out
}

func (s *site) try(name string, args ...string) (string, int) {
	s.t.Helper()
	command := s.command(name, args...)
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return string(out), command.ProcessState.ExitCode()
}

func (s *site) once() { s.run("auditail", "run", "--once", "--config", s.path("auditail.toml")) }

// start starts a program in the background; it is killed with the test.
func (s *site) start(name string, args ...string) *process {
	s.t.Helper()
	p := &process{t: s.t, command: s.command(name, args...), done: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if err := p.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.done <- p.command.Wait() }()
	return p
}

type process struct {
	t       *testing.T
	command *exec.Cmd
	log     lockedBuffer
	done    chan error
}

// logged waits until the process has logged something. Until it has, it may not
// even have taken charge of its signals.
func (p *process) logged(what string) *process {
	p.t.Helper()
	await(p.t, "the log line "+what, func() bool { return strings.Contains(p.log.String(), what) })
	return p
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.command.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

func (p *process) terminate(within time.Duration) {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("ended with %v\n%s", err, p.log.String())
		}
	case <-time.After(within):
		p.t.Fatalf("still runs %s after SIGTERM", within)
	}
}

// verify runs auditail-verify over a folder and wants it intact.
func (s *site) verify(archive string, args ...string) string {
	s.t.Helper()
	return s.run("auditail-verify", append([]string{"archive", archive, "--trust", s.trust()}, args...)...)
}

func (s *site) trust() string {
	s.t.Helper()
	s.write("trust", s.run("auditail", "keys", "show", "--config", s.path("auditail.toml")))
	return s.path("trust")
}

// contents is what an archive says.
type contents struct {
	batches int
	lines   seal.Lines
	records []map[string]any
	raw     [][]byte
}

func (s *site) read(archive string) contents {
	s.t.Helper()
	var c contents
	var payloads []string
	err := filepath.WalkDir(filepath.Join(archive, "seals"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, seal.ManifestSuffix) {
			return err
		}
		m := s.manifest(path)
		c.batches++
		c.lines.Read += m.Lines.Read
		c.lines.Recorded += m.Lines.Recorded
		c.lines.Unparsed += m.Lines.Unparsed
		c.lines.Ignored += m.Lines.Ignored
		if m.Kind == seal.Data {
			payloads = append(payloads, m.PayloadPath)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range payloads {
		c.readPayload(s.t, filepath.Join(archive, filepath.FromSlash(p)))
	}
	return c
}

// arrived counts the lines that the archive accounts for so far.
func (s *site) arrived() (n uint64) {
	manifests, err := filepath.Glob(filepath.Join(s.path("archive"), "seals", "*", "*", "*"+seal.ManifestSuffix))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range manifests {
		n += s.manifest(name).Lines.Read
	}
	return n
}

func (s *site) manifest(path string) *seal.Manifest {
	s.t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	m, err := seal.ParseText(text)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	return m
}

func (c *contents) readPayload(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.records = append(c.records, r)
		c.raw = append(c.raw, bytes.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// text returns a field by its dotted path as text; "" when it is absent.
func text(r map[string]any, path string) string {
	group, name, nested := strings.Cut(path, ".")
	value := r[group]
	if members, ok := value.(map[string]any); ok && nested {
		value = members[name]
	}
	if value == nil {
		return ""
	}
	if n, ok := value.(float64); ok {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprint(value)
}

// repeated counts records whose id, or whose place in the source, came before.
func (c *contents) repeated() (n int) {
	ids, places := make(map[string]bool), make(map[string]bool)
	for _, r := range c.records {
		id := text(r, "id")
		place := text(r, "source.id") + " " + text(r, "source.generation") + " " + text(r, "source.offset")
		if ids[id] || places[place] {
			n++
		}
		ids[id], places[place] = true, true
	}
	return n
}

// validate checks every record against the published JSON Schema with a
// validator that is not ours.
func (c *contents) validate(t *testing.T) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(audit.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("record.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range c.raw {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("record %d: %v\n%s", i, err, raw)
		}
		if err := audit.Validate(raw); err != nil {
			t.Errorf("record %d: %v\n%s", i, err, raw)
		}
	}
}

// await polls until done; the condition is in other processes, which tell nobody.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
