// Package otlpoutput copies the records of sealed batches to an OpenTelemetry
// collector, or to whatever else takes OTLP/HTTP logs.
//
// A copy is no evidence: it proves nothing, and nothing is verified from it. Its
// promise is that each record of a batch was taken, or refused for good and
// counted, before Ship returns. After a lost answer or a restart records come
// again; log.record.uid is the same then.
package otlpoutput

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/records"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// DefaultTimeout is the Timeout of a Config that has none.
const DefaultTimeout = time.Minute

const (
	maxAnswer = 64 << 10 // of an answer's body
	logsPath  = "v1/logs"
)

// limits of one request, before compression. A collector takes 20 MiB by default.
var limits = records.Limits{Records: 1000, Bytes: 1 << 20}

// Config is what users choose.
type Config struct {
	Name  string
	URL   string                 // the base; records go to <URL>/v1/logs
	Token func() ([]byte, error) // bearer token; nil: none is sent
	// CAFile is trusted beside the system's roots; CertFile and KeyFile are a
	// client certificate. Each is read again when it changes.
	CAFile, CertFile, KeyFile string
	Timeout                   time.Duration // of an attempt in which nothing moves
}

// Deps come from code.
type Deps struct {
	Log       *slog.Logger
	Version   string            // of the agent
	Transport http.RoundTripper // for tests; nil: connections
}

// Output copies records. It is safe for concurrent use.
type Output struct {
	endpoint string
	encoder  encoder
	client   *http.Client
	log      *slog.Logger
	faults   *retry.Faults
	rejected atomic.Int64
}

// New does not connect.
func New(c Config, d Deps) (*Output, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Hostname() == "" || base.User != nil {
		return nil, fmt.Errorf("output %s: url is not of the form https://host[:port][/path]", c.Name)
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	transport, err := wire.NewTransport(wire.Config{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Token: c.Token, Timeout: c.Timeout, Fixed: d.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	log := d.Log.With(slog.String("output", c.Name))
	return &Output{
		endpoint: base.JoinPath(logsPath).String(),
		encoder:  encoder{version: d.Version},
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:    log,
		faults: retry.NewFaults(log),
	}, nil
}

// Ship implements outputs.Output. Batches without a payload are not copied.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	receipt := seal.Receipt{Origin: b.Manifest.Origin, Batch: b.Manifest.Batch}
	payload, ok := records.Payload(b)
	if !ok {
		return receipt, ctx.Err()
	}
	done, refused := 0, error(nil)
	var waiting *request // made and not taken yet: an outage does not make it again and again
	settle := func(n int, err error) error {
		if errors.Is(err, outputs.ErrPermanent) {
			refused = err
			err = nil // the others go on
		}
		if err == nil {
			done += n
		}
		return err
	}
	stored, err := o.faults.Deliver(ctx, payload, func(ctx context.Context) (bool, error) {
		if waiting != nil {
			err := settle(waiting.records, o.post(ctx, waiting))
			if err != nil && !errors.Is(err, errTooLarge) {
				return false, err
			}
			waiting = nil
		}
		err := records.Each(payload, b.Manifest.Plain, done, limits, func(lines [][]byte) (err error) {
			if waiting, err = o.request(lines); err == nil {
				err = settle(len(lines), o.send(ctx, waiting, lines))
			}
			if err == nil {
				waiting = nil
			}
			return err
		})
		return err == nil, err
	}, o.explain)
	if err == nil && refused != nil {
		err = &outputs.ObjectError{Kind: payload.Kind, Path: payload.Path, Err: refused}
	}
	if stored {
		receipt.Stored = 1
	}
	return receipt, err
}

// answerError is an answer that settles nothing.
type answerError struct {
	fault retry.Fault
	after time.Duration
}

func (e *answerError) Error() string { return e.fault.Err.Error() }

func (o *Output) explain(err error) (retry.Fault, time.Duration) {
	if answer, ok := errors.AsType[*answerError](err); ok {
		return answer.fault, answer.after
	}
	return wire.ConnectionFault(err), 0
}

// request is a body that is ready to be sent.
type request struct {
	body    []byte
	records int
}

// request makes the request of a group of records.
func (o *Output) request(lines [][]byte) (*request, error) {
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, err := z.Write(o.encoder.request(lines))
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return &request{body: body.Bytes(), records: len(lines)}, nil
}

// errTooLarge is the answer to a request that has to be sent in parts.
var errTooLarge = errors.New("the request is too large")

// send makes one attempt for a group of records, and halves it when it is too
// large. An error that errors.Is outputs.ErrPermanent has been counted.
func (o *Output) send(ctx context.Context, r *request, lines [][]byte) error {
	err := o.post(ctx, r)
	if !errors.Is(err, errTooLarge) {
		return err
	}
	// A fault that may pass counts more than a refusal: the records come again.
	first := o.part(ctx, lines[:len(lines)/2])
	if first != nil && !errors.Is(first, outputs.ErrPermanent) {
		return first
	}
	second := o.part(ctx, lines[len(lines)/2:])
	if second != nil {
		return second
	}
	return first
}

func (o *Output) part(ctx context.Context, lines [][]byte) error {
	r, err := o.request(lines)
	if err != nil {
		return err
	}
	return o.send(ctx, r, lines)
}

// post makes one attempt with a request. It fails with errTooLarge when the
// collector says so of more than one record.
func (o *Output) post(ctx context.Context, r *request) error {
	response, err := o.do(ctx, r.body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	switch code := response.StatusCode; {
	case code == http.StatusOK && !webPage(response), code == http.StatusAccepted, code == http.StatusNoContent:
		o.partial(ctx, body, r.records)
		return nil
	case code == http.StatusRequestEntityTooLarge && r.records > 1:
		return errTooLarge
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		o.rejected.Add(int64(r.records))
		return fmt.Errorf("%w: %d records: the collector answers %s", outputs.ErrPermanent, r.records, status(response, body))
	default:
		return &answerError{fault: fault(response, body), after: wire.RetryAfter(response)}
	}
}

func (o *Output) do(ctx context.Context, body []byte) (*http.Response, error) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("Content-Encoding", "gzip")
	post.Header.Set("User-Agent", "auditail/"+o.encoder.version)
	return o.client.Do(post)
}

// partial counts what a collector took no notice of though it answered success
// (opentelemetry-proto, ExportLogsPartialSuccess). It must not be sent again.
func (o *Output) partial(ctx context.Context, body []byte, sent int) {
	rejected, text := partialSuccess(body)
	if rejected <= 0 && text == "" {
		return
	}
	rejected = min(max(rejected, 0), int64(sent))
	o.rejected.Add(rejected)
	o.log.WarnContext(ctx, "the collector did not take all records of a request", "rejected", rejected, "sent", sent, "reason", wire.Quote(text))
}

// partialSuccess reads an ExportLogsServiceResponse. What can not be read says nothing.
func partialSuccess(response []byte) (rejected int64, text string) {
	inner := field(response, 1)
	for m := inner; len(m) > 0; {
		id, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return rejected, text
		}
		m = m[n:]
		switch {
		case id == 1 && kind == protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(m); n >= 0 {
				rejected = int64(v) //nolint:gosec // int64 on the wire
			}
		case id == 2 && kind == protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(m); n >= 0 {
				text = string(v)
			}
		default:
			n = protowire.ConsumeFieldValue(id, kind, m)
		}
		if n < 0 {
			return rejected, text
		}
		m = m[n:]
	}
	return rejected, text
}

// field returns the last message of a field, nil when there is none.
func field(m []byte, want protowire.Number) (found []byte) {
	for len(m) > 0 {
		id, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return found
		}
		m = m[n:]
		size := protowire.ConsumeFieldValue(id, kind, m)
		if size < 0 {
			return found
		}
		if id == want && kind == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(m)
		}
		m = m[size:]
	}
	return found
}

