package httpoutput_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/outputs"
	httpoutput "github.com/auditail/auditail/outputs/http"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func redirect(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://elsewhere.example/take?it=all")
		w.WriteHeader(code)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// endless answers with 10 GB.
func endless(code int, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		chunk := bytes.Repeat([]byte(`{"title":"`), 1<<12)
		for sent := 0; sent < 10<<30; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// trickle answers one byte a second, for ever.
func trickle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusServiceUnavailable)
	for ticks := time.Tick(time.Second); ; {
		select {
		case <-ticks:
			w.Write([]byte(" "))
			http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// raw answers with bytes of its own and closes the connection, after reading
// the given part of the body.
func raw(body int64, answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, answer)
		conn.Close()
	}
}

func stallsHalfway(_ http.ResponseWriter, r *http.Request) {
	io.CopyN(io.Discard, r.Body, 1000)
	<-r.Context().Done()
}

// TestTransientFaults: whatever the server does, the batch arrives once it
// serves again, and nothing is discarded before (Vector #24543).
func TestTransientFaults(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"connection closed":          hangUp,
		"hangs":                      hang,
		"stalls halfway":             stallsHalfway,
		"cut at once":                raw(0, ""),
		"cut at byte 1000":           raw(1000, ""),
		"cut after the last byte":    raw(1<<30, ""),
		"cut in the status line":     raw(1<<30, "HTTP/1.1 20"),
		"cut in the header":          raw(1<<30, "HTTP/1.1 201 Created\r\nContent-Le"),
		"no HTTP":                    raw(1<<30, "SSH-2.0-OpenSSH_9.2\r\n"),
		"no HTTP, very long":         raw(0, "HTTP/1.1 "+strings.Repeat("x", 1<<16)+"\r\n\r\n"),
		"garbage body":               raw(1<<30, "HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
		"10 GB body":                 endless(http.StatusInternalServerError, "text/plain"),
		"10 GB problem":              endless(http.StatusServiceUnavailable, "application/problem+json"),
		"trickling body":             trickle,
		"200 web page":               func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>welcome") },
		"202 for later":              status(http.StatusAccepted),
		"424 out of order":           problem(http.StatusFailedDependency, `{"title":"batch 3 is missing"}`),
		"403 with a hostile problem": problem(http.StatusForbidden, `{"title":"\u001b[2J`+strings.Repeat("x", 5000)+`"}`),
		"401 with a wrong problem":   problem(http.StatusUnauthorized, `[1`),
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		faults[fmt.Sprint(code, " redirect")] = redirect(code)
	}
	for _, code := range []int{300, 304, 400, 401, 402, 403, 404, 405, 406, 407, 408, 410, 411, 415, 417, 418, 421, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 507, 508, 511, 599, 799} {
		faults[fmt.Sprint(code)] = status(code)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				var log bytes.Buffer
				o := s.start(t, s.config(), httpoutput.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
				defer o.Close()
				e := sealtest.New(t, sealtest.Config{})
				e.Open()
				e.Data(sealtest.Chat(), e.Records(300))
				for _, b := range e.Batches {
					for _, object := range b.Objects {
						s.fail(fault, fault)
						b.Objects = []seal.Object{object}
						if _, err := o.Ship(t.Context(), b); err != nil {
							t.Fatalf("ship %s: %v", object.Path, err)
						}
					}
				}
				if stored := s.Files(t); len(stored) != len(e.Files) {
					t.Errorf("%d files are stored, want %d", len(stored), len(e.Files))
				}
				checkLog(t, log.String())
			})
		})
	}
}

// checkLog: a delay and its end are logged, never at length, never the token.
func checkLog(t *testing.T, log string) {
	t.Helper()
	if !strings.Contains(log, "delivery delayed, trying again") || !strings.Contains(log, "delivery works again") {
		t.Errorf("the log lacks the delay or its end:\n%s", log)
	}
	if strings.Contains(log, "secret") || strings.ContainsRune(log, '\x1b') {
		t.Errorf("the log has the token or an escape:\n%s", log)
	}
	for line := range strings.Lines(log) {
		if len(line) > 3000 {
			t.Errorf("a log line has %d bytes", len(line))
		}
	}
}

// TestNothingFollowsRedirects: neither token nor evidence goes where a server says.
func TestNothingFollowsRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		o := s.start(t, s.config(), httpoutput.Deps{})
		defer o.Close()
		s.fail(redirect(307), redirect(308), redirect(301))
		e := sealtest.New(t, sealtest.Config{})
		if _, err := o.Ship(t.Context(), e.Open()); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.seen {
			if r.Host != "127.0.0.1:1" || r.Method != http.MethodPut {
				t.Errorf("request %s to %s", r.Method, r.Host)
			}
		}
	})
}

