package httpoutput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/auditail/auditail/internal/loghead"
	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// KeepsOrder implements outputs.OrderKeeper: auditail-server answers 424 to a batch
// that does not follow. A plain server is never asked for a head.
func (*Output) KeepsOrder() {}

// Head implements outputs.HeadReader: it asks auditail-server how far it holds the
// log. A plain server has no such answer.
func (o *Output) Head(ctx context.Context, name string) (head seal.Head, err error) {
	origin, err := seal.ParseOrigin(name)
	if err != nil {
		return seal.Head{}, err
	}
	path := loghead.Path(origin)
	err = o.faults.Repeat(ctx, path, func(ctx context.Context) (err error) {
		head, err = o.askHead(ctx, origin, path)
		return err
	}, func(err error) (retry.Fault, time.Duration, bool) {
		passing, ok := errors.AsType[*passingError](err)
		if !ok {
			return retry.Fault{}, 0, false
		}
		return passing.fault, passing.after, true
	})
	if err != nil {
		return seal.Head{}, fmt.Errorf("ask for the head of %s: %w", origin, err)
	}
	return head, nil
}

// passingError is a fault for which Ship would wait as well.
type passingError struct {
	fault retry.Fault
	after time.Duration // that the server asks for
}

// Error implements error.
func (e *passingError) Error() string { return e.fault.Err.Error() }

// askHead asks once.
func (o *Output) askHead(ctx context.Context, origin seal.Origin, path string) (seal.Head, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.objectURL(path), nil)
	if err != nil {
		return seal.Head{}, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", o.userAgent)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := o.client.Do(request)
	if err != nil {
		return seal.Head{}, &passingError{fault: wire.ConnectionFault(err)}
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusOK && isHead(response):
	case code == http.StatusUnauthorized, wire.Passes(code):
		o.client.CloseIdleConnections() // another certificate needs another connection
		return seal.Head{}, &passingError{fault: answerFault(response), after: wire.RetryAfter(response)}
	case code == http.StatusForbidden:
		return seal.Head{}, answerFault(response).Err
	default:
		return seal.Head{}, fmt.Errorf("%w: %s", errors.ErrUnsupported, describe(response))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, loghead.MaxSize+1))
	if err != nil {
		return seal.Head{}, &passingError{fault: wire.ConnectionFault(err)}
	}
	head, err := loghead.Parse(origin, string(text))
	if err != nil {
		return seal.Head{}, fmt.Errorf("the server answers %s: %w", wire.Quote(string(text)), err)
	}
	return head, nil
}

// isHead tells an answer of auditail-server from a page.
func isHead(r *http.Response) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == loghead.Type
}