func webPage(r *http.Response) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "text/html"
}

// status returns an answer's status and, when it is a google.rpc.Status in
// protobuf as OTLP asks, what that says.
func status(r *http.Response, body []byte) string {
	text := strconv.Itoa(r.StatusCode) + " " + http.StatusText(r.StatusCode)
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/x-protobuf" {
		if message := field(body, 2); len(message) > 0 {
			text += ": " + wire.Quote(string(message))
		}
	}
	return text
}

func fault(r *http.Response, body []byte) retry.Fault {
	f := retry.Fault{Kind: "status " + strconv.Itoa(r.StatusCode), Alarm: true}
	hint := ""
	switch code := r.StatusCode; {
	case code == http.StatusOK:
		hint = " with a web page; is this the url of a collector?"
	case code >= 300 && code < 400:
		hint = " and redirects, which is not followed; put the right url into the configuration"
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		hint = "; token or client certificate is missing, wrong or expired"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusUnsupportedMediaType:
		hint = "; is this the url of a collector that takes OTLP/HTTP logs in protobuf?"
	default:
		f.Alarm = false
	}
	f.Err = errors.New("the collector answers " + status(r, body) + hint)
	return f
}

// Probe implements outputs.Prober: it sends a request without records.
func (o *Output) Probe(ctx context.Context) error {
	empty, err := o.request(nil)
	if err != nil {
		return err
	}
	response, err := o.do(ctx, empty.body)
	if err != nil {
		return wire.ConnectionFault(err).Err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case response.StatusCode == http.StatusOK && !webPage(response), response.StatusCode == http.StatusAccepted, response.StatusCode == http.StatusNoContent:
		return nil
	}
	return fault(response, body).Err
}

// Trouble implements outputs.Reporter.
func (o *Output) Trouble() outputs.Trouble {
	t := o.faults.Trouble()
	t.Rejected = o.rejected.Load()
	return t
}

// Close implements outputs.Output. It drops idle connections.
func (o *Output) Close() error {
	o.client.CloseIdleConnections()
	return nil
}