// TestRefusals: what the server refuses for good is named and told apart.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		cause  error
		text   string
	}{
		"413":          {status(413), outputs.ErrPermanent, "413"},
		"422":          {problem(422, `{"title":"does not verify","detail":"root\u001b[0m"}`), outputs.ErrPermanent, `"does not verify": "root\x1b[0m"`},
		"422 10 GB":    {endless(422, "application/problem+json"), outputs.ErrPermanent, "422"},
		"409 problem":  {problem(409, `{"title":"fork"}`), outputs.ErrFork, `"fork"`},
		"409 no words": {raw(1<<30, "HTTP/1.1 409 C\r\nContent-Type: application/problem+json\r\nContent-Length: 9\r\n\r\n"), outputs.ErrFork, "409"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				o := s.start(t, s.config(), httpoutput.Deps{})
				defer o.Close()
				e := sealtest.New(t, sealtest.Config{})
				e.Open()
				b := e.Data(sealtest.Chat(), e.Records(300))
				s.fail(test.answer)
				receipt, err := o.Ship(t.Context(), b)
				var object *outputs.ObjectError
				if !errors.Is(err, test.cause) || !errors.As(err, &object) || object.Kind != seal.PayloadObject || object.Path != b.Objects[0].Path {
					t.Fatalf("ship: %v", err)
				}
				if !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %q does not say %q", err, test.text)
				}
				if receipt.Stored != 0 || len(s.Files(t)) != 0 {
					t.Errorf("%d objects acknowledged, %d stored", receipt.Stored, len(s.Files(t)))
				}
				b.Objects = b.Objects[1:] // the payload in quarantine
				if _, err = o.Ship(t.Context(), b); err != nil {
					t.Errorf("ship the seals: %v", err)
				}
			})
		})
	}
}

// TestReadBack: a taken name is success only with the same bytes, a fork only
// with other bytes that were read completely.
func TestReadBack(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	b := e.Open()
	object := b.Objects[1]
	sealed := e.Files[object.Path]
	other := slices.Clone(sealed)
	other[10] ^= 1
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	ok := func(header, body string) http.HandlerFunc { return raw(0, "HTTP/1.1 200 OK\r\n"+header+"\r\n"+body) }
	half := string(sealed[:len(sealed)/2])
	for name, test := range map[string]struct {
		put  http.HandlerFunc
		get  []http.HandlerFunc
		want error
	}{
		"412, same":                {status(412), []http.HandlerFunc{ok(length(len(sealed)), string(sealed))}, nil},
		"204, same":                {status(204), []http.HandlerFunc{ok(length(len(sealed)), string(sealed))}, nil},
		"409 without problem":      {status(409), []http.HandlerFunc{ok(length(len(sealed)), string(sealed))}, nil},
		"same until close":         {status(412), []http.HandlerFunc{ok("", string(sealed))}, nil},
		"other":                    {status(412), []http.HandlerFunc{ok(length(len(other)), string(other))}, outputs.ErrFork},
		"other, shorter":           {status(412), []http.HandlerFunc{ok(length(len(half)), half)}, outputs.ErrFork},
		"other, 10 GB":             {status(412), []http.HandlerFunc{endless(200, "text/plain")}, outputs.ErrFork},
		"empty":                    {status(409), []http.HandlerFunc{ok(length(0), "")}, outputs.ErrFork},
		"cut, then same":           {status(412), []http.HandlerFunc{ok(length(len(sealed)), half), ok(length(len(sealed)), string(sealed))}, nil},
		"cut unnoticed, then same": {status(412), []http.HandlerFunc{ok("", half), ok(length(len(sealed)), string(sealed))}, nil},
		"web page, then same":      {status(412), []http.HandlerFunc{ok("Content-Type: text/html\r\n", "<html>"), ok(length(len(sealed)), string(sealed))}, nil},
		"gzip, then same":          {status(412), []http.HandlerFunc{ok("Content-Encoding: gzip\r\n"+length(3), "xyz"), ok(length(len(sealed)), string(sealed))}, nil},
		"faults, then same":        {status(412), []http.HandlerFunc{status(503), hangUp, hang, status(403), redirect(302), ok(length(len(sealed)), string(sealed))}, nil},
		"nothing, then stored":     {status(412), []http.HandlerFunc{status(404)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, false)
				o := s.start(t, s.config(), httpoutput.Deps{})
				defer o.Close()
				b := b
				b.Objects = []seal.Object{object}
				s.fail(append([]http.HandlerFunc{test.put}, test.get...)...)
				if _, err := o.Ship(t.Context(), b); !errors.Is(err, test.want) {
					t.Errorf("ship: %v, want %v", err, test.want)
				}
			})
		})
	}
}

