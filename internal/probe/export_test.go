package probe

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// always answers every request with the same bytes.
type always []byte

func (a always) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(a))}, nil
}

// AskOf asks a server that answers everything with data.
func AskOf(ctx context.Context, kind Kind, names []string, data []byte) (Answer, error) {
	c := &Client{local: &http.Client{Transport: always(data)}}
	return c.Ask(ctx, Question{Target: Target{Kind: kind, Base: "http://127.0.0.1:1"}, Names: names})
}

// StartOf returns when a process began, as it tells by itself.
func StartOf(t *testing.T, pid int) time.Time {
	t.Helper()
	_, ticks, ok := readStat(pid)
	began, known := startTime(ticks)
	if !ok || !known {
		t.Fatalf("process %d: no start", pid)
	}
	return began
}
