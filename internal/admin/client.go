package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning: nobody answers on the socket.
var ErrNotRunning = errors.New("no agent answers")

// Client asks an agent over its socket. Its methods are safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// maxAnswer bounds what is read of an answer that is not a stream.
const maxAnswer = 64 << 20

// NewClient asks the agent that listens on the socket.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialSocket(ctx, socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s: start it with `auditail service start` (or `auditail run`), or name its configuration with --config", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is for the agent's user: run this command as root (Windows: as an administrator) or as that user: %w", c.socket, err)
	}
	return nil, fmt.Errorf("ask the agent: %w", err)
}

// get returns the body of an answer that is whole and good.
func (c *Client) get(ctx context.Context, method, path string, good ...int) ([]byte, error) {
	answer, err := c.do(ctx, method, path)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the agent's answer: %w", err)
	}
	if answer.StatusCode == http.StatusOK || slices.Contains(good, answer.StatusCode) {
		return body, nil
	}
	return nil, fmt.Errorf("the agent answers %s: %s", answer.Status, strings.TrimSpace(string(body[:min(len(body), 1<<10)])))
}

// Status returns the agent's status.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	body, err := c.get(ctx, http.MethodGet, "/status")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("read the agent's answer: %w", err)
	}
	return s, nil
}

// Raw returns what a path of the endpoint answers to GET.
func (c *Client) Raw(ctx context.Context, path string) ([]byte, error) {
	return c.get(ctx, http.MethodGet, path)
}

// Reload has the agent load its configuration again, and waits for it.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	body, err := c.get(ctx, http.MethodPost, "/reload", http.StatusUnprocessableEntity, http.StatusNotImplemented)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("read the agent's answer: %w", err)
	}
	return r, nil
}

// maxTapLine bounds one record of a tap; see SCHEMA section 1.7.
const maxTapLine = 32 << 20

// Tap calls show for each record of the input (empty: all) as it passes, and
// lost for records that were left out because show was too slow. It returns when
// the agent stops or ctx ends, and what show returned.
func (c *Client) Tap(ctx context.Context, input string, show func(record []byte) error, lost func(count string)) error {
	answer, err := c.do(ctx, http.MethodGet, "/tap?input="+url.QueryEscape(input))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10)) // the status says enough
		if answer.StatusCode == http.StatusNotFound {
			return errors.New(strings.TrimSpace(string(body))) // it is a sentence for people
		}
		return fmt.Errorf("the agent answers %s: %s", answer.Status, strings.TrimSpace(string(body)))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, 64<<10), maxTapLine)
	for lines.Scan() {
		line := lines.Bytes()
		if count, ok := strings.CutPrefix(string(line[:min(len(line), 64)]), LostHeader); ok {
			lost(count)
			continue
		}
		if err := show(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read the agent's records: %w", err)
	}
	return ctx.Err()
}

// WaitTime is how long a client that lost its agent waits before it asks again.
const WaitTime = time.Second
