package remote

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/archive"
)

// Central is an archive behind the central server, read with an auditor's token.
// The server is not trusted: what it lists and hands out is verified like the
// files of a directory.
type Central struct {
	base   *url.URL
	token  string
	client *http.Client
	idle   time.Duration // after which a server that sends nothing counts as down
}

const (
	// maxPage bounds one page of a listing: 1000 objects and their paths.
	maxPage = 4 << 20
	// maxProblem is how much is read of an answer that says what is wrong.
	maxProblem = 4 << 10
	// maxTries is how often a request is made before the server counts as down.
	maxTries = 6
	// idleTime is for how long a server may send nothing.
	idleTime = 30 * time.Second
)

// OpenServer opens the archive of the server at a base URL. A token goes over
// https only, but for a server on this machine. Nothing is asked yet.
func OpenServer(name, token string, client *http.Client) (*Central, error) {
	base, err := url.Parse(strings.TrimSuffix(name, "/"))
	if err != nil || base.Host == "" || base.RawQuery != "" || base.User != nil {
		return nil, fmt.Errorf("%q is not https://<host>[/<base>]", name)
	}
	if base.Scheme != "https" && !loopback(base.Hostname()) {
		return nil, fmt.Errorf("%s: plain http would show the token to everybody between here and there; use https", name)
	}
	if token == "" {
		return nil, fmt.Errorf("%s: an auditor's token is needed; give --token-file", name)
	}
	c := &http.Client{Timeout: 0, Transport: http.DefaultTransport}
	if client != nil {
		*c = *client
	}
	// Elsewhere nobody may see the token.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Central{base: base, token: token, client: c, idle: idleTime}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close implements io.Closer.
func (c *Central) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// List implements archive.Source, page by page.
func (c *Central) List(ctx context.Context, found func(archive.Entry) error) error {
	after := ""
	for {
		var page struct {
			Objects []struct {
				Path string `json:"path"`
				Size int64  `json:"size"`
			} `json:"objects"`
			Next string `json:"next"`
		}
		if err := c.page(ctx, after, &page); err != nil {
			return fmt.Errorf("list %s: %w", c.base, err)
		}
		for _, o := range page.Objects {
			if o.Path <= after {
				return fmt.Errorf("list %s: %q comes behind %q: the server lists out of order", c.base, o.Path, after)
			}
			if o.Size < 0 {
				return fmt.Errorf("list %s: %q is said to have %d bytes", c.base, o.Path, o.Size)
			}
			after = o.Path
			if err := found(archive.Entry{Path: o.Path, Size: o.Size, Regular: true}); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		if page.Next < after || len(page.Objects) == 0 {
			return fmt.Errorf("list %s: the next page begins behind %q, this one ended with %q", c.base, page.Next, after)
		}
		after = page.Next
	}
}

func (c *Central) page(ctx context.Context, after string, page any) error {
	query := url.Values{"prefix": {""}}
	if after != "" {
		query.Set("after", after)
	}
	response, err := c.get(ctx, "", query, 0)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxPage:
		return fmt.Errorf("the page has more than %d bytes", maxPage)
	}
	return json.Unmarshal(body, page)
}

// Open implements archive.Source.
func (c *Central) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	return openResuming(func(from int64, _ string) (io.ReadCloser, string, error) {
		response, err := c.get(ctx, path, nil, from)
		if err != nil {
			return nil, "", err
		}
		// What is stored there is never changed, and the digest tells if it was.
		return response.Body, "write-once", nil
	})
}

// get asks for an object, or with an empty path for a listing, until the server
// answers with something else than that it is busy.
func (c *Central) get(ctx context.Context, path string, query url.Values, from int64) (*http.Response, error) {
	target := c.base.JoinPath("v1", "objects", path)
	if path == "" {
		target.Path += "/"
	}
	target.RawQuery = query.Encode()
	var last error
	for try := range maxTries {
		if try > 0 {
			select {
			case <-time.After(rand.N(time.Second << try)): // full jitter
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+c.token)
		request.Header.Set("User-Agent", "auditail-verify")
		want := http.StatusOK
		if from > 0 {
			request.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
			want = http.StatusPartialContent
		}
		response, err := c.do(request)
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			return nil, fmt.Errorf("%w; give the certificate of the server's own authority with --ca-file", err)
		}
		if err != nil {
			if ctx.Err() != nil || isCertificate(err) {
				return nil, err
			}
			last = err
			continue
		}
		if response.StatusCode == want {
			return response, nil
		}
		last = refusal(response)
		switch {
		case response.StatusCode == http.StatusNotFound && path != "":
			return nil, fs.ErrNotExist
		case response.StatusCode != http.StatusTooManyRequests && response.StatusCode < 500:
			return nil, last
		}
	}
	return nil, last
}

// do makes a request that fails when the server sends nothing for a while, before or
// within its answer.
func (c *Central) do(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	timer := time.AfterFunc(c.idle, func() { cancel(errStalled) })
	response, err := c.client.Do(request.WithContext(ctx))
	timer.Stop()
	if err != nil {
		err = cmp.Or(stalled(ctx), err)
		cancel(nil)
		return nil, err
	}
	response.Body = &watched{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, idle: c.idle}
	return response, nil
}

var errStalled = errors.New("the server stalls: it sends nothing any more")

// stalled returns errStalled when that is why a request ended.
func stalled(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return nil
}

// watched is a body whose reads end when nothing comes for a while. The time between
// two reads is the reader's and does not count.
type watched struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request whose answer this is
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.idle)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = cmp.Or(stalled(w.ctx), err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
}

// isCertificate tells faults that no second try mends.
func isCertificate(err error) bool {
	var failed *url.Error
	return errors.As(err, &failed) && strings.Contains(failed.Err.Error(), "certificate")
}

// refusal reads what an answer says that is not the one asked for.
func refusal(response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // the status says enough
	_ = response.Body.Close()
	var p struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	return fmt.Errorf("the server answers %s: %s", response.Status, archive.Printable(p.Detail))
}
