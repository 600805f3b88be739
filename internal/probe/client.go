package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Config says how to ask.
type Config struct {
	UserAgent string
	// Called is told of each request before it is sent. It may be nil.
	Called func(t Target, method, path string)
}

// Client asks. It is safe for concurrent use.
type Client struct {
	config Config
	local  *http.Client // reaches this host alone
	any    *http.Client
}

// New returns a client.
func New(config Config) *Client {
	return &Client{config: config, local: newHTTP(onlyLoopback), any: newHTTP(nil)}
}

// newHTTP returns an HTTP client that follows nothing and nobody.
func newHTTP(control func(network, address string, c syscall.RawConn) error) *http.Client {
	dialer := &net.Dialer{Timeout: Timeout, Control: control}
	return &http.Client{
		Timeout:       Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			DisableCompression:     true, // an answer has the size it has
			DisableKeepAlives:      true, // one question a minute needs no open connection
			MaxResponseHeaderBytes: 16 << 10,
			TLSHandshakeTimeout:    Timeout,
		},
	}
}

var errOffHost = errors.New("the address is not of this host; probe_remote = true allows it")

// onlyLoopback looks at the address that a name led to.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().Unmap().IsLoopback() {
		return errOffHost
	}
	return nil
}

// Question is what is asked of a target.
type Question struct {
	Target Target
	Names  []string // of models to ask for, for kinds that do not list all they serve
	Token  func() ([]byte, error)
	Remote bool // the target may be another host
}

// Ask returns what the server says, or one sentence of why not.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	a := &asking{client: c, question: q, http: c.local}
	if q.Remote {
		a.http = c.any
	}
	if q.Token != nil {
		token, err := q.Token()
		if err != nil {
			return Answer{}, fmt.Errorf("read probe_token: %w", err)
		}
		a.token = strings.TrimSpace(string(token))
	}
	answer, err := a.ask(ctx)
	if err != nil {
		return Answer{}, err
	}
	answer.Models = tidy(answer.Models)
	answer.Version = text(answer.Version)
	answer.Single = answer.Single && len(answer.Models) == 1
	return answer, nil
}

// asking is one question.
type asking struct {
	client   *Client
	question Question
	http     *http.Client
	token    string
}

func (a *asking) ask(ctx context.Context) (Answer, error) {
	switch a.question.Target.Kind {
	case VLLM:
		return a.vllm(ctx)
	case SGLang:
		return a.sglang(ctx)
	case TGI:
		return a.tgi(ctx)
	case LlamaCPP:
		return a.llamacpp(ctx)
	case Ollama:
		return a.ollama(ctx)
	case Triton:
		return a.triton(ctx)
	case KServe:
		return a.kserve(ctx)
	case TorchServe:
		return a.torchserve(ctx)
	case TensorFlowServing:
		return a.tensorflow(ctx)
	}
	return Answer{}, fmt.Errorf("unknown kind %q", a.question.Target.Kind)
}

// StatusError is an answer other than 200.
type StatusError struct {
	Path   string
	Status int
}

// Error names path and status.
func (e *StatusError) Error() string { return fmt.Sprintf("%s answers %d", e.Path, e.Status) }

// missing tells whether the server does not know what it was asked for.
func missing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) &&
		(status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed || status.Status == http.StatusNotImplemented)
}

func (a *asking) get(ctx context.Context, path string, into any) error {
	return a.call(ctx, http.MethodGet, path, nil, into)
}

// call sends one request and decodes its answer.
func (a *asking) call(ctx context.Context, method, path string, body []byte, into any) error {
	target := a.question.Target
	request, err := http.NewRequestWithContext(ctx, method, target.Base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", path, err)
	}
	request.Header.Set("User-Agent", a.client.config.UserAgent)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.client.config.Called != nil {
		logged, _, _ := strings.Cut(path, "?")
		a.client.config.Called(target, method, target.Prefix()+logged)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", path, plainCause(err))
	}
	defer func() { _ = response.Body.Close() }() // nothing of it is needed any more
	if response.StatusCode != http.StatusOK {
		return &StatusError{Path: path, Status: response.StatusCode}
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", path, plainCause(err))
	}
	if len(data) > MaxAnswer {
		return fmt.Errorf("the answer to %s is larger than %d bytes", path, MaxAnswer)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the answer to %s is not what %s documents: %w", path, target.Kind, plainJSON(err))
	}
	return nil
}

// plainJSON says what is wrong with JSON without naming types of Go.
func plainJSON(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%q is a JSON %s", wrong.Field, wrong.Value)
	}
	return err
}

var errTimeout = fmt.Errorf("no answer within %s", Timeout)

// plainCause says a timeout in words, and leaves out the URL that net/http adds.
func plainCause(err error) error {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	if errors.Is(err, errOffHost) {
		return errOffHost
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// tidy leaves out models whose names are not fit to be shown, and texts of
// others that are not.
func tidy(models []Model) []Model {
	kept := models[:0]
	for _, m := range models {
		if text(m.Name) == "" || len(kept) == maxModels {
			continue
		}
		aliases := m.Aliases[:0]
		for _, alias := range m.Aliases {
			if text(alias) != "" && alias != m.Name {
				aliases = append(aliases, alias)
			}
		}
		m.Aliases = aliases
		for _, field := range []*string{&m.ID, &m.Version, &m.Revision, &m.Digest, &m.Adapter, &m.Config} {
			*field = text(*field)
		}
		if m.Modified.Before(time.Unix(0, 0)) || m.Modified.Year() > 2200 {
			m.Modified = time.Time{}
		}
		kept = append(kept, m)
	}
	return kept
}

// text returns s, or nothing when it is no short line of text.
func text(s string) string {
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}
