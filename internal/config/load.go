package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// maxFile bounds a configuration file.
const maxFile = 1 << 20

// Load reads the file and the files *.toml of the folder conf.d beside it, in
// the order of their names. Files that somebody else could have written are
// refused.
func Load(path string) (*Config, error) {
	names := []string{path}
	dir := filepath.Join(filepath.Dir(path), "conf.d")
	more, err := dropIns(dir)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	names = append(names, more...)

	var sources []*source
	for _, name := range names {
		data, err := readOwn(name, maxFile, checkConfigMode)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w%s", err, remedy(err))
		}
		sources = append(sources, &source{name: name, data: data})
	}
	return read(sources)
}

// remedy says what helps when a file can not be read.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "; name another with --config, or let `auditail config init` write one"
	case errors.Is(err, fs.ErrPermission):
		return "; run this as root or as the user of the service"
	case errors.Is(err, errNotRegular):
		return "; name the file in it, such as auditail.toml"
	default:
		return ""
	}
}

// dropIns returns the files of a conf.d that may not exist.
func dropIns(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkConfigMode(dir, info); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		// A hidden file is an editor's, or a package manager's half-written one.
		if strings.HasSuffix(entry.Name(), ".toml") && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, filepath.Join(dir, entry.Name()))
		}
	}
	return names, nil
}

// Parse reads the text of one file. The name stands in errors only.
func Parse(name string, data []byte) (*Config, error) {
	src := &source{name: name, data: data}
	if len(data) > maxFile {
		return nil, span{src: src}.errorf("the file is larger than %s", Size(maxFile))
	}
	return read([]*source{src})
}

// decode takes the byte order mark away that some editors write, and refuses
// what is not UTF-8 as a whole: the errors about single characters would not help.
func (s *source) decode() error {
	s.data = bytes.TrimPrefix(s.data, []byte("\xef\xbb\xbf"))
	head := s.data[:min(len(s.data), 4)]
	if bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}) || bytes.IndexByte(head, 0) >= 0 {
		return fmt.Errorf("%s:1:1: the file is UTF-16, not UTF-8: save it again as UTF-8 (iconv -f UTF-16 -t UTF-8)", s.name)
	}
	return nil
}

// read merges the files, decodes and checks them.
func read(sources []*source) (*Config, error) {
	var root *node
	for _, src := range sources {
		if err := src.decode(); err != nil {
			return nil, err
		}
		tree, err := parse(src)
		if err != nil {
			return nil, err
		}
		if root == nil {
			root = tree
			continue
		}
		if err := merge(root, tree); err != nil {
			return nil, err
		}
	}
	c := preset()
	c.root = root
	if err := decode(reflect.ValueOf(c).Elem(), root, ""); err != nil {
		return nil, err
	}
	c.complete()
	k := &checker{root: root, config: c}
	if err := k.check(); err != nil {
		return nil, err
	}
	return c, nil
}
