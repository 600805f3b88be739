// Package witness asks witnesses off the host to cosign the heads of the agent's
// log: the client side of C2SP tlog-witness.
//
// Its promise: what AddCheckpoint returns was verified with the witness's key, and
// an answer that shows another log than this one is told apart from one that
// shows nothing.
package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// Config is what users choose.
type Config struct {
	URL string          // submission prefix, to which /add-checkpoint is added
	Key seal.WitnessKey // that its cosignatures must verify with
}

// Deps is what the program provides.
type Deps struct {
	Version   string            // of the agent, for User-Agent
	Transport http.RoundTripper // nil: the default one
}

// Prove returns the consistency proof from one size of the log to another.
type Prove func(from, to uint64) ([]seal.Hash, error)

var (
	// ErrAhead says that the witness cosigned a longer log of this origin; the
	// error is an *AheadError.
	ErrAhead = errors.New("the witness has seen a longer log")
	// ErrFork says that the witness cosigned another log of this origin.
	ErrFork = errors.New("the witness has seen another log")
)

// AheadError names the size that the witness cosigned.
type AheadError struct{ Size uint64 }

// Error implements error.
func (e *AheadError) Error() string { return fmt.Sprintf("%v: %d manifests", ErrAhead, e.Size) }

// Unwrap returns ErrAhead.
func (e *AheadError) Unwrap() error { return ErrAhead }

const (
	timeout   = 10 * time.Second // of one request
	maxAnswer = 16 << 10
	sizeType  = "text/x.tlog.size"
)

// Client talks to one witness. It is not safe for concurrent use.
type Client struct {
	Key       seal.WitnessKey
	url       string
	userAgent string
	http      *http.Client

	origin seal.Origin // that size is of
	size   uint64      // that the witness is believed to have cosigned last
}

// New returns the client of a witness.
func New(c Config, d Deps) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("witness %s: url %q is not http:// or https:// with a host", c.Key.Name, c.URL)
	}
	return &Client{
		Key: c.Key, url: base.JoinPath("add-checkpoint").String(), userAgent: "auditail/" + d.Version,
		http: &http.Client{
			Transport: d.Transport, Timeout: timeout,
			// A redirected POST may lose its body; the operator has to name the place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// AddCheckpoint returns the witness's cosignature over a checkpoint. It returns
// errors that wrap ErrAhead or ErrFork when the witness answers so; all others
// mean that it is away, or does not want to.
func (c *Client) AddCheckpoint(ctx context.Context, checkpoint *seal.Checkpoint, prove Prove) (seal.Cosignature, error) {
	if c.origin != checkpoint.Origin {
		c.origin, c.size = checkpoint.Origin, 0
	}
	var last error
	for range 3 { // the size may have to be learnt, and may change meanwhile
		old := min(c.size, checkpoint.Size)
		line, err := c.ask(ctx, checkpoint, old, prove)
		if err == nil {
			c.size = checkpoint.Size
			return line, nil
		}
		var other *sizeError
		if !errors.As(err, &other) {
			return seal.Cosignature{}, fmt.Errorf("witness %s: %w", c.Key.Name, err)
		}
		switch {
		case other.size > checkpoint.Size:
			return seal.Cosignature{}, fmt.Errorf("witness %s: %w", c.Key.Name, &AheadError{Size: other.size})
		case other.size == old && old == checkpoint.Size:
			// The sizes agree, so the roots do not (C2SP tlog-witness).
			return seal.Cosignature{}, fmt.Errorf("witness %s: %w: another root of %d manifests", c.Key.Name, ErrFork, old)
		}
		c.size, last = other.size, err
	}
	return seal.Cosignature{}, fmt.Errorf("witness %s: %w", c.Key.Name, last)
}

// sizeError is the answer that the witness cosigned another size last.
type sizeError struct{ size uint64 }

func (e *sizeError) Error() string { return fmt.Sprintf("it cosigned %d manifests last", e.size) }

// ask sends one request.
func (c *Client) ask(ctx context.Context, checkpoint *seal.Checkpoint, old uint64, prove Prove) (seal.Cosignature, error) {
	request := seal.AddCheckpoint{Old: old, Note: checkpoint.File}
	if old > 0 && old < checkpoint.Size {
		var err error
		if request.Proof, err = prove(old, checkpoint.Size); err != nil {
			return seal.Cosignature{}, fmt.Errorf("prove that %d manifests extend %d: %w", checkpoint.Size, old, err)
		}
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(request.Text()))
	if err != nil {
		return seal.Cosignature{}, err
	}
	post.Header.Set("User-Agent", c.userAgent)
	post.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := c.http.Do(post)
	if err != nil {
		return seal.Cosignature{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return seal.Cosignature{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return seal.Cosignature{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return c.answer(response, body, checkpoint, old)
}

func (c *Client) answer(response *http.Response, body []byte, checkpoint *seal.Checkpoint, old uint64) (seal.Cosignature, error) {
	switch response.StatusCode {
	case http.StatusOK:
		return c.cosignature(body, checkpoint)
	case http.StatusConflict:
		kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
		size, err := strconv.ParseUint(strings.TrimSuffix(string(body), "\n"), 10, 63)
		if kind == sizeType && err == nil {
			return seal.Cosignature{}, &sizeError{size: size}
		}
		if old == checkpoint.Size {
			return seal.Cosignature{}, fmt.Errorf("%w: another root of %d manifests", ErrFork, old)
		}
	case http.StatusUnprocessableEntity:
		if old > 0 {
			return seal.Cosignature{}, fmt.Errorf("%w: %d manifests do not extend the %d that it cosigned", ErrFork, checkpoint.Size, old)
		}
	case http.StatusNotFound:
		return seal.Cosignature{}, fmt.Errorf("it answers 404: it does not know the log %s; enrol the agent there", checkpoint.Origin)
	case http.StatusForbidden:
		return seal.Cosignature{}, fmt.Errorf("it answers 403: it does not trust the identity key of %s; give it the one that auditail keys show prints", checkpoint.Origin.Log)
	}
	return seal.Cosignature{}, fmt.Errorf("it answers %d: %s", response.StatusCode, strconv.Quote(string(body[:min(len(body), 200)])))
}

// cosignature finds the witness's own line in an answer. Lines of other keys are
// ignored (C2SP tlog-witness).
func (c *Client) cosignature(body []byte, checkpoint *seal.Checkpoint) (seal.Cosignature, error) {
	lines, err := seal.SplitCosignatures(body)
	if err != nil {
		return seal.Cosignature{}, err
	}
	for _, line := range lines {
		if _, err = seal.VerifyCosignature(line, checkpoint, c.Key); err == nil {
			return seal.Cosignature{Origin: checkpoint.Origin, Size: checkpoint.Size, Witness: c.Key, Line: line}, nil
		}
	}
	return seal.Cosignature{}, err
}
