package file

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// sampleSize is how much of the head of a file, and of what lies before the
// position, is remembered by its hash. 64 bytes missed files that were
// truncated and grew again behind the same kind of line; 1 KiB did not.
const sampleSize = 1 << 10

// fileID is what the file system calls the file. It is a hint: inodes are
// reused at once on ext4, and device numbers change over a reboot. The birth
// time tells most files apart that had one inode after another.
type fileID struct {
	device, inode uint64
	born          int64 // nanoseconds since 1970 by the clock of the file system; 0 where it keeps none
}

// identity is the file's that is open.
func (h *handle) identity() (fileID, error) {
	st, err := h.stat()
	return st.id, err
}

type fileKind uint8

const (
	kindRegular fileKind = iota
	kindDirectory
	kindOther
)

// status is what a stat tells.
type status struct {
	id       fileID
	size     int64
	modified int64 // nanoseconds since 1970 by the clock of the file system
	links    uint64
	kind     fileKind
}

// sample is the length and the hash of up to sampleSize bytes.
type sample struct {
	length int64
	sum    [16]byte // the first half of a SHA-256
}

func sampleOf(data []byte) sample {
	sum := sha256.Sum256(data)
	return sample{length: int64(len(data)), sum: [16]byte(sum[:16])}
}

// String is "length:hex".
func (s sample) String() string {
	return strconv.FormatInt(s.length, 10) + ":" + hex.EncodeToString(s.sum[:])
}

// MarshalText is String.
func (s sample) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText undoes MarshalText.
func (s *sample) UnmarshalText(text []byte) error {
	length, sum, ok := strings.Cut(string(text), ":")
	if !ok {
		return errors.New("sample without a colon")
	}
	n, err := strconv.ParseUint(length, 10, 16)
	if err != nil || n > sampleSize {
		return fmt.Errorf("length of a sample: %q", length)
	}
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != len(s.sum) {
		return fmt.Errorf("hash of a sample: %q", sum)
	}
	s.length, s.sum = int64(n), [16]byte(raw)
	return nil
}

// matches tells whether the bytes of r from the given position on are those
// the sample was taken of. A file that is too short does not match.
func (s sample) matches(r io.ReaderAt, from int64, scratch []byte) (bool, error) {
	if s.length == 0 {
		return true, nil
	}
	if from < 0 {
		return false, nil
	}
	data := scratch[:s.length]
	n, err := r.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return int64(n) == s.length && sampleOf(data) == s, nil
}
