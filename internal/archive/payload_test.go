package archive_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestCheckPayload(t *testing.T) {
	epoch := sealtest.New(t, sealtest.Config{})
	epoch.Open()
	records := epoch.Records(3000)
	batch := epoch.Data(sealtest.Chat(), records)
	m := batch.Manifest
	file := epoch.Files[m.PayloadPath]

	var seen int
	s, err := archive.CheckPayload(bytes.NewReader(file), m, archive.PayloadOptions{Record: func(index uint64, line []byte) {
		if index < uint64(len(records)) && !bytes.Equal(line, records[index]) {
			t.Errorf("record %d is %s, want %s", index, line, records[index])
		}
		seen++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if seen != 3001 || s.Records != 3001 || s.Plain != m.Plain || s.Bytes != int64(len(file)) || !s.Proven {
		t.Errorf("summary %+v after %d records", s, seen)
	}
}

func TestCheckPayloadFindsDamage(t *testing.T) {
	epoch := sealtest.New(t, sealtest.Config{})
	epoch.Open()
	records := epoch.Records(100)
	batch := epoch.Data(sealtest.Chat(), records)
	m := batch.Manifest
	file := epoch.Files[m.PayloadPath]
	var plain []byte
	if _, err := archive.CheckPayload(bytes.NewReader(file), m, archive.PayloadOptions{Record: func(_ uint64, line []byte) {
		plain = append(append(plain, line...), '\n')
	}}); err != nil {
		t.Fatal(err)
	}
	all := []error{
		archive.ErrPayloadDigest, archive.ErrPayloadEncoding, archive.ErrPayloadSize,
		archive.ErrPayloadRecords, archive.ErrPayloadRoot, archive.ErrPayloadLine,
	}
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'} // RFC 8878, section 3.1.2
	tests := map[string]struct {
		file   []byte
		want   []error
		proven bool
	}{
		"one bit":             {flip(file, len(file)/2), []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"truncated":           {file[:len(file)-7], []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"empty":               {nil, []error{archive.ErrPayloadDigest, archive.ErrPayloadSize}, false},
		"garbage behind":      {append(bytes.Clone(file), "garbage"...), []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"skippable behind":    {append(bytes.Clone(file), skippable...), []error{archive.ErrPayloadDigest}, true},
		"recompressed":        {sealtest.Compress(t, plain[:1000], plain[1000:]), []error{archive.ErrPayloadDigest}, true},
		"a byte of a record":  {sealtest.Compress(t, flip(plain, 500)), []error{archive.ErrPayloadDigest, archive.ErrPayloadRoot}, false},
		"record dropped":      {sealtest.Compress(t, plain[len(records[0])+1:]), []error{archive.ErrPayloadDigest, archive.ErrPayloadSize}, false},
		"record twice":        {sealtest.Compress(t, plain, append(records[0], '\n')), []error{archive.ErrPayloadDigest, archive.ErrPayloadSize}, false},
		"records joined":      {sealtest.Compress(t, bytes.Replace(plain, []byte("\n"), []byte(" "), 1)), []error{archive.ErrPayloadDigest, archive.ErrPayloadRecords, archive.ErrPayloadRoot}, false},
		"empty line":          {sealtest.Compress(t, append([]byte{'\n'}, plain[1:]...)), []error{archive.ErrPayloadDigest, archive.ErrPayloadLine}, false},
		"no LF at the end":    {sealtest.Compress(t, append(bytes.Clone(plain[:len(plain)-1]), ' ')), []error{archive.ErrPayloadDigest, archive.ErrPayloadLine}, false},
		"bomb of 100 MB":      {sealtest.Compress(t, make([]byte, 100<<20)), []error{archive.ErrPayloadDigest, archive.ErrPayloadSize}, false},
		"no zstd at all":      {plain, []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"window of 1 GiB":     {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 1, 0, 0}, []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"only a zstd header":  {file[:4], []error{archive.ErrPayloadDigest, archive.ErrPayloadEncoding}, false},
		"records of a sister": {epoch.Files[epoch.Data(sealtest.Chat(), epoch.Records(100)).Manifest.PayloadPath], []error{archive.ErrPayloadDigest, archive.ErrPayloadSize}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := archive.CheckPayload(bytes.NewReader(test.file), m, archive.PayloadOptions{})
			for _, e := range all {
				want := errors.Is(errors.Join(test.want...), e)
				if errors.Is(err, e) != want {
					t.Errorf("errors.Is(…, %q) is %t, want %t: %v", e, !want, want, err)
				}
			}
			if s.Proven != test.proven {
				t.Errorf("proven %t, want %t", s.Proven, test.proven)
			}
			if s.Plain > m.Plain+1 {
				t.Errorf("decompressed %d bytes of %d", s.Plain, m.Plain)
			}
		})
	}
}

func TestCheckPayloadTellsReadErrorsApart(t *testing.T) {
	epoch := sealtest.New(t, sealtest.Config{})
	epoch.Open()
	m := epoch.Data(sealtest.Chat(), epoch.Records(10)).Manifest
	broken := errors.New("disk on fire")
	_, err := archive.CheckPayload(io.MultiReader(bytes.NewReader(epoch.Files[m.PayloadPath][:20]), failing{broken}), m, archive.PayloadOptions{})
	if !errors.Is(err, broken) || errors.Is(err, archive.ErrPayloadDigest) || errors.Is(err, archive.ErrPayloadEncoding) {
		t.Errorf("error is %v, want only %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
