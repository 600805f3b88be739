package httpoutput

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// continueFrom is the size from which the server is asked (100-continue)
// before the body is sent, so that a refusal does not cost the upload.
const continueFrom = 64 << 10

// delivery is one object on its way, through all its attempts.
type delivery struct {
	output   *Output
	object   seal.Object
	manifest []byte // file of the batch, for a payload
	delay    *retry.Delay
	fault    retry.Fault // of the last attempt
}

// deliver returns when the server holds the object, however long that takes.
func (o *Output) deliver(ctx context.Context, object seal.Object, manifest []byte) (stored bool, err error) {
	if _, err = seal.ParsePath(object.Path); err != nil {
		return false, &outputs.ObjectError{Kind: object.Kind, Path: object.Path, Err: fmt.Errorf("%w: %w", outputs.ErrPermanent, err)}
	}
	d := &delivery{output: o, object: object, manifest: manifest, delay: o.faults.Delay(object.Path)}
	stored, err = d.run(ctx)
	switch {
	case err == nil:
		d.delay.Done(ctx)
		return stored, nil
	case errors.Is(err, outputs.ErrFork) || errors.Is(err, outputs.ErrPermanent):
		return false, &outputs.ObjectError{Kind: object.Kind, Path: object.Path, Err: err}
	case d.fault.Err != nil:
		return false, fmt.Errorf("ship %s: %w (last: %w)", object.Path, err, d.fault.Err)
	}
	return false, fmt.Errorf("ship %s: %w", object.Path, err)
}

// run puts the object and, when the name is taken, looks who took it.
func (d *delivery) run(ctx context.Context) (stored bool, err error) {
	for {
		meaning, err := d.put(ctx)
		if err != nil || meaning == stores {
			return err == nil, err
		}
		if meaning == holds {
			return false, nil
		}
		found, err := d.readBack(ctx)
		if err != nil || found == same {
			return false, err
		}
		if found == other {
			return false, outputs.ErrFork
		}
		d.fault = retry.Fault{
			Kind: "nothing stored", Alarm: true,
			Err: errors.New("the server refuses the name as taken, but has nothing stored there"),
		}
		if err = retry.Wait(ctx, d.backoff(ctx, nil)); err != nil {
			return false, err
		}
	}
}

// put repeats the upload until the server's answer settles something.
func (d *delivery) put(ctx context.Context) (meaning, error) {
	body := func() (io.Reader, error) { return &retry.Body{Object: d.object}, nil }
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPut, d.output.objectURL(d.object.Path), body)
	if err != nil {
		return waits, fmt.Errorf("make request: %w", err)
	}
	request.ContentLength = d.object.Size
	header := request.Header
	header.Set("User-Agent", d.output.userAgent)
	header.Set("If-None-Match", "*")
	header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(d.object.SHA256[:])+":") // RFC 9530
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if d.object.Kind == seal.PayloadObject {
		header.Set("Content-Type", "application/zstd")
		header.Set("Auditail-Manifest", base64.StdEncoding.EncodeToString(d.manifest))
	}
	if d.object.Size > continueFrom {
		header.Set("Expect", "100-continue")
	}
	response, err := d.client(ctx).Do(request)
	if err != nil {
		return waits, settled(ctx, response, err)
	}
	defer response.Body.Close()
	m := answerToPut(response)
	switch m {
	case forks:
		return m, fmt.Errorf("%w: %s", outputs.ErrFork, describe(response))
	case refuses:
		return m, fmt.Errorf("%w: %s", outputs.ErrPermanent, describe(response))
	default:
		return m, nil
	}
}

// What is stored under the name of an object.
type finding uint8

const (
	nothing finding = iota
	same
	other
)

// readBack reads what is stored under the object's name. It repeats what fails
// on the way: only a complete answer may raise a fork.
func (d *delivery) readBack(ctx context.Context) (finding, error) {
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, d.output.objectURL(d.object.Path), nil)
	if err != nil {
		return nothing, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", d.output.userAgent)
	request.Header.Set("Accept-Encoding", "identity")
	found := nothing
	request.SetResponseHandler(func(response *http.Response) (err error) {
		defer response.Body.Close()
		found = nothing
		if response.StatusCode == http.StatusOK {
			found, err = compare(response, d.object)
		}
		return err
	})
	response, err := d.client(ctx).Do(request)
	return found, settled(ctx, response, err)
}

// compare reads at most one byte more than it needs to decide.
func compare(response *http.Response, object seal.Object) (finding, error) {
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nothing, fmt.Errorf("read back: the server changes what it stores (content-encoding %s)", wire.Quote(encoding))
	}
	equal, err := outputs.SameObject(object, response.Body)
	switch {
	case err != nil:
		return nothing, fmt.Errorf("read back: %w", err)
	case equal:
		return same, nil
	case response.ContentLength < 0 && len(response.TransferEncoding) == 0 && response.ProtoMajor < 2:
		// Ended by closing the connection: it may have been cut (RFC 9112,
		// section 8), so it can not prove a difference.
		return nothing, errors.New("read back: the answer has no length and may be cut off")
	}
	return other, nil
}

// client returns the retrying client of this delivery.
func (d *delivery) client(ctx context.Context) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: d.output.client,
		RetryMax:   math.MaxInt,
		CheckRetry: d.check,
		Backoff: func(_, _ time.Duration, _ int, response *http.Response) time.Duration {
			return d.backoff(ctx, response)
		},
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// check decides after every attempt whether there is another one.
func (d *delivery) check(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		if errors.Is(err, outputs.ErrPermanent) {
			return false, err // the object itself is damaged
		}
		d.fault = wire.ConnectionFault(err)
		return true, nil
	}
	meaning := answerToPut(response)
	if response.Request.Method == http.MethodGet {
		meaning = answerToGet(response)
	}
	if meaning != waits {
		return false, nil
	}
	d.fault = answerFault(response)
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		// A client certificate belongs to a connection: the next attempt shows
		// the one that is in the file then.
		d.output.client.CloseIdleConnections()
	case http.StatusExpectationFailed: // RFC 9110, section 15.5.18: repeat without
		response.Request.Header.Del("Expect")
	}
	return true, nil
}

// backoff returns the wait before the next attempt, and takes the last one down.
func (d *delivery) backoff(ctx context.Context, response *http.Response) time.Duration {
	// On top of what the server asks for: it asked others for the same.
	wait := wire.RetryAfter(response) + retry.Backoff(d.delay.Attempts())
	d.delay.Failed(ctx, d.fault, wait)
	return wait
}

// settled returns what ended the attempts: ctx or damage of the object.
func settled(ctx context.Context, response *http.Response, err error) error {
	if err == nil {
		return nil
	}
	if response != nil {
		err = errors.Join(err, response.Body.Close())
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
