package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/auditail/auditail/inputs"
)

var _ inputs.Rereader = (*Input)(nil)

// errNotThere is that no file holds what was read of a generation.
var errNotThere = errors.New("no file holds what was read of it any more")

// Reread implements inputs.Rereader: a generation can be read again when its
// file, found by its identity, still holds the bytes in front of both positions.
func (in *Input) Reread(moved []inputs.Moved) ([]inputs.Position, error) {
	positions := make([]inputs.Position, 0, len(moved))
	for _, m := range moved {
		token, err := in.rereadFrom(m)
		if err != nil {
			return nil, fmt.Errorf("generation %s: %w", m.Generation, err)
		}
		positions = append(positions, inputs.Position{Generation: m.Generation, Token: token})
	}
	return positions, nil
}

func (in *Input) rereadFrom(m inputs.Moved) ([]byte, error) {
	if m.To == nil {
		return nil, errors.New("its file was read to its end and is gone")
	}
	to, err := decodeToken(m.To)
	if err != nil {
		return nil, err
	}
	back := to
	back.Offset, back.Anchor, back.Over, back.Loss = 0, sample{}, false, nil
	if m.From != nil {
		from, err := decodeToken(m.From)
		if err != nil {
			return nil, err
		}
		back.Offset, back.Anchor, back.Shift = from.Offset, from.Anchor, from.Shift
	}
	if back.Shift != to.Shift || m.From == nil && to.Shift != 0 {
		return nil, errors.New("it went on in a copy of its file")
	}
	for _, name := range in.namesOf(&to) {
		if found, err := holdsBoth(name, m.Generation, &back, &to); err != nil {
			return nil, err
		} else if found {
			back.Name = name
			return back.encode()
		}
	}
	return nil, errNotThere
}

// namesOf returns where the file of a position may lie: under its names, and
// wherever its identity is found in the folders that rotations use.
func (in *Input) namesOf(t *token) []string {
	names := []string{t.Name, t.Path}
	id := fileID{device: t.Device, inode: t.Inode, born: t.Born}
	for _, dir := range []string{filepath.Dir(t.Name), filepath.Dir(t.Real), filepath.Dir(t.Path)} {
		names = append(names, withIdentity(dir, id)...)
	}
	for _, glob := range in.config.Rotated {
		found, err := filepath.Glob(glob) // "**" finds less here: the loss is a gap then
		if err != nil {
			continue
		}
		for _, name := range found {
			if st, err := statPath(name); err == nil && st.id == id {
				names = append(names, name)
			}
		}
	}
	return names
}

func withIdentity(dir string, id fileID) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // gone: nothing is found there
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if st, err := statPath(name); err == nil && st.id == id {
			names = append(names, name)
		}
	}
	return names
}

// holdsBoth tells whether the file with this name is that of the positions, and
// holds what lies in front of each.
func holdsBoth(name, generation string, from, to *token) (bool, error) {
	st, err := statPath(name)
	if err != nil || st.id != (fileID{device: to.Device, inode: to.Inode, born: to.Born}) {
		return false, nil //nolint:nilerr // not there: another name may lead to it
	}
	file, err := openSource(name)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", name, err)
	}
	same := true
	for _, t := range []token{*from, *to} {
		data, encodeErr := t.encode()
		g, decodeErr := resumedGeneration(generation, data)
		if err = errors.Join(encodeErr, decodeErr); err != nil {
			break
		}
		var scratch [sampleSize]byte
		holds, readErr := g.holds(file, scratch[:])
		if same, err = same && holds, readErr; err != nil {
			break
		}
	}
	return same && err == nil, errors.Join(err, file.close())
}
