package file

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// source is an open file that is read at any place.
type source interface {
	io.ReaderAt
	stat() (status, error)
	identity() (fileID, error) // cheap, where stat may have to unpack
	close() error
}

// windowSize is how much of what was unpacked is kept to look back at.
const windowSize = 2 << 20

// packedFile is a compressed file that reads as what was compressed. Reading
// forward is cheap; reading back beyond the window unpacks from the start.
type packedFile struct {
	file   *handle
	name   string
	size   int64 // unpacked; -1: not known yet
	reader io.ReadCloser
	next   int64  // place the reader stands at
	window []byte // the bytes before next
}

// readable tells whether the content of a compressed file can be read.
func readable(name string) bool {
	return slices.Contains([]string{".gz", ".zst", ".bz2"}, filepath.Ext(name))
}

// openSource opens a file; one with the suffix of a compressed file opens as
// what was compressed. It is read through when its status is asked for, to
// learn how long it is.
func openSource(name string) (source, error) {
	h, err := openHandle(name)
	if err != nil {
		return nil, err
	}
	if _, packed := plainName(name); !packed {
		return h, nil
	} else if !readable(name) {
		return nil, errors.Join(fmt.Errorf("open %s: this compression is not known", name), h.close())
	}
	if st, err := h.stat(); err != nil || st.kind != kindRegular {
		return nil, errors.Join(err, h.close(), fmt.Errorf("open %s: no regular file", name))
	}
	p := &packedFile{file: h, name: name, size: -1}
	if err := p.rewind(); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack %s: %w", name, err), p.close())
	}
	return p, nil
}

func (p *packedFile) measure() error {
	n, err := io.Copy(io.Discard, p.reader)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", p.name, err)
	}
	p.size = p.next + n
	return p.rewind()
}

func (p *packedFile) rewind() error {
	if err := p.closeReader(); err != nil {
		return err
	}
	raw := io.NewSectionReader(p.file, 0, 1<<62)
	p.next, p.window = 0, p.window[:0]
	switch filepath.Ext(p.name) {
	case ".bz2":
		p.reader = io.NopCloser(bzip2.NewReader(raw))
		return nil
	case ".zst":
		decoder, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return err
		}
		p.reader = decoder.IOReadCloser()
		return nil
	}
	reader, err := gzip.NewReader(raw)
	if err != nil {
		return err
	}
	p.reader = reader
	return nil
}

// ReadAt reads what was compressed; fewer bytes than len(data) mean the end,
// io.EOF comes with none.
func (p *packedFile) ReadAt(data []byte, from int64) (int, error) {
	if from < p.next-int64(len(p.window)) {
		if err := p.rewind(); err != nil {
			return 0, err
		}
	}
	done, ended := 0, false
	for done < len(data) && !ended {
		var err error
		at := from + int64(done)
		switch {
		case at < p.next:
			done += copy(data[done:], p.window[int64(len(p.window))-(p.next-at):])
		case at > p.next:
			ended, err = p.forward(int(min(at-p.next, windowSize/2)))
		default:
			ended, err = p.forward(min(len(data)-done, windowSize/2))
			done += copy(data[done:], p.window[int64(len(p.window))-(p.next-at):])
		}
		if err != nil {
			return done, err
		}
	}
	if done == 0 && len(data) > 0 {
		return 0, io.EOF
	}
	return done, nil
}

// forward unpacks n bytes into the window, fewer when the end comes first.
func (p *packedFile) forward(n int) (ended bool, err error) {
	if need := min(len(p.window)+n, windowSize); need > cap(p.window) {
		p.window = slices.Grow(p.window, min(max(need, 2*cap(p.window)), windowSize)-len(p.window))
	}
	if over := len(p.window) + n - windowSize; over > 0 {
		p.window = p.window[:copy(p.window, p.window[over:])]
	}
	for want := len(p.window) + n; len(p.window) < want; {
		end := len(p.window)
		got, err := p.reader.Read(p.window[end:want])
		p.window = p.window[:end+got]
		p.next += int64(got)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("unpack %s: %w", p.name, err)
		}
	}
	return false, nil
}

// stat is that of the compressed file, with the size of what it holds.
func (p *packedFile) stat() (status, error) {
	st, err := p.file.stat()
	if err == nil && p.size < 0 {
		err = p.measure()
	}
	st.size = p.size
	return st, err
}

func (p *packedFile) identity() (fileID, error) { return p.file.identity() }

func (p *packedFile) closeReader() error {
	if p.reader == nil {
		return nil
	}
	err := p.reader.Close()
	p.reader = nil
	return err
}

func (p *packedFile) close() error { return errors.Join(p.closeReader(), p.file.close()) }
