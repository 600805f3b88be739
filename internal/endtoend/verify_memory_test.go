package endtoend

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/seal/sealtest"
)

// The verifier takes less than 100 MiB whatever an archive holds: here records of
// nearly 16 MiB in payloads that are checked side by side, and a
// source that rotates ten thousand times.
func TestVerifierIsBounded(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	random := rand.NewChaCha8([32]byte{1})
	digits := make([]byte, 15<<19)
	_, _ = random.Read(digits) // never fails
	huge := `"request":{"text":"` + hex.EncodeToString(digits) + `"}`
	e.Open()
	for range 6 {
		e.Data(sealtest.Chat(), [][]byte{e.Record("model.inference", huge)})
	}
	for i := range 10 {
		var ranges []sealtest.Range
		for j := range 1000 {
			ranges = append(ranges, sealtest.Range{Source: "access", Generation: fmt.Sprintf("dev:1f,ino:%d,born:%d", j, i), To: 100})
		}
		ranges[0].Lines = 1
		e.Data(sealtest.Chat(), e.Records(1), sealtest.WithCoverage(ranges...))
	}
	e.Close()
	e.Checkpoint()
	out, err := verifyBounded(t, e)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Nor do records that somebody made to fill its memory: ranges of three bytes each,
// names of megabytes, and more ranges than fit, in payloads that are checked side by side.
func TestVerifierIsBoundedByForgedRanges(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	forged := func(members string) {
		e.Data(sealtest.Chat(), [][]byte{e.Record("agent.coverage", members)}, sealtest.WithoutCoverage())
	}
	long := strings.Repeat("x", 15<<20)
	var many strings.Builder
	for i := range 150_000 {
		fmt.Fprintf(&many, `,{"source":"s","generation":"%x","unit":"bytes","from":0,"to":9,"lines":0}`, i)
	}
	for range 6 {
		forged(`"coverage":[{}` + strings.Repeat(",{}", 5<<20) + `]`)
		forged(`"coverage":[{"source":"` + long + `","generation":"g","unit":"bytes","from":0,"to":1,"lines":1}]`)
		forged(`"coverage":[` + many.String()[1:] + `]`)
		e.Data(sealtest.Chat(), [][]byte{e.Gap(long, "g", 0, 9)})
	}
	e.Close()
	e.Checkpoint()
	out, err := verifyBounded(t, e)
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, what := range []string{"a range of the coverage record: it has names", "is the agent's own and has ", "ranges and gaps take more than", "goes from 0 to 0"} {
		if !bytes.Contains(out, []byte(what)) {
			t.Errorf("no finding %q", what)
		}
	}
}

// verifyBounded verifies an archive and holds the verifier to its bound.
func verifyBounded(t *testing.T, e *sealtest.Epoch) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	e.Write(filepath.Join(dir, "archive"))
	if err := os.WriteFile(filepath.Join(dir, "trust"), []byte(e.Trust()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir}
	command := s.command("auditail-verify", "archive", filepath.Join(dir, "archive"), "--trust", filepath.Join(dir, "trust"))
	command.Env = append(os.Environ(), "GOMAXPROCS=8")
	out, peak, err := measured(t, command)
	t.Logf("%d KiB resident at most, %s of CPU time", peak, command.ProcessState.UserTime()+command.ProcessState.SystemTime())
	if peak > 100<<10 {
		t.Errorf("took %d KiB", peak)
	}
	return out, err
}

// measured runs a program to its end and returns what it wrote and the most memory
// that was seen resident, in KiB. What the kernel reports at the end is no use: it
// begins with the size of the process that started the program.
func measured(t testing.TB, command *exec.Cmd) (out []byte, peak int64, err error) {
	t.Helper()
	var b bytes.Buffer
	command.Stdout, command.Stderr = &b, &b
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return b.Bytes(), peak, err
		case <-tick.C:
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
			_, rest, found := strings.Cut(string(status), "VmHWM:")
			var size int64
			if _, scanned := fmt.Sscan(rest, &size); err == nil && found && scanned == nil {
				peak = max(peak, size)
			}
		}
	}
}
