// Package remote reads archives that lie in a bucket or behind a server.
//
// Its promise: nothing that a store says is believed. It fetches bytes, and what
// it can not fetch is an error that package archive turns into a finding; it
// shows every version of a name, not only the newest, where the store keeps them.
package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/auditail/auditail/internal/archive"
)

// Source is an archive that is closed after use.
type Source interface {
	archive.Source
	io.Closer
}

// Options say how to reach what is not a directory.
type Options struct {
	S3    S3Config
	Token string // of an auditor, for a server
	// Client reaches a server; nil: one with the system's roots.
	Client *http.Client
}

// IsRemote tells s3:// and https:// names from directories.
func IsRemote(name string) bool {
	return isS3(name) || strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// Open opens the archive in a directory, at s3://bucket/prefix, or behind the
// central server at https://….
func Open(ctx context.Context, name string, o Options) (Source, error) {
	switch {
	case isS3(name):
		return OpenS3(ctx, name, o.S3)
	case IsRemote(name):
		return OpenServer(name, o.Token, o.Client)
	default:
		return archive.OpenDir(name)
	}
}

// opener opens a file from an offset on; the tag makes sure that it still is
// the same file.
type opener func(from int64, tag string) (io.ReadCloser, string, error)

// maxResumes is how often in a row a body that breaks off is fetched on.
const maxResumes = 5

// resuming is a body that goes on where a connection broke off, so that a fault
// of the network is no finding about the archive.
type resuming struct {
	open    opener
	tag     string
	body    io.ReadCloser
	at      int64
	resumed int
}

func openResuming(open opener) (io.ReadCloser, error) {
	body, tag, err := open(0, "")
	if err != nil {
		return nil, err
	}
	return &resuming{open: open, tag: tag, body: body}, nil
}

func (r *resuming) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.at += int64(n)
	if n > 0 {
		r.resumed = 0
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || r.resumed == maxResumes || r.tag == "" {
		return n, err
	}
	r.resumed++
	body, _, again := r.open(r.at, r.tag)
	if again != nil {
		return n, errors.Join(err, again)
	}
	_ = r.body.Close() // it failed already
	r.body = body
	return n, nil
}

func (r *resuming) Close() error { return r.body.Close() }
