package httpoutput

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs/internal/retry"
)

// maxAnswer is how much of an answer's body is read, whatever its length.
const maxAnswer = 64 << 10

// meaning is what an answer says about an object.
type meaning uint8

const (
	waits   meaning = iota // nothing is settled: try again
	stores                 // the server stored it now
	holds                  // the server says that it has the same bytes
	taken                  // there is something under the name
	forks                  // there are other bytes under the name
	refuses                // the server refuses it for good
)

// answerToPut reads the central protocol (package internal/server) and what plain
// servers say in its place. What it does not know is tried again.
func answerToPut(r *http.Response) meaning {
	switch r.StatusCode {
	case http.StatusCreated:
		return stores
	case http.StatusOK:
		if webPage(r) {
			return waits // a web application answers everything, stores nothing
		}
		return holds
	case http.StatusNoContent, http.StatusPreconditionFailed:
		return taken
	case http.StatusConflict:
		if isProblem(r) {
			return forks
		}
		return taken // a WebDAV server means something else (RFC 4918, section 9.7.1): look
	case http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return refuses
	}
	return waits
}

// answerToGet reads the answer to a read-back: settled when something or
// nothing is there.
func answerToGet(r *http.Response) meaning {
	switch r.StatusCode {
	case http.StatusOK:
		if webPage(r) {
			return waits
		}
		return taken
	case http.StatusNotFound, http.StatusGone:
		return taken
	}
	return waits
}

func webPage(r *http.Response) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "text/html"
}

func isProblem(r *http.Response) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/problem+json"
}

// describe returns the status and what a problem answer (RFC 9457) says,
// escaped and shortened. It reads the body.
func describe(r *http.Response) string {
	text := "the server answers " + strconv.Itoa(r.StatusCode)
	if name := http.StatusText(r.StatusCode); name != "" {
		text += " " + name
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	var problem struct{ Title, Detail string }
	if err != nil || !isProblem(r) || json.Unmarshal(body, &problem) != nil {
		return text
	}
	if problem.Title != "" && problem.Title != http.StatusText(r.StatusCode) {
		text += " " + wire.Quote(problem.Title)
	}
	if problem.Detail != "" {
		text += ": " + wire.Quote(problem.Detail)
	}
	return text
}

// answerFault says what an answer that settles nothing means for the operator.
// It closes the body.
func answerFault(r *http.Response) retry.Fault {
	fault := retry.Fault{Kind: "status " + strconv.Itoa(r.StatusCode), Alarm: true}
	hint := ""
	switch code := r.StatusCode; {
	case code == http.StatusOK:
		hint = "with a web page; is this the url of a server that keeps batches?"
	case code >= 300 && code < 400:
		hint = "and redirects, which is not followed; put the right url into the configuration"
	case code == http.StatusUnauthorized:
		hint = "; token or client certificate is missing, wrong or expired"
	case code == http.StatusForbidden:
		hint = "; token or client certificate may not write this agent's log"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		hint = "; is this the url of a server that keeps batches?"
	case code == http.StatusFailedDependency:
		hint = "; the server lacks an earlier batch of this log: was it restored from a backup?"
	case code == http.StatusRequestHeaderFieldsTooLarge:
		hint = "; server or proxy must allow 16 KiB of request headers"
	case code == http.StatusInsufficientStorage:
		hint = "; the server has no space left"
	default:
		fault.Alarm = false
	}
	fault.Err = fmt.Errorf("%s%s", describe(r), joinHint(hint))
	r.Body.Close()
	return fault
}

func joinHint(hint string) string {
	if hint == "" || hint[0] == ';' {
		return hint
	}
	return " " + hint
}
