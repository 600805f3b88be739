package endtoend

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var verifyLines = flag.Int("verify.lines", 200_000, "how many access lines BenchmarkVerifier verifies the records of")

// BenchmarkVerifier measures auditail-verify as a process over an archive that the
// agent made: MB of uncompressed records for each second of CPU time, user and system,
// and the most memory resident.
func BenchmarkVerifier(b *testing.B) {
	dir := b.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	run := func(program string, arguments ...string) string {
		out, err := exec.CommandContext(b.Context(), filepath.Join(binaries, program), arguments...).Output()
		if err != nil {
			b.Fatalf("%s: %v\n%s", program, err, out)
		}
		return string(out)
	}
	config := "[agent]\nid = \"gpu-07\"\norganization = \"audit.example.com/acme\"\nenvironment = \"test\"\ndata_dir = \"DIR/data\"\n" +
		accessInput + directoryOutput + "[buffer]\nmax_disk = \"20GiB\"\n"
	for name, data := range map[string][]byte{
		"auditail.toml": []byte(strings.ReplaceAll(config, "DIR", dir)), "logs/access.log": accessLines(0, *verifyLines),
	} {
		if err := os.MkdirAll(filepath.Dir(path(name)), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Mkdir(path("archive"), 0o700); err != nil {
		b.Fatal(err)
	}
	run("auditail", "run", "--once", "--config", path("auditail.toml"))
	if err := os.WriteFile(path("trust"), []byte(run("auditail", "keys", "show", "--config", path("auditail.toml"))), 0o600); err != nil {
		b.Fatal(err)
	}
	var plain, peak int64
	var cpu float64
	for b.Loop() {
		command := exec.CommandContext(b.Context(), filepath.Join(binaries, "auditail-verify"), "archive", path("archive"), "--trust", path("trust"))
		out, most, err := measured(b, command)
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		_, rest, _ := strings.Cut(string(out), " in the archive, ")
		if _, err := fmt.Sscan(rest, &plain); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		cpu += (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds()
		peak = max(peak, most)
	}
	b.ReportMetric(float64(plain)*float64(b.N)/1e6/cpu, "MB/cpu-s")
	b.ReportMetric(float64(plain)/1e6, "MB")
	b.ReportMetric(float64(peak)/1024, "MiB-resident")
}