// TestRetryAfter: the server's wish is a lower bound, up to ten minutes.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		value, date string
		least, most time.Duration
	}{
		{"120", "", 120 * time.Second, 120*time.Second + 500*time.Millisecond},
		{"86400", "", 10 * time.Minute, 10*time.Minute + 500*time.Millisecond},
		{"-5", "", 0, 500 * time.Millisecond},
		{"99999999999999999999", "", 0, 500 * time.Millisecond},
		{"soon", "", 0, 500 * time.Millisecond},
		// An hour off, but its own clock says 90 seconds.
		{"Fri, 20 Nov 2026 09:01:30 GMT", "Fri, 20 Nov 2026 09:00:00 GMT", 90 * time.Second, 90*time.Second + 500*time.Millisecond},
		{"Fri, 20 Nov 2026 08:00:00 GMT", "Fri, 20 Nov 2026 09:00:00 GMT", 0, 500 * time.Millisecond},
		{"Fri, 20 Nov 2099 08:00:00 GMT", "Fri, 20 Nov 2026 09:00:00 GMT", 10 * time.Minute, 10*time.Minute + 500*time.Millisecond},
	} {
		t.Run(test.value, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				o := s.start(t, s.config(), httpoutput.Deps{})
				defer o.Close()
				s.fail(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", test.value)
					if test.date != "" {
						w.Header().Set("Date", test.date)
					}
					w.WriteHeader(http.StatusTooManyRequests)
				})
				b := sealtest.New(t, sealtest.Config{}).Open()
				b.Objects = b.Objects[:1]
				began := time.Now()
				if _, err := o.Ship(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited < test.least || waited > test.most {
					t.Errorf("waited %s, want between %s and %s", waited, test.least, test.most)
				}
			})
		})
	}
}

// TestLogIsShort: an outage of four hours is a line a minute, then one line.
func TestLogIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		var log bytes.Buffer
		o := s.start(t, s.config(), httpoutput.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer o.Close()
		s.Away(true)
		time.AfterFunc(4*time.Hour, func() { s.Away(false) })
		if _, err := o.Ship(t.Context(), sealtest.New(t, sealtest.Config{}).Open()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "trying again"); n < 100 || n > 4*60+1 {
			t.Errorf("%d lines for an outage of four hours", n)
		}
		if n := strings.Count(log.String(), "works again"); n != 1 {
			t.Errorf("%d lines say that it is over", n)
		}
	})
}

// TestSlowUpload: an upload that goes on is no fault, however long it takes.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		c := s.config()
		c.Timeout = time.Second
		o := s.start(t, c, httpoutput.Deps{})
		defer o.Close()
		e := sealtest.New(t, sealtest.Config{})
		e.Open()
		b := e.Data(sealtest.Chat(), e.Records(20), sealtest.WithPayload(func([]byte) []byte {
			return bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		}))
		received := 0
		s.fail(func(w http.ResponseWriter, r *http.Request) {
			ticks := time.Tick(900 * time.Millisecond)
			for buffer := make([]byte, 64<<10); ; <-ticks {
				n, err := io.ReadFull(r.Body, buffer)
				received += n
				if err != nil {
					break
				}
			}
			w.WriteHeader(http.StatusCreated)
		})
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if received != 1<<20 || len(s.seen) != len(b.Objects) {
			t.Errorf("%d bytes in %d requests, want %d in %d", received, len(s.seen), 1<<20, len(b.Objects))
		}
	})
}

// TestContinue: a large body is not sent to a server that refuses the request,
// and is sent without asking after 417.
func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		s.transport.ExpectContinueTimeout = time.Hour
		o := s.start(t, s.config(), httpoutput.Deps{})
		defer o.Close()
		e := sealtest.New(t, sealtest.Config{})
		e.Open()
		opened := 0
		b := e.Data(sealtest.Chat(), e.Records(20), sealtest.WithPayload(func([]byte) []byte {
			return make([]byte, 1<<20)
		}))
		open := b.Objects[0].Open
		b.Objects[0].Open = func() (io.ReadSeekCloser, error) {
			opened++
			return open()
		}
		var openedBefore []int
		ask := func(code int) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				openedBefore = append(openedBefore, opened)
				w.WriteHeader(code)
			}
		}
		s.fail(ask(503), ask(401), ask(417))
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(openedBefore, []int{0, 0, 0}) || opened != 1 {
			t.Errorf("the payload was opened %d times; before the refusals %v", opened, openedBefore)
		}
		var expect []string
		for _, r := range s.seen {
			expect = append(expect, r.Header.Get("Expect"))
		}
		if want := []string{"100-continue", "100-continue", "100-continue", "", "", ""}; !slices.Equal(expect, want) {
			t.Errorf("Expect headers %q, want %q", expect, want)
		}
	})
}

