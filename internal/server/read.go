package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/loghead"
	"github.com/auditail/auditail/seal"
)

// caller is who sent a request: an agent or the holder of an account.
type caller struct {
	enrolment *Enrolment
	account   *Account
}

func (c caller) String() string {
	if c.account != nil {
		return c.account.Name
	}
	return c.enrolment.Log.String()
}

// authenticate returns whose bearer token a request carries.
func (s *Server) authenticate(r *http.Request) (caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, refuse(http.StatusUnauthorized, "a bearer token is needed; auditail-server enroll prints that of an agent, auditail-server accounts add that of an auditor")
	}
	token = strings.TrimLeft(token, " ")
	if _, ok := tokenName(accountToken, token); ok {
		account, err := s.account(r.Context(), token, s.clock())
		if errors.Is(err, errUnknown) {
			return caller{}, unauthorized("the bearer token is that of no account, or of one that expired or was revoked")
		}
		return caller{account: account}, err
	}
	e, err := s.registry.authenticate(r.Context(), token)
	if errors.Is(err, errUnknown) {
		return caller{}, unauthorized("the bearer token is not that of an enrolled agent")
	}
	if err == nil && e.revoked() {
		return caller{}, revoked(e.Log)
	}
	return caller{enrolment: e}, err
}

// unauthorized refuses a token that is wrong.
func unauthorized(detail string) error {
	return refuse(http.StatusUnauthorized, "%s", detail).kept("auth.failure", "unknown_token", "")
}

// revoked refuses an agent that may write no more.
func revoked(log seal.Log) error {
	return refuse(http.StatusForbidden, "%s was revoked", log).kept("auth.failure", "revoked", log.String())
}

// accessed keeps that an account read something, before it does.
func (s *Server) accessed(r *http.Request, who caller, path string) error {
	if who.account == nil {
		return nil
	}
	return s.record(r.Context(), Event{Event: "store.access", Actor: who.account.Name, Client: r.RemoteAddr, Path: logged(path), Detail: r.Method})
}

// get hands out what is stored: to an agent of its own log, to auditors all of it.
func (s *Server) get(w http.ResponseWriter, r *http.Request, path string) error {
	who, err := s.authenticate(r)
	if err != nil {
		return err
	}
	if path == "" {
		return s.list(w, r, who)
	}
	if agent, epoch, ok := loghead.ParsePath(path); ok {
		return s.head(w, r, who, agent, epoch)
	}
	name, err := seal.ParsePath(path)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	if who.enrolment != nil && name.Agent != who.enrolment.Log.Agent {
		return notOwn(who, name.Agent)
	}
	if err := s.accessed(r, who, path); err != nil {
		return err
	}
	f, err := s.store.open(r.Context(), path)
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(http.StatusNotFound, "%s is not stored", path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(bodyDeadline(f.Size())); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if name.Kind == seal.PayloadObject {
		w.Header().Set("Content-Type", "application/zstd") // RFC 8878, section 7.1
	}
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// notOwn refuses an agent what belongs to another's log.
func notOwn(who caller, agent string) error {
	return refuse(http.StatusForbidden, "the token belongs to %s, the object to the agent %q", who, agent).
		kept("auth.failure", "foreign_log", who.String())
}

// head tells an agent how far its own log is stored, so that one whose state was set
// back finds that out before it ships anything. Auditors take nobody's word for it.
func (s *Server) head(w http.ResponseWriter, r *http.Request, who caller, agent string, number int) error {
	if who.enrolment == nil {
		return refuse(http.StatusForbidden, "agents ask how far their own log is stored; auditors read the objects")
	}
	if agent != who.enrolment.Log.Agent {
		return notOwn(who, agent)
	}
	origin := seal.Origin{Log: who.enrolment.Log, Epoch: number}
	head, err := s.storedHead(r.Context(), who.enrolment, origin)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", loghead.Type)
	io.WriteString(w, loghead.Format(origin, head)) //nolint:errcheck // a client that went away
	return nil
}

// storedHead returns how far an epoch is stored; without a root when what is stored
// does not begin with its first batch.
func (s *Server) storedHead(ctx context.Context, who *Enrolment, origin seal.Origin) (head seal.Head, err error) {
	a := s.logs.get(who)
	if err := a.acquire(ctx, who); err != nil {
		return head, err
	}
	defer a.release()
	e, err := s.epoch(ctx, a, origin.Epoch)
	if err != nil {
		return head, err
	}
	head.Size = e.chain.Next()
	if e.chain.Whole() {
		tree := e.chain.Tree()
		head.Root = tree.Root()
	}
	return head, nil
}

// Listing is the answer to GET /v1/objects/?prefix=…: the stored objects behind
// After in the order of their paths' bytes. Next, when it is there, is the after
// of the next page.
type Listing struct {
	Objects []ListedObject `json:"objects"`
	Next    string         `json:"next,omitempty"`
}

// ListedObject is one stored object.
type ListedObject struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// list answers a listing. An agent sees the seals of its own log alone: payloads
// of all agents share their folders.
func (s *Server) list(w http.ResponseWriter, r *http.Request, who caller) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "the query is not readable: %s", err)
	}
	prefix, limit := query.Get("prefix"), maxListed
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return refuse(http.StatusBadRequest, "limit %q is not a positive number", text)
		}
		limit = min(n, maxListed)
	}
	if who.enrolment != nil && !strings.HasPrefix(prefix, "seals/"+who.enrolment.Log.Agent+"/") {
		return refuse(http.StatusForbidden, "agents list what begins with seals/%s/; auditors list everything", who.enrolment.Log.Agent)
	}
	if err := s.accessed(r, who, prefix); err != nil {
		return err
	}
	page, err := s.page(r.Context(), prefix, query.Get("after"), limit)
	if err != nil {
		return err
	}
	return writeJSON(w, page)
}

// page lists at most limit objects. A full page may be the last one; then the next
// is empty.
func (s *Server) page(ctx context.Context, prefix, after string, limit int) (Listing, error) {
	found, err := s.store.list(ctx, prefix, after, limit)
	page := Listing{Objects: found}
	if len(found) == limit {
		page.Next = found[limit-1].Path
	}
	return page, err
}

// agentsOverHTTP answers GET /v1/agents for admins.
func (s *Server) agentsOverHTTP(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return notAllowed(w, "GET")
	}
	who, err := s.authenticate(r)
	if err != nil {
		return err
	}
	if who.account == nil || who.account.Role != Admin {
		return refuse(http.StatusForbidden, "the state of the agents is for accounts of the role %s", Admin)
	}
	all, err := s.agents(r.Context(), s.clock(), nil)
	if err != nil {
		return err
	}
	return writeJSON(w, all)
}

func writeJSON(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.Write(append(body, '\n'))
	return nil
}

// logged is a path as it is logged: anyone can send one.
func logged(path string) string {
	if len(path) > maxLoggedPath {
		return path[:maxLoggedPath] + "…"
	}
	return path
}
