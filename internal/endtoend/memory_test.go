package endtoend

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
)

// TestMemoryIsBounded is promise 11 on a real process: twenty inputs with a
// hundred files that are written to in turn, each with a backlog, lines of 16 MiB
// that do not compress and are kept in full in five of the inputs, large requests
// at the http input, and an output that takes the connection and nothing else.
func TestMemoryIsBounded(t *testing.T) {
	const (
		inputs, files = 20, 5
		maxLine       = 16 << 20
		promised      = 64<<20 + 6*maxLine
	)
	stalled, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	address := freeAddress(t)
	var text strings.Builder
	for i := range inputs {
		parser := `parser = "combined"`
		if i%2 == 1 {
			parser = "[inputs.file.parser]\ntype = \"json\"\n[inputs.file.parser.fields]\n\"actor.id\" = \"user\"\n\"input\" = \"prompt\"\n"
		}
		fmt.Fprintf(&text, "\n[[inputs.file]]\nname = \"in%d\"\npaths = [\"DIR/logs/%d.*.log\"]\nservice = \"chat\"\nmax_line = \"16MiB\"\n%s\n", i, i, parser)
	}
	s := newSite(t, text.String(), strings.NewReplacer("STALLED", stalled.Addr().String(), "ADDRESS", address).Replace(`
[[inputs.http]]
name = "push"
listen = "ADDRESS"
path = "/lines"
parser = "combined"
service = "pushed"
[capture]
default = "full"
[buffer]
max_disk = "1GiB"
batch_age = "1s"
[[outputs.http]]
name = "away"
url = "http://STALLED"
`))
	random := rand.New(rand.NewPCG(11, 12))
	name := func(i, j int) string { return s.path(fmt.Sprintf("logs/%d.%d.log", i, j)) }
	written := 0 // lines
	for i := range inputs {
		for j := range files {
			if i%2 == 0 {
				appendTo(t, name(i, j), accessLines(written, 500))
				written += 500
				continue
			}
			line := fmt.Appendf(nil, `{"user":"u%07d","prompt":"short"}`+"\n", written)
			appendTo(t, name(i, j), bytes.Repeat(line, 500))
			written += 500
			if j == 0 && i < 10 {
				appendTo(t, name(i, j), longLine(random, maxLine-100))
				written++
			}
		}
	}
	p := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	await(t, "the http input", func() bool { return post(address, "/lines", "text/plain", nil) != 0 })
	posted := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { posted <- struct{}{} }()
			for range 5 {
				switch status := post(address, "/lines", "text/plain", accessLines(0, 40_000)); status {
				case http.StatusOK, http.StatusTooManyRequests:
				default:
					t.Errorf("a large request is answered with %d", status)
				}
			}
		}()
	}
	for round := range 10 { // slow files: a few lines now and then
		for i := range inputs {
			for j := range files {
				if i%2 == 0 {
					appendTo(t, name(i, j), accessLines(written, 3))
					written += 3
				}
			}
		}
		if round%5 == 2 {
			appendTo(t, name(1+2*(round/5), 1), longLine(random, maxLine+1000)) // longer than is kept
			written++
		}
	}
	for range 4 {
		<-posted
	}
	await(t, "all lines in the buffer", func() bool { return s.spooled("chat") == uint64(written) }) //nolint:gosec // positive
	peak := p.peakMemory()
	t.Logf("peak resident memory %.1f MiB of %d MiB promised, %d lines", float64(peak)/(1<<20), promised>>20, written)
	if peak > promised {
		t.Errorf("peak resident memory is %d bytes, promised are %d", peak, promised)
	}
	p.terminate(30 * time.Second)
}

// longLine is a line of a prompt that does not compress.
func longLine(random *rand.Rand, size int) []byte {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
	b := []byte(`{"user":"long","prompt":"`)
	for len(b) < size-3 {
		n := random.Uint64()
		for range 10 {
			b = append(b, digits[n&63])
			n >>= 6
		}
	}
	return append(b, "\"}\n"...)
}

// spooled counts the lines of a service in sealed batches that no output has.
func (s *site) spooled(service string) (n uint64) {
	manifests, err := filepath.Glob(s.path("data/buffer/spool/*" + seal.ManifestSuffix))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range manifests {
		if m := s.manifest(name); m.Stream.Service == service {
			n += m.Lines.Read
		}
	}
	return n
}

// peakMemory returns the most that was resident so far, in bytes.
func (p *process) peakMemory() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if err != nil || !found || len(fields) == 0 {
		p.t.Fatalf("no VmHWM: %v", err)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}
