package file

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxDepth bounds the descent of "**"; symbolic links to directories are not
// followed there, but bind mounts can make loops too.
const maxDepth = 64

const anyDirectories = "**"

func validGlob(glob string) error {
	if glob == "" {
		return errors.New("is empty")
	}
	if strings.ContainsRune(glob, 0) {
		return errors.New("holds a NUL byte")
	}
	for part := range strings.SplitSeq(filepath.ToSlash(glob), "/") {
		if part != anyDirectories && strings.Contains(part, anyDirectories) {
			return errors.New(`"**" must be a whole component, as in /var/log/**/*.log`)
		}
		if _, err := path.Match(part, ""); err != nil {
			return errors.New("is no valid pattern: a [ without ] or a \\ at the end")
		}
	}
	return nil
}

func hasMeta(part string) bool { return strings.ContainsAny(part, `*?[\`) }

// pattern is a glob cut into its literal directory and the components below.
type pattern struct {
	root  string
	parts []string
}

func parsePattern(glob string) pattern {
	glob = filepath.Clean(glob)
	volume := filepath.VolumeName(glob)
	parts := strings.Split(strings.TrimPrefix(filepath.ToSlash(glob[len(volume):]), "/"), "/")
	literal := 0
	for literal < len(parts)-1 && !hasMeta(parts[literal]) {
		literal++
	}
	root := volume + string(filepath.Separator) + filepath.Join(parts[:literal]...)
	parts = parts[literal:]
	if parts[len(parts)-1] == anyDirectories {
		parts = append(parts, "*")
	}
	return pattern{root: root, parts: parts}
}

// matchPath tells whether a whole path matches the parts of a pattern.
func matchPath(parts, names []string) bool {
	for len(parts) > 0 {
		if parts[0] == anyDirectories {
			for skip := range len(names) {
				if matchPath(parts[1:], names[skip:]) {
					return true
				}
			}
			return false
		}
		if len(names) == 0 || !matchName(parts[0], names[0]) {
			return false
		}
		parts, names = parts[1:], names[1:]
	}
	return len(names) == 0
}

// matchName is path.Match of a pattern that was validated.
func matchName(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// excluded tells whether a path matches one of the exclude globs.
func excluded(globs []string, name string) bool {
	for _, glob := range globs {
		if !strings.ContainsRune(glob, filepath.Separator) {
			if matchName(glob, filepath.Base(name)) {
				return true
			}
			continue
		}
		if matchPath(strings.Split(filepath.ToSlash(filepath.Clean(glob)), "/"), strings.Split(filepath.ToSlash(name), "/")) {
			return true
		}
	}
	return false
}

// walker expands patterns.
type walker struct {
	// match is called with each existing path that matches.
	match func(name string)
	// dir is called with each directory whose entries decide what matches.
	dir func(name string)
	// fail is called when a directory can not be listed.
	fail func(name string, err error)
}

func (w *walker) expand(p pattern) {
	info, err := os.Stat(p.root)
	if err != nil || !info.IsDir() {
		w.dir(nearestDirectory(p.root))
		return
	}
	w.walk(p.root, p.parts, 0)
}

func (w *walker) walk(dir string, parts []string, depth int) {
	if depth > maxDepth {
		return
	}
	part, rest := parts[0], parts[1:]
	if part == anyDirectories {
		w.walk(dir, rest, depth+1)
		for _, entry := range w.list(dir) {
			if entry.IsDir() {
				w.walk(filepath.Join(dir, entry.Name()), parts, depth+1)
			}
		}
		return
	}
	if !hasMeta(part) {
		w.dir(dir)
		w.step(filepath.Join(dir, part), rest, depth)
		return
	}
	for _, entry := range w.list(dir) {
		if matchName(part, entry.Name()) {
			w.step(filepath.Join(dir, entry.Name()), rest, depth)
		}
	}
}

// step goes on with a name that matched one component.
func (w *walker) step(name string, rest []string, depth int) {
	if len(rest) == 0 {
		w.match(name)
		return
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		w.walk(name, rest, depth+1)
	}
}

func (w *walker) list(dir string) []os.DirEntry {
	w.dir(dir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.fail(dir, err)
	}
	return entries
}

// nearestDirectory returns the closest ancestor that exists: where the missing
// rest of a path will show up.
func nearestDirectory(name string) string {
	for {
		parent := filepath.Dir(name)
		if info, err := os.Stat(parent); parent == name || err == nil && info.IsDir() {
			return parent
		}
		name = parent
	}
}
