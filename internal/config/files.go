package config

import (
	"errors"
	"io/fs"
	"os"
	"slices"
)

// fileKeys are the keys that name a file which must be there before the agent
// starts. Keys that the agent makes by itself when they are absent are not here.
func fileKeys() []string {
	return []string{"ca_file", "cert_file", "key_file", "tls_cert", "tls_key", "client_ca"}
}

// CheckFiles looks at the files of certificates and keys that inputs and outputs
// name. It returns the first that can not be read, with the place that names it.
// It is not part of Load, because a configuration is also looked at on hosts where
// it does not run.
func (c *Config) CheckFiles() error {
	return c.checkFiles(func(key string) bool { return slices.Contains(fileKeys(), key) })
}

// CheckSecrets does the same for the files of secrets. These are read again for
// each use, so an agent starts without them.
func (c *Config) CheckSecrets() error {
	return c.checkFiles(func(key string) bool { return key == "file" }) // of { file = "…" }
}

func (c *Config) checkFiles(names func(key string) bool) error {
	for _, family := range []string{"inputs", "outputs", "witness"} {
		if n := c.root.get(family); n != nil {
			if err := checkFiles(n, family, names); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkFiles(n *node, what string, names func(key string) bool) error {
	for i, item := range n.items {
		path, err := what, error(nil)
		if n.kind == table {
			path += "." + keyPath(n.names[i])
		}
		if n.kind == table && item.kind == text && names(n.names[i]) {
			err = checkFile(item, path)
		} else {
			err = checkFiles(item, path, names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkFile(at *node, what string) error {
	file, err := os.Open(at.text)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return at.value.errorf("%s: there is no file %q; put it there, or mend the path", what, at.text)
	case errors.Is(err, fs.ErrPermission):
		return at.value.errorf("%s: this user may not read %q; give it to the user of the service (chown, or its group and chmod 640), or run this as that user", what, at.text)
	case err != nil:
		return at.value.errorf("%s: %s", what, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return at.value.errorf("%s: %q is a folder; name the file in it", what, at.text)
	}
	return nil
}
