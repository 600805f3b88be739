package s3output_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/internal/proxytest"
	"github.com/auditail/auditail/internal/s3test"
	s3output "github.com/auditail/auditail/outputs/s3"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// refusal answers as a store does that refuses.
func refusal(status int, code string, header ...string) http.RoundTripper {
	return answers(func(*http.Request) *http.Response {
		r := response(status, strings.NewReader("<Error><Code>"+code+"</Code><Message>No.</Message></Error>"))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	})
}

func bare(status int, body string) http.RoundTripper {
	return answers(func(*http.Request) *http.Response { return response(status, strings.NewReader(body)) })
}

// hangs answers nothing until the attempt ends.
var hangs = roundTripper(func(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
})

// reads takes so many bytes of the body before something else happens.
func reads(n int64, then http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.CopyN(io.Discard, r.Body, n); err != nil && err != io.EOF { //nolint:errorlint // io.CopyN's own
				return nil, err
			}
		}
		return then.RoundTrip(r)
	})
}

func fails(err error) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
}

// TestTransientFaults: whatever the store does, the log says it in one sentence, and
// every object arrives once it serves again. Nothing is discarded for being refused.
func TestTransientFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault http.RoundTripper
		says  string
	}{
		"slow":                         {hangs, "nothing moved"},
		"slow halfway":                 {reads(1000, hangs), "nothing moved"},
		"half closed":                  {reads(1000, fails(io.ErrUnexpectedEOF)), "unexpected EOF"},
		"closed before the answer":     {reads(1<<30, fails(io.EOF)), "EOF"},
		"400":                          {bare(400, ""), "400"},
		"400 with other words":         {refusal(400, "XAmzContentSHA256Mismatch"), "XAmzContentSHA256Mismatch"},
		"404":                          {bare(404, ""), "404"},
		"404 bucket":                   {refusal(404, "NoSuchBucket"), "there is no such bucket"},
		"404 of another server":        {bare(404, "<html>not found"), "404"},
		"405":                          {refusal(405, "MethodNotAllowed"), "MethodNotAllowed"},
		"409":                          {refusal(409, "ConditionalRequestConflict"), "another write of the same name"},
		"409 operation":                {refusal(409, "OperationAborted"), "another write of the same name"},
		"411":                          {refusal(411, "MissingContentLength"), "MissingContentLength"},
		"412 and nothing there":        {refusal(412, "PreconditionFailed"), "has nothing stored there"},
		"413":                          {refusal(413, "EntityTooLarge"), "batch_size"},
		"413 of a proxy":               {bare(413, "<html>too large"), "batch_size"},
		"429":                          {refusal(429, "TooManyRequests", "Retry-After", "7"), "429"},
		"429 bare":                     {bare(429, ""), "429"},
		"500":                          {refusal(500, "InternalError"), "InternalError"},
		"502 page":                     {bare(502, "<html>bad gateway"), "502"},
		"503":                          {refusal(503, "SlowDown"), "SlowDown"},
		"507":                          {refusal(507, "InsufficientStorage"), "no space left"},
		"clock":                        {refusal(403, "RequestTimeTooSkewed"), "correct the host's time"},
		"token":                        {refusal(400, "ExpiredToken"), "session token has expired"},
		"region":                       {refusal(301, "PermanentRedirect"), "in another region"},
		"redirect":                     {bare(307, ""), "redirects, which is not followed"},
		"hostile words":                {refusal(403, "\x1b[2J"+strings.Repeat("x", 5000)), "403"},
		"no XML":                       {bare(500, "{}"), "500"},
		"10 GB":                        {answers(func(*http.Request) *http.Response { return response(500, io.LimitReader(zeros{}, 10<<30)) }), "500"},
		"name resolution, for example": {fails(fmt.Errorf("lookup store.invalid: no such host")), "no such host"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				var log bytes.Buffer
				o := m.startWith(t, s3output.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
				defer o.Close()
				e := sealtest.New(t, sealtest.Config{})
				e.Open()
				e.Data(sealtest.Chat(), e.Records(300))
				for _, b := range e.Batches {
					for _, object := range b.Objects {
						m.faults = []http.RoundTripper{test.fault, test.fault}
						b.Objects = []seal.Object{object}
						if _, err := o.Ship(t.Context(), b); err != nil {
							t.Fatalf("ship %s: %v", object.Path, err)
						}
						if !bytes.Equal(m.files[object.Path], e.Files[object.Path]) || len(m.faults) > 0 {
							t.Fatalf("%s: %d faults are left", object.Path, len(m.faults))
						}
					}
				}
				if !strings.Contains(log.String(), test.says) {
					t.Errorf("the log does not say %q:\n%.2000s", test.says, log.String())
				}
				for line := range strings.Lines(log.String()) {
					if len(line) > 1500 || strings.ContainsRune(line, '\x1b') {
						t.Errorf("not one clear line: %.2000s", line)
					}
				}
			})
		})
	}
}

// TestWrongCertificate: a store that is not who it should be gets nothing.
func TestWrongCertificate(t *testing.T) {
	s := newStore(t, s3test.Options{TLS: true})
	for name, test := range map[string]struct {
		change func(*bucket.Config)
		says   string
	}{
		"unknown authority": {func(c *bucket.Config) { c.CAFile = "" }, "set ca_file"},
		"other host":        {func(c *bucket.Config) { c.Endpoint = strings.Replace(c.Endpoint, "127.0.0.1", "127.0.0.2", 1) }, "127.0.0.2"},
		"plain HTTP":        {func(c *bucket.Config) { c.Endpoint = strings.Replace(c.Endpoint, "https", "http", 1) }, ""},
	} {
		c := s.config()
		test.change(&c.Config)
		err := start(t, c, s3output.Deps{}).Probe(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: probe: %v, want one sentence with %q", name, err, test.says)
		}
	}
	wantFiles(t, s, map[string][]byte{})
}

// TestBadNetworkToTheStore: through a network that cuts, mutes and throttles, every
// object is in the bucket of a real server once.
func TestBadNetworkToTheStore(t *testing.T) {
	s := newStore(t, s3test.Options{})
	proxy := proxytest.Start(t, s.Address)
	c := s.config()
	c.Endpoint, c.Timeout = "http://"+proxy.Address, time.Second
	o := start(t, c, s3output.Deps{})
	e := epoch(t)
	for i := range 4 {
		e.Data(sealtest.Chat(), e.Records(200+i), sealtest.WithManifest(func(m *seal.Manifest) { m.KeepUntil = time.Now().Add(48 * time.Hour) }))
	}
	for i, b := range e.Batches {
		proxy.Hurt(uint64(40+i), 0.4) // ends connections that were spared
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if proxy.Hurts() < 5 {
		t.Errorf("only %d connections were hurt", proxy.Hurts())
	}
	wantFiles(t, s, e.Files)
}
