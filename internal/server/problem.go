package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// problem is an answer other than success: an RFC 9457 document, and what the
// operator's log says beside it.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Next is the batch that the log goes on with, beside 424.
	Next *uint64 `json:"next,omitempty"`

	retryAfter int    // seconds; 0 for none
	cause      error  // for the operator only: it may name local files
	event      *Event // what is kept of it in the server's own log; nil: nothing
}

// kept adds what the server's own log keeps of a refusal: who was refused, and why in
// one word.
func (p *problem) kept(event, reason, actor string) *problem {
	p.event = &Event{Event: event, Reason: reason, Actor: actor, Outcome: "denied"}
	return p
}

func (p *problem) Error() string {
	if p.cause != nil && !strings.HasSuffix(p.Detail, p.cause.Error()) {
		return fmt.Sprintf("%d %s: %v", p.Status, p.Detail, p.cause)
	}
	return fmt.Sprintf("%d %s", p.Status, p.Detail)
}

// final tells whether the agent takes the answer as a refusal for good.
func (p *problem) final() bool {
	return p.Status == http.StatusUnprocessableEntity || p.Status == http.StatusRequestEntityTooLarge
}

func (p *problem) Unwrap() error { return p.cause }

// refuse answers with a status; the detail is read by whoever runs the agent.
func refuse(status int, format string, args ...any) *problem {
	return &problem{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// later answers that the same request may succeed after some seconds.
func later(status, seconds int, cause error, format string, args ...any) *problem {
	p := refuse(status, format, args...)
	p.retryAfter, p.cause = seconds, cause
	return p
}

// Seconds after which to come again: when another request of the log must end,
// when there are too many requests, and when an operator must act.
const (
	retrySoon     = 1
	retryDiskFull = 60
	retryDamage   = 300
)

// asProblem turns any error into an answer. What is not a problem already is a
// fault of the server: it is answered without local details, and nothing that
// the agent sent is refused for good.
func asProblem(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return later(http.StatusInsufficientStorage, retryDiskFull, err, "the store is full")
	default:
		return later(http.StatusServiceUnavailable, retrySoon, err, "the server has a fault of its own; its log says which")
	}
}

func (p *problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil { // strings and integers always encode
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="auditail"`) // RFC 9110, section 11.6.1
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}
