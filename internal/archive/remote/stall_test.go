package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/archive"
)

// A server that sends the head of an answer, or a part of its body, and then nothing,
// does not hold the check up for ever.
func TestServersThatStall(t *testing.T) {
	for name, begin := range map[string]string{"behind the head": "", "within the body": "abc"} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
				<-over
			}))
			defer server.Close()
			defer close(over)
			c, err := OpenServer(server.URL, "token", server.Client())
			if err != nil {
				t.Fatal(err)
			}
			c.idle = 50 * time.Millisecond
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := c.do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			if string(got) != begin || !errors.Is(err, errStalled) {
				t.Errorf("%q, %v", got, err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
			if err := c.List(t.Context(), func(archive.Entry) error { return nil }); !errors.Is(err, errStalled) {
				t.Errorf("list: %v", err)
			}
		})
	}
}

// Whoever gives up is told so, not that the server stalls.
func TestCancelIsNoStall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	c, err := OpenServer(server.URL, "token", server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(ctx, "seals/x"); !errors.Is(err, context.Canceled) || errors.Is(err, errStalled) {
		t.Error(err)
	}
}
