package endtoend

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/s3test"
)

// TestBucket takes the sample configuration of a bucket as it stands: only its
// paths and the address of the store are of this test. `check` proves the lock,
// `run` ships, the store is killed meanwhile, and what lies in the bucket is
// read by tools that know nothing of auditail, and verified.
func TestBucket(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	server := s3test.Start(t, s3test.Options{TLS: true})
	server.MakeBucket(t, "acme-audit", true)
	sample, err := os.ReadFile("../../configs/s3.toml")
	if err != nil {
		t.Fatal(err)
	}
	if active := regexp.MustCompile(`(?m)^[^#\n]`).FindAll(sample, -1); len(active) > 20 {
		t.Errorf("the sample has %d active lines, want at most 20", len(active))
	}
	s := &site{t: t, dir: t.TempDir()}
	if err := os.Mkdir(s.path("vllm"), 0o750); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"[agent]", "[agent]\nid = \""+agentID+"\"\ndata_dir = \""+s.path("data")+"\"",
		"https://s3.eu-central-1.amazonaws.com", server.URL,
		"organization = \"audit.example.com\"", "organization = \"audit.example.com/acme\"",
		"/var/log/vllm", s.path("vllm"),
		"# secret_key = { credential = \"s3-secret\" }", "secret_key = { file = \""+s.path("secret")+"\" }",
		"# access_key = \"AKIA…\"", "access_key = \""+server.Root.AccessKey+"\"",
		"# region = \"eu-central-1\"", "region = \""+s3test.Region+"\"",
		"# ca_file = \"/etc/auditail/ca.pem\"", "ca_file = \""+server.CAFile+"\"",
	).Replace(string(sample))
	s.write("auditail.toml", text)
	s.write("secret", server.Root.SecretKey+"\n")
	logs, err := filepath.Glob("../../parsers/vllm/testdata/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatalf("no sample logs: %v", err)
	}
	for _, name := range logs {
		log, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s.write("vllm/"+filepath.Base(name), string(log))
	}
	if out := s.run("auditail", "check", "--config", s.path("auditail.toml")); !strings.Contains(out, "output worm: accepts batches") {
		t.Errorf("check:\n%s", out)
	}
	server.Stop()
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	agent.logged("delivery delayed")
	server.Restart(t)
	agent.logged("delivery works again")
	agent.terminate(patience)
	s.once() // what was not taken in time
	for path, content := range server.Files(t, "acme-audit", "v1/") {
		name := s.path("archive/" + path)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.verify(s.path("archive"), "--strict")
	if c := s.read(s.path("archive")); len(c.records) == 0 || c.repeated() > 0 {
		t.Errorf("%d records, %d repeated", len(c.records), c.repeated())
	}
}
