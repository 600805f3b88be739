package server

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/enrol"
	"github.com/auditail/auditail/seal"
)

const (
	objectsPrefix  = "/v1/objects/"
	HealthPath     = "/v1/health"
	agentsPath     = "/v1/agents"
	metricsPath    = "/metrics"
	manifestHeader = "Auditail-Manifest"
)

// maxSeal is the most bytes a seal may have: a manifest file needs 5 KiB.
const maxSeal = 8 << 10

// maxLoggedPath is how much is logged of a path, which anyone can send.
const maxLoggedPath = 300

// bodyRate is the slowest upload or download that is waited for, in bytes a
// second, and bodyGrace what every request gets beside.
const (
	bodyRate  = 32 << 10
	bodyGrace = time.Minute
)

// Handler returns the HTTP side of the central protocol:
// see doc.go.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		began := time.Now()
		err := s.serve(w, r)
		if err == nil {
			s.metrics.answered(r, nil, time.Since(began))
			return
		}
		p := asProblem(err)
		s.metrics.answered(r, p, time.Since(began))
		s.logProblem(r, p)
		s.noteRefusal(r, p)
		p.write(w)
	})
}

// logProblem logs once what is answered with a problem. What the client did is
// a warning, what the server suffers is an error; a client that went away is neither.
func (s *Server) logProblem(r *http.Request, p *problem) {
	logger := s.logger.With("method", r.Method, "path", logged(r.URL.Path), "remote", r.RemoteAddr, "status", p.Status)
	switch {
	case errors.Is(p, context.Canceled), errors.Is(p, context.DeadlineExceeded):
		logger.DebugContext(r.Context(), "request ended by the client", "error", p)
	case p.Status == http.StatusNotFound, p.Status == http.StatusTooManyRequests:
		logger.DebugContext(r.Context(), "request refused", "error", p)
	case p.Status >= http.StatusInternalServerError:
		logger.ErrorContext(r.Context(), "request failed", "error", p)
	default:
		logger.WarnContext(r.Context(), "request refused", "error", p)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
	default:
		return later(http.StatusServiceUnavailable, retrySoon, nil, "%d requests are being served", maxRequests)
	}
	if r.URL.Path == HealthPath {
		return s.health(w, r)
	}
	switch r.URL.Path {
	case witnessPath:
		return s.addCheckpoint(w, r)
	case enrol.Path:
		return s.enroll(w, r)
	case metricsPath:
		return s.serveMetrics(w, r)
	case agentsPath:
		return s.agentsOverHTTP(w, r)
	}
	path, ok := strings.CutPrefix(r.URL.Path, objectsPrefix)
	if !ok {
		return refuse(http.StatusNotFound, "there is nothing here; objects are at %s<archive path>", objectsPrefix)
	}
	switch r.Method {
	case http.MethodPut:
		return s.put(w, r, path)
	case http.MethodGet, http.MethodHead:
		return s.get(w, r, path)
	}
	return notAllowed(w, "GET, HEAD, PUT")
}

func notAllowed(w http.ResponseWriter, allow string) error {
	w.Header().Set("Allow", allow)
	return refuse(http.StatusMethodNotAllowed, "the methods here are %s", allow)
}

// health answers load balancers: 200 while the store is there.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return notAllowed(w, "GET, HEAD")
	}
	if err := s.store.healthy(r.Context()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n") //nolint:errcheck // a client that went away
	return nil
}

// authorize returns the name of the object and the enrolment whose log it is in.
func (s *Server) authorize(r *http.Request, path string) (*Enrolment, seal.ObjectName, error) {
	who, err := s.authenticate(r)
	if err != nil {
		return nil, seal.ObjectName{}, err
	}
	if who.enrolment == nil {
		return nil, seal.ObjectName{}, refuse(http.StatusForbidden, "the account %s reads; only agents write", who).kept("auth.failure", "role", who.String())
	}
	name, err := seal.ParsePath(path)
	if err != nil {
		return nil, seal.ObjectName{}, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	if name.Agent != who.enrolment.Log.Agent {
		return nil, seal.ObjectName{}, notOwn(who, name.Agent)
	}
	return who.enrolment, name, nil
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, path string) error {
	e, name, err := s.authorize(r, path)
	if err != nil {
		return err
	}
	u, err := s.upload(w, r, path, name)
	if err != nil {
		return err
	}
	a := s.logs.get(e)
	if err := a.acquire(r.Context(), e); err != nil {
		return err
	}
	stored, err := func() (bool, error) {
		defer a.release()
		return s.receive(r.Context(), a, u)
	}()
	if p, ok := errors.AsType[*problem](err); ok && p.final() {
		p.event = &Event{Event: "store.verify", Outcome: "failed", Reason: "refused", Actor: e.Log.String(), Log: e.Log.String()}
	}
	if err != nil {
		return err
	}
	s.logger.DebugContext(r.Context(), "object", "log", e.Log.String(), "path", path, "new", stored)
	w.Header().Set("Content-Length", "0")
	if stored {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

// upload checks everything about a PUT that its headers tell.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, path string, name seal.ObjectName) (*upload, error) {
	switch {
	case strings.TrimSpace(r.Header.Get("If-None-Match")) != "*":
		return nil, refuse(http.StatusPreconditionRequired, "objects are write-once: If-None-Match: * is needed")
	case r.ContentLength < 0:
		return nil, refuse(http.StatusLengthRequired, "Content-Length is needed")
	case r.ContentLength > maxSeal && name.Kind != seal.PayloadObject:
		return nil, tooLarge(r.ContentLength, maxSeal)
	case r.Header.Get("Content-Encoding") != "":
		return nil, refuse(http.StatusUnprocessableEntity, "objects are stored as sealed: no Content-Encoding is taken")
	}
	digest, err := parseReprDigest(r.Header.Values("Repr-Digest"))
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "Repr-Digest: %s", err)
	}
	u := &upload{path: path, name: name, digest: digest, length: r.ContentLength}
	if text := r.Header.Get(manifestHeader); name.Kind == seal.PayloadObject && text != "" {
		u.manifest, err = base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(u.manifest) > seal.MaxManifestFile {
			return nil, refuse(http.StatusUnprocessableEntity, "%s is not the base64 of at most %d bytes", manifestHeader, seal.MaxManifestFile)
		}
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(bodyDeadline(r.ContentLength)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	u.body = http.MaxBytesReader(w, r.Body, r.ContentLength)
	return u, nil
}

func tooLarge(size, limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "the object has %d bytes, at most %d are taken", size, limit)
}

// bodyDeadline is when a body of n bytes must have passed.
func bodyDeadline(n int64) time.Time {
	return time.Now().Add(bodyGrace + time.Duration(n/bodyRate)*time.Second)
}
