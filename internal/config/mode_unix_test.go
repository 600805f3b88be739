//go:build unix

package config_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/auditail/auditail/internal/config"
)

// strangers gives a file to a group that is not root's: the group it has, or
// any other when the tests run as root.
func strangers(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Gid == 0 {
		if err := os.Chown(path, -1, 12345); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationOfOthersIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"auditail.toml": "", "conf.d/a.toml": ""})
	main, more, more1 := filepath.Join(dir, "auditail.toml"), filepath.Join(dir, "conf.d"), filepath.Join(dir, "conf.d", "a.toml")
	link := filepath.Join(dir, "link.toml")
	if err := os.Symlink("auditail.toml", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{main, more, more1} {
		strangers(t, path)
	}
	for _, c := range []struct {
		path string
		bad  os.FileMode
		good os.FileMode
		says string
	}{
		{main, 0o666, 0o644, "auditail.toml: is writable by others; run chmod 644 " + main},
		{main, 0o664, 0o644, "auditail.toml: is writable by its group; run chmod 644 " + main},
		{more1, 0o602, 0o600, "a.toml: is writable by others; run chmod 644 " + more1},
		{more, 0o777, 0o755, "conf.d: is writable by others; run chmod 755 " + more},
		{more, 0o775, 0o755, "conf.d: is writable by its group; run chmod 755 " + more},
	} {
		chmod(t, c.path, c.bad)
		_, err := config.Load(main)
		refused(t, err, "read configuration: ", c.says)
		if c.path == main {
			_, err = config.Load(link)
			refused(t, err, "is writable by ")
		}
		chmod(t, c.path, c.good)
		for _, path := range []string{main, link} {
			if _, err := config.Load(path); err != nil {
				t.Errorf("mended, and yet: %v", err)
			}
		}
	}
}

func TestSecretOfOthersIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"key": "s3cret\n"})
	key := filepath.Join(dir, "key")
	for mode, says := range map[os.FileMode]string{
		0o602: "is writable by others; run chmod 600 " + key,
		0o620: "is writable by its group; run chmod 600 " + key,
		0o604: "is readable by others; run chmod 600 " + key,
		0o644: "is readable by others; run chmod 600 " + key,
	} {
		chmod(t, key, mode)
		_, err := config.Secret{File: key}.Resolve()
		refused(t, err, says)
	}
	for _, mode := range []os.FileMode{0o600, 0o400, 0o640} {
		chmod(t, key, mode)
		if _, err := (config.Secret{File: key}).Resolve(); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
