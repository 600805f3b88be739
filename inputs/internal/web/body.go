package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

const (
	readSize = 64 << 10
	// What decompressing takes: windows of RFC 1952 and RFC 1950 with what the
	// decoders keep beside them, and the window that RFC 8878 asks every
	// decoder to support, beyond which ours refuses.
	inflateMemory = 64 << 10
	zstdWindow    = 8 << 20
)

// readBody returns the body of a request, decompressed.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, share *Share) ([]byte, error) {
	if r.ContentLength > s.config.MaxBody {
		return nil, s.tooLarge()
	}
	control := http.NewResponseController(w)
	paced := &pacedReader{
		body: http.MaxBytesReader(w, r.Body, s.config.MaxBody), control: control,
		pause: s.limits.Pause, until: time.Now().Add(s.limits.Body),
	}
	body, err := s.decode(paced, r.Header.Get("Content-Encoding"), r.ContentLength, share)
	if err != nil {
		return nil, err
	}
	// From here on a read of the server only notices that the client is gone.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return body, nil
}

func (s *Server) tooLarge() *RefusalError {
	return Refuse(http.StatusRequestEntityTooLarge, "the body is larger than max_body, %d bytes decompressed: divide it", s.config.MaxBody)
}

// decode reads a body in one of the encodings of RFC 9110, section 8.4.1, and
// RFC 8878.
func (s *Server) decode(from io.Reader, encoding string, length int64, share *Share) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return s.readAll(from, length, share)
	case "gzip", "x-gzip":
		if err := share.Take(inflateMemory); err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(from)
		if err != nil {
			return nil, s.readError(err)
		}
		defer z.Close()
		return s.readAll(z, 0, share)
	case "deflate":
		if err := share.Take(inflateMemory); err != nil {
			return nil, err
		}
		z, err := zlib.NewReader(from)
		if err != nil {
			return nil, s.readError(err)
		}
		defer z.Close()
		return s.readAll(z, 0, share)
	case "zstd":
		if err := share.Take(zstdWindow); err != nil {
			return nil, err
		}
		z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(uint64(s.config.MaxBody))) //nolint:gosec // not negative
		if err != nil {
			return nil, s.readError(err)
		}
		defer z.Close()
		return s.readAll(z, 0, share)
	default:
		return nil, Refuse(http.StatusUnsupportedMediaType, "the content encoding must be gzip, zstd, deflate or none")
	}
}

// readAll reads to the end; length is a hint, 0 or less when it is not known.
func (s *Server) readAll(from io.Reader, length int64, share *Share) ([]byte, error) {
	var body []byte
	want := int64(readSize)
	if length > 0 {
		want = min(want, length+1) // one more to see the end
	}
	for {
		var err error
		if body, err = share.grow(body, int(want), int(s.config.MaxBody)+1); err != nil {
			return nil, err
		}
		want = 1
		n, err := from.Read(body[len(body):min(int64(cap(body)), s.config.MaxBody+1)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > s.config.MaxBody:
			return nil, s.tooLarge()
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, s.readError(err)
		}
	}
}

// readError tells what is wrong with a body.
func (s *Server) readError(err error) error {
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		return refusal
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return s.tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Not 408: senders of OTLP repeat 429 and 503 only.
		return later(http.StatusServiceUnavailable, retrySoon, "the body came too slowly: come again")
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return s.tooLarge()
	}
	return Refuse(http.StatusBadRequest, "the body is damaged or its content encoding is another than the header says")
}

// pacedReader ends a body whose pieces come too slowly, or that takes too long.
type pacedReader struct {
	body    io.Reader
	control *http.ResponseController
	pause   time.Duration
	until   time.Time
}

// Read implements io.Reader.
func (p *pacedReader) Read(b []byte) (int, error) {
	deadline := time.Now().Add(p.pause)
	if p.until.Before(deadline) {
		deadline = p.until
	}
	if err := p.control.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return p.body.Read(b)
}
