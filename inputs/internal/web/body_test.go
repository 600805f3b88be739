package web

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/internal/memory"
)

// FuzzDecode: no body breaks a decoder, what comes out is within max_body and
// within the share, and uncompressed bodies come out as they are.
func FuzzDecode(f *testing.F) {
	text := bytes.Repeat([]byte("a line\n"), 100)
	var gz, zl, zs bytes.Buffer
	encoder, err := zstd.NewWriter(&zs)
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gzip.NewWriter(&gz), zlib.NewWriter(&zl), encoder} {
		if _, err := w.Write(text); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
	}
	encodings := []string{"", "gzip", "deflate", "zstd"}
	for i, seed := range [][]byte{text, gz.Bytes(), zl.Bytes(), zs.Bytes()} {
		f.Add(seed, uint8(i))
		f.Add(seed[:len(seed)/2], uint8(i))
		f.Add(append(bytes.Clone(seed), seed...), uint8(i))
	}
	const maxBody, most = 1000, 16 << 20
	s := &Server{config: Config{MaxBody: maxBody}}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		share := NewShare(most)
		encoding := encodings[int(which)%len(encodings)]
		got, err := s.decode(bytes.NewReader(body), encoding, int64(len(body)), share)
		if err != nil {
			if refusal, ok := errors.AsType[*RefusalError](err); !ok || refusal.Status != http.StatusBadRequest && refusal.Status != http.StatusRequestEntityTooLarge {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		if len(got) > maxBody || int64(cap(got)) > share.taken || share.taken > most {
			t.Fatalf("%d bytes in %d, %d taken", len(got), cap(got), share.taken)
		}
		if encoding == "" && !bytes.Equal(got, body) {
			t.Fatalf("%q became %q", body, got)
		}
	})
}

// TestShares: what does not fit beside others is for later, what never fits is
// refused for good, and all is given back.
func TestShares(t *testing.T) {
	all := memory.New(100)
	one, two := &Share{claim: all.Claim(0), most: 100}, &Share{claim: all.Claim(0), most: 100}
	status := func(err error) int {
		refusal, ok := errors.AsType[*RefusalError](err)
		if !ok {
			return http.StatusOK
		}
		return refusal.Status
	}
	for i, step := range []struct {
		share *Share
		take  int64
		want  int
	}{
		{one, 60, http.StatusOK},
		{two, 41, http.StatusTooManyRequests},
		{two, 40, http.StatusOK},
		{one, 1, http.StatusTooManyRequests},
		{one, 41, http.StatusRequestEntityTooLarge},
	} {
		if got := status(step.share.Take(step.take)); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	one.release()
	if err := two.Take(60); err != nil {
		t.Error(err)
	}
	two.release()
	if free := all.Free(); free != 100 {
		t.Errorf("%d are free at the end", free)
	}
}
