package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// tokenVersion is raised when an older reader would misunderstand a token.
const tokenVersion = 1

// token is a position as it is committed: what it takes to find the same
// content again, under whatever name, and to go on behind the last byte that
// was handed over.
type token struct {
	Version int    `json:"v"`
	Path    string `json:"path,omitempty"`
	// PathBytes stands in for Path when the name is not UTF-8.
	PathBytes []byte `json:"path_bytes,omitempty"`
	// Real is the path with symbolic links resolved, where it differs.
	Real      string `json:"real,omitempty"`
	RealBytes []byte `json:"real_bytes,omitempty"`
	// Name is where the file was found last, where it differs from Path.
	Name      string `json:"name,omitempty"`
	NameBytes []byte `json:"name_bytes,omitempty"`
	Device    uint64 `json:"device"`
	Inode     uint64 `json:"inode"`
	Born      int64  `json:"born,omitempty"`  // time of birth in nanoseconds, where the file system has it
	Offset    int64  `json:"offset"`          // of the generation
	Shift     int64  `json:"shift,omitempty"` // offset minus place in the file
	Size      int64  `json:"size"`            // newest size seen of the file
	Modified  int64  `json:"modified"`        // newest modification time seen, nanoseconds
	Head      sample `json:"head"`            // of the file's first bytes
	Anchor    sample `json:"anchor"`          // of the bytes before the place in the file
	Over      bool   `json:"over,omitempty"`  // rotated away, read to its end, quiet since
	Loss      *int64 `json:"loss,omitempty"`  // bytes known to have been destroyed behind the end; 0: maybe some
}

func (t *token) encode() ([]byte, error) {
	t.Version = tokenVersion
	if t.Real == t.Path {
		t.Real = ""
	}
	if t.Name == t.Path {
		t.Name = ""
	}
	if !utf8.ValidString(t.Path) {
		t.Path, t.PathBytes = "", []byte(t.Path)
	}
	if !utf8.ValidString(t.Real) {
		t.Real, t.RealBytes = "", []byte(t.Real)
	}
	if !utf8.ValidString(t.Name) {
		t.Name, t.NameBytes = "", []byte(t.Name)
	}
	return json.Marshal(t)
}

// decodeToken accepts what encode made and nothing that could lead a reader astray.
func decodeToken(data []byte) (token, error) {
	var t token
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&t); err != nil {
		return token{}, fmt.Errorf("decode token: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return token{}, errors.New("decode token: more than one value")
	}
	if t.Version != tokenVersion {
		return token{}, fmt.Errorf("token of version %d: this program knows version %d", t.Version, tokenVersion)
	}
	if t.Path == "" {
		t.Path = string(t.PathBytes)
	}
	if t.Real == "" {
		t.Real = string(t.RealBytes)
	}
	if t.Real == "" {
		t.Real = t.Path
	}
	if t.Name == "" {
		t.Name = string(t.NameBytes)
	}
	if t.Name == "" {
		t.Name = t.Path
	}
	t.PathBytes, t.RealBytes, t.NameBytes = nil, nil, nil
	place := t.Offset - t.Shift
	switch {
	case t.Path == "":
		return token{}, errors.New("token without a path")
	case t.Offset < 0 || t.Size < 0 || place < 0 || place > 1<<62 || t.Shift > 1<<62 || t.Shift < -1<<62:
		return token{}, fmt.Errorf("token with offset %d, shift %d, size %d", t.Offset, t.Shift, t.Size)
	case t.Anchor.length > place:
		return token{}, fmt.Errorf("token with an anchor of %d bytes before %d", t.Anchor.length, place)
	case t.Loss != nil && *t.Loss < 0:
		return token{}, fmt.Errorf("token with a loss of %d bytes", *t.Loss)
	}
	return t, nil
}
