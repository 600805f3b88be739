package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/config"
)

// folder writes files under a directory of the test and returns the directory.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// refused checks that an error tells all of these things.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not say %q: %v", part, err)
		}
	}
}

func input(name string) string {
	return "[[inputs.file]]\nname = \"" + name + "\"\npaths = [\"/var/log/" + name + ".log\"]\nparser = \"vllm\"\n"
}

func TestDropInsMergeInNameOrder(t *testing.T) {
	dir := folder(t, map[string]string{
		"auditail.toml":            "[agent]\nid = \"gpu-07\"\n" + input("main"),
		"conf.d/20-more.toml":      input("twenty") + "[retention]\nlegal = \"6y\"\n",
		"conf.d/10-first.toml":     input("ten") + "retention = \"legal\"\n[agent]\nenvironment = \"prod\"\n",
		"conf.d/.hidden.toml":      "broken",
		"conf.d/30-off.toml.off":   "broken",
		"conf.d/30-folder/no.toml": "broken",
	})
	c, err := config.Load(filepath.Join(dir, "auditail.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, in := range c.Inputs.File {
		names = append(names, in.Name)
	}
	if diff := cmp.Diff([]string{"main", "ten", "twenty"}, names); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if c.Agent.ID != "gpu-07" || c.Agent.Environment != "prod" {
		t.Errorf("agent %+v", c.Agent)
	}
}

func TestDropInsConflict(t *testing.T) {
	for name, test := range map[string]struct {
		main, more string
		says       []string // %d stands for the directory
	}{
		"key twice": {
			main: "[log]\nlevel = \"info\"\n", more: "\n[log]\nlevel = \"debug\"\n",
			says: []string{"%d/conf.d/a.toml:3:1: log.level is set in two files; the other is %d/auditail.toml:2\n"},
		},
		"array twice": {
			main: "inputs.file = [ { name = \"a\" } ]\n", more: input("b"),
			says: []string{"%d/conf.d/a.toml:1:3: inputs.file is set in two files; the other is %d/auditail.toml:1\n"},
		},
		"input name twice": {
			main: input("a"), more: input("a"),
			says: []string{"%d/conf.d/a.toml:2:8: an input named \"a\" is there already: %d/auditail.toml:2\n"},
		},
		"bad value in the second file": {
			main: input("a"), more: "\n\n[buffer]\nbatch_age = \"1w\"\n",
			says: []string{"%d/conf.d/a.toml:4:13: buffer.batch_age: \"1w\""},
		},
		"syntax in the second file": {
			main: input("a"), more: "[buffer\n",
			says: []string{"%d/conf.d/a.toml:1:8: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"auditail.toml": test.main, "conf.d/a.toml": test.more})
			_, err := config.Load(filepath.Join(dir, "auditail.toml"))
			for _, says := range test.says {
				refused(t, err, strings.ReplaceAll(filepath.FromSlash(says), "%d", dir))
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := folder(t, map[string]string{
		"big.toml": strings.Repeat("#\n", 1<<19) + "# one more",
	})
	_, err := config.Load(filepath.Join(dir, "absent.toml"))
	refused(t, err, "read configuration: ", "absent.toml")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not fs.ErrNotExist: %v", err)
	}
	_, err = config.Load(dir)
	refused(t, err, "is not a regular file")
	_, err = config.Load(filepath.Join(dir, "big.toml"))
	refused(t, err, "big.toml", "is larger than 1MiB")
	_, err = config.Parse("big.toml", make([]byte, 2<<20))
	refused(t, err, "big.toml:1:1: the file is larger than 1MiB")
}

func TestSecret(t *testing.T) {
	dir := folder(t, map[string]string{
		"plain": "s3cret\n", "crlf": "s3cret\r\n", "two": "s3cret\n\n", "none": "s3cret", "empty": "\n",
		"big": strings.Repeat("x", 64<<10+1),
	})
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("AUDITAIL_TEST_TOKEN", "s3cret")
	for _, c := range []struct {
		secret config.Secret
		want   string
	}{
		{config.Secret{File: filepath.Join(dir, "plain")}, "s3cret"},
		{config.Secret{File: filepath.Join(dir, "crlf")}, "s3cret"},
		{config.Secret{File: filepath.Join(dir, "two")}, "s3cret\n"},
		{config.Secret{File: filepath.Join(dir, "none")}, "s3cret"},
		{config.Secret{Credential: "plain"}, "s3cret"},
		{config.Secret{Env: "AUDITAIL_TEST_TOKEN"}, "s3cret"},
	} {
		got, err := c.secret.Resolve()
		if err != nil || string(got) != c.want {
			t.Errorf("%s is %q, %v; want %q", c.secret, got, err, c.want)
		}
	}
	for _, c := range []struct {
		secret config.Secret
		says   string
	}{
		{config.Secret{File: filepath.Join(dir, "empty")}, "is empty"},
		{config.Secret{File: filepath.Join(dir, "big")}, "is larger than 64KiB"},
		{config.Secret{File: dir}, "is not a regular file"},
		{config.Secret{Env: "AUDITAIL_TEST_ABSENT"}, "environment variable AUDITAIL_TEST_ABSENT is not set"},
		{config.Secret{}, "none is configured"},
	} {
		_, err := c.secret.Resolve()
		refused(t, err, "read secret: ", c.says)
	}
	_, err := config.Secret{File: filepath.Join(dir, "absent")}.Resolve()
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not fs.ErrNotExist: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err = config.Secret{Credential: "plain"}.Resolve()
	refused(t, err, "$CREDENTIALS_DIRECTORY is not set", "LoadCredential=plain:")
}
