package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// RefusalError is an answer other than success. Detail is one sentence for who runs
// the client; it holds nothing of the log's content.
type RefusalError struct {
	Status     int
	Detail     string
	RetryAfter int // seconds; 0 for none
}

// Error implements error.
func (r *RefusalError) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Detail) }

// Refuse returns a refusal for good.
func Refuse(status int, format string, args ...any) *RefusalError {
	return &RefusalError{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Seconds until a client should come again: when other requests must end first,
// and when the buffer must be emptied or the agent started.
const (
	retrySoon  = 1
	retryLater = 5
)

func later(status, seconds int, detail string) *RefusalError {
	return &RefusalError{Status: status, Detail: detail, RetryAfter: seconds}
}

// asRefusal turns any error into an answer. What is not a refusal already is a
// fault of the agent, answered without local details.
func asRefusal(err error) *RefusalError {
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r
	}
	return later(http.StatusServiceUnavailable, retryLater, "the agent can not store lines now; its log says why")
}

// quiet is the least time between two messages about refused requests.
const quiet = time.Minute

// complaints tells the operator about refused requests, not about each.
type complaints struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	count int64 // since the last message
	told  time.Time
}

func (c *complaints) add(ctx context.Context, r *RefusalError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if now := c.now(); now.Sub(c.told) >= quiet {
		c.log.WarnContext(ctx, "requests are refused", "status", r.Status, "detail", r.Detail, "refused", c.count)
		c.told, c.count = now, 0
	}
}
