package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/config"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a golden file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// each runs a test for every configuration of a folder of testdata.
func each(t *testing.T, pattern string, atLeast int, run func(t *testing.T, file string, data []byte)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < atLeast {
		t.Fatalf("%d files match %s, %v", len(files), pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			run(t, file, readFile(t, file))
		})
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("auditail.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBroken(t *testing.T) {
	each(t, "testdata/bad/*.toml", 100, func(t *testing.T, file string, data []byte) {
		_, err := config.Parse(filepath.Base(file), data)
		if err == nil {
			t.Fatal("accepted")
		}
		if _, placed := errors.AsType[*config.FileError](err); !placed {
			t.Fatalf("no place: %v", err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is shown: %v", err)
		}
		golden(t, strings.TrimSuffix(file, ".toml")+".golden", err.Error()+"\n")
	})
}

// The golden file of a good configuration is what Config.JSON makes of it,
// indented, and its warnings.
func TestGood(t *testing.T) {
	each(t, "testdata/good/*.toml", 3, func(t *testing.T, file string, data []byte) {
		c, err := config.Parse(filepath.Base(file), data)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := json.Indent(&text, c.JSON(), "", "  "); err != nil {
			t.Fatal(err)
		}
		text.WriteString("\n" + strings.Join(append(c.Warnings, ""), "\n"))
		golden(t, strings.TrimSuffix(file, ".toml")+".golden", text.String())
	})
}

func TestTypedValues(t *testing.T) {
	data, err := os.ReadFile("testdata/good/design.toml")
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, string(data))
	vllm, gateway := c.Inputs.File[0], c.Inputs.File[1]
	if got := vllm.Location.String(); got != "Europe/Berlin" {
		t.Errorf("zone %s", got)
	}
	if gateway.Location != nil {
		t.Errorf("a zone without a timezone: %s", gateway.Location)
	}
	want := []config.FieldMap{
		{Field: "time", From: []string{"ts"}, Layout: "unix_ms"},
		{Field: "actor.id", From: []string{"user"}},
		{Field: "model.name", From: []string{"request", "model"}},
	}
	if diff := cmp.Diff(want, gateway.Parser.Fields[:3]); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	constants := []config.Constant{
		{Field: "event", Value: "model.inference"},
		{Field: "api.operation", Value: "chat"},
		{Field: "actor.type", Value: "human"},
		{Field: "actor.mfa", Value: false},
		{Field: "params.n", Value: int64(1)},
		{Field: "extra.region", Value: "eu"},
		{Field: "extra.share", Value: 0.5},
		{Field: "actor.verified", Value: true},
		{Field: "actor.roles", Value: []string{"user"}},
		{Field: "params.top_p", Value: int64(1)},
		{Field: "params.temperature", Value: 0.2},
	}
	if diff := cmp.Diff(constants, gateway.Parser.Set); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if c.Buffer.MaxDisk != 10*config.GiB || c.Buffer.BatchAge != 30*time.Second {
		t.Errorf("buffer %+v", c.Buffer)
	}
	if got, want := c.Retention.Longest(), 6*365*24*time.Hour; got != want {
		t.Errorf("longest term %s, want %s", got, want)
	}
}

// Which record fields a line may fill is an allow-list. The golden file shows
// it whole, so that a new field of the record is decided about.
func TestFieldsALineMayFill(t *testing.T) {
	const head = "[[inputs.file]]\nname = \"a\"\npaths = [\"/a\"]\n[inputs.file.parser]\ntype = \"json\"\n[inputs.file.parser.fields]\n"
	var text strings.Builder
	for _, field := range audit.Fields() {
		_, err := config.Parse("a.toml", []byte(head+"\""+field.String()+"\" = \"x\"\n"))
		verdict := "yes"
		if placed, refused := errors.AsType[*config.FileError](err); refused {
			verdict = "no: " + placed.Message
		} else if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%-26s %s\n", field, verdict)
	}
	golden(t, "testdata/fields.golden", text.String())
}

func TestDefaultIsTheEmptyFile(t *testing.T) {
	c := config.Default()
	if diff := cmp.Diff(string(parse(t, "").JSON()), string(c.JSON())); diff != "" {
		t.Errorf("(-empty file +default):\n%s", diff)
	}
	archive := []config.DirectoryOutput{{Name: "local", Path: filepath.Join(c.Agent.DataDir, "archive")}}
	if diff := cmp.Diff(archive, c.Outputs.Directory); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if key := filepath.Join(c.Agent.DataDir, "capture.key"); c.Capture.HMACKey.File != key {
		t.Errorf("capture key %s, want %s", c.Capture.HMACKey, key)
	}
}

func TestDefaultsFollowDataDir(t *testing.T) {
	c := parse(t, `agent.data_dir = "/srv/a"`)
	if got, want := c.Outputs.Directory[0].Path, filepath.Join("/srv/a", "archive"); got != want {
		t.Errorf("archive %s, want %s", got, want)
	}
	if got, want := c.Capture.HMACKey.File, filepath.Join("/srv/a", "capture.key"); got != want {
		t.Errorf("capture key %s, want %s", got, want)
	}
}

// The digest names what the configuration means: spelling, order and comments
// do not count, every effective value does.
func TestDigest(t *testing.T) {
	base := parse(t, "[agent]\nid = \"a\"\n[buffer]\nbatch_age = \"60s\"\n")
	if got := base.Digest(); !strings.HasPrefix(got, "sha256:") || len(got) != len("sha256:")+64 {
		t.Errorf("digest %q", got)
	}
	for _, same := range []string{
		"buffer = { batch_age = '1m' }\nagent.id = \"a\" # comment",
		"[buffer]\nbatch_age = \"60s\"\nbatch_size = \"8192KiB\"\n[agent]\nid = \"a\"\n[log]\nlevel = \"info\"\n",
	} {
		if diff := cmp.Diff(string(base.JSON()), string(parse(t, same).JSON())); diff != "" {
			t.Errorf("%q (-want +got):\n%s", same, diff)
		}
	}
	seen := map[string]string{base.Digest(): "base"}
	for _, other := range []string{
		"agent.id = \"a\"",
		"agent.id = \"b\"\nbuffer.batch_age = \"60s\"",
		"agent.id = \"a\"\nbuffer.batch_age = \"60s\"\ncapture.hmac_key = { env = \"K\" }",
		"agent.id = \"a\"\nbuffer.batch_age = \"60s\"\ncapture.hmac_key = { file = \"/k\" }",
		"agent.id = \"a\"\nbuffer.batch_age = \"60s\"\nretention.legal = \"6y\"",
	} {
		digest := parse(t, other).Digest()
		if earlier, twice := seen[digest]; twice {
			t.Errorf("%q has the digest of %q", other, earlier)
		}
		seen[digest] = other
	}
}

func TestDigestHoldsNoSecret(t *testing.T) {
	t.Setenv("AUDITAIL_TOKEN", "first")
	text := "[[outputs.http]]\nname = \"central\"\nurl = \"https://audit.example.com\"\ntoken = { env = \"AUDITAIL_TOKEN\" }\n"
	before := parse(t, text)
	t.Setenv("AUDITAIL_TOKEN", "second")
	if after := parse(t, text); before.Digest() != after.Digest() {
		t.Error("the digest changed with the secret's value")
	}
	if !bytes.Contains(before.JSON(), []byte(`"token":{"env":"AUDITAIL_TOKEN"}`)) {
		t.Errorf("no reference to the secret: %s", before.JSON())
	}
}

// FuzzParse: no file makes the parser panic, every refusal has a place inside
// the file, and what is accepted is accepted the same way again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.toml", "testdata/bad/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("fuzz.toml", bytes.Clone(data))
		if err != nil {
			placed, ok := errors.AsType[*config.FileError](err)
			if !ok {
				t.Fatalf("no place: %v", err)
			}
			lines := 1 + bytes.Count(data, []byte("\n"))
			if placed.File != "fuzz.toml" || placed.Line < 1 || placed.Line > lines || placed.Column < 1 {
				t.Fatalf("place outside the file of %d lines: %v", lines, err)
			}
			if strings.Contains(placed.Message, "\n") || placed.Message == "" {
				t.Fatalf("message is not one line: %q", placed.Message)
			}
			if n := strings.Count(placed.Excerpt, "\n"); n < 1 || n > 2 {
				t.Fatalf("excerpt of %d lines: %q", n+1, placed.Excerpt)
			}
			return
		}
		again, err := config.Parse("fuzz.toml", data)
		if err != nil {
			t.Fatalf("accepted, then refused: %v", err)
		}
		if c.Digest() != again.Digest() {
			t.Fatal("two digests of one file")
		}
	})
}