// TestToken: the token is asked for at every request; a bad one is no request.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		answers := []struct {
			token string
			err   error
		}{
			{"", errors.New("open token: permission denied")},
			{"secret\r\nX-Other: 1", nil},
			{" \n", nil},
			{"secret-old", nil},
			{token, nil},
		}
		asked := 0
		c := s.config()
		c.Token = func() ([]byte, error) {
			a := answers[min(asked, len(answers)-1)]
			asked++
			return []byte(a.token), a.err
		}
		var log bytes.Buffer
		o := s.start(t, c, httpoutput.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer o.Close()
		b := sealtest.New(t, sealtest.Config{}).Open()
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if want := len(answers) - 1 + len(b.Objects); asked != want || len(s.seen) != want-3 {
			t.Errorf("asked %d times, sent %d requests, want %d and %d", asked, len(s.seen), want, want-3)
		}
		for _, want := range []string{"permission denied", "wrong or expired", "level=ERROR"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
		checkLog(t, log.String())
	})
}

// TestProbe: one clear sentence for what is wrong.
func TestProbe(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		text   string
	}{
		"401":      {status(401), "missing, wrong or expired"},
		"403":      {status(403), "may not write this agent's log"},
		"404":      {status(404), ""},
		"405":      {status(405), "is this the url of a server that keeps batches?"},
		"redirect": {redirect(301), "redirects, which is not followed"},
		"web page": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "web page"},
		"503":      {problem(503, `{"title":"starting"}`), `"starting"`},
		"hangs":    {hang, "nothing moved"},
		"closed":   {hangUp, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				o := s.start(t, s.config(), httpoutput.Deps{})
				defer o.Close()
				s.fail(test.answer, test.answer) // a closed connection is tried twice by net/http
				err := o.Probe(t.Context())
				if test.text == "" && err != nil || test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)) {
					t.Errorf("probe: %v, want %q", err, test.text)
				}
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("probe: more than one line: %v", err)
				}
			})
		})
	}
}

// TestShutdown: a stopping agent does not wait for a server that is away.
func TestShutdown(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{"hangs": hang, "away": status(503), "halfway": stallsHalfway, "trickles": trickle} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				s.always = fault
				o := s.start(t, s.config(), httpoutput.Deps{})
				defer o.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				began := time.Now()
				_, err := o.Ship(ctx, sealtest.New(t, sealtest.Config{}).Open())
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 90*time.Second {
					t.Errorf("returned after %s: %v", time.Since(began), err)
				}
			})
		})
	}
}

// TestTrickle: a server that answers byte by byte has stalled.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		o := s.start(t, s.config(), httpoutput.Deps{})
		defer o.Close()
		s.fail(trickle)
		b := sealtest.New(t, sealtest.Config{}).Open()
		began := time.Now()
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < httpoutput.DefaultTimeout || took > httpoutput.DefaultTimeout+time.Second {
			t.Errorf("the attempt took %s, want the timeout of %s", took, httpoutput.DefaultTimeout)
		}
	})
}

// TestRefusedConnection: a client certificate belongs to a connection, so the
// one that was refused is not used again.
func TestRefusedConnection(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t, true)
			o := s.start(t, s.config(), httpoutput.Deps{})
			defer o.Close()
			s.fail(status(code))
			if _, err := o.Ship(t.Context(), sealtest.New(t, sealtest.Config{}).Open()); err != nil {
				t.Fatal(err)
			}
			var from []string
			for _, r := range s.seen {
				from = append(from, r.RemoteAddr)
			}
			if from = slices.Compact(from); len(from) != 2 {
				t.Errorf("after %d: connections %q, want the first and a second one", code, from)
			}
		})
	}
}

// TestCutEverywhere: the connection is cut at every 1,000th byte of a payload.
func TestCutEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		o := s.start(t, s.config(), httpoutput.Deps{})
		defer o.Close()
		e := sealtest.New(t, sealtest.Config{})
		e.Open()
		b := e.Data(sealtest.Chat(), e.Records(3000))
		size := b.Objects[0].Size
		if size < 20_000 {
			t.Fatalf("the payload has only %d bytes", size)
		}
		for at := int64(0); at <= size; at += 1000 {
			s.fail(raw(at, ""))
		}
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Files(t)[b.Objects[0].Path], e.Files[b.Objects[0].Path]) {
			t.Error("other bytes are stored than were sealed")
		}
	})
}
