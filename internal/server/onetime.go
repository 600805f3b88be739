package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/auditail/auditail/internal/enrol"
	"github.com/auditail/auditail/seal"
)

// oneTime is a token with which one agent may enrol itself. It is kept after its
// use, so that the agent whose answer was lost can ask again, and nobody else.
type oneTime struct {
	TokenSHA256  string    `json:"token_sha256"`
	Organization string    `json:"organization,omitempty"` // "": any
	Agent        string    `json:"agent,omitempty"`        // "": any
	Start        string    `json:"start,omitempty"`        // as in Enrolment
	Created      time.Time `json:"created"`
	Expires      time.Time `json:"expires"`
	UsedBy       string    `json:"used_by,omitempty"` // verifier key
}

// OneTime says for whom a one-time token is.
type OneTime struct {
	Organization string // "" for any
	Agent        string // "" for any
	Start        string // where the log may begin, as in Enrolment
	Expires      time.Time
}

func oneTimeName(id string) string { return "one-time/" + id + registrySuffix }

// NewOneTime makes a one-time token for `auditail enroll`.
func NewOneTime(ctx context.Context, c Config, d Deps, o OneTime) (token string, err error) {
	if o.Organization != "" && !seal.ValidOrganization(o.Organization) {
		return "", fmt.Errorf("organization %q is no name", o.Organization)
	}
	if o.Agent != "" && !seal.ValidName(o.Agent) {
		return "", fmt.Errorf("agent %q is no name", o.Agent)
	}
	if _, err := parseStart(o.Start); err != nil {
		return "", err
	}
	if !d.Now().Before(o.Expires) {
		return "", errors.New("a one-time token needs an expiry in the future")
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return "", err
	}
	var id [8]byte
	rand.Read(id[:])
	name := hex.EncodeToString(id[:])
	token = newToken(oneTimeToken, name)
	err = swapJSON(ctx, p.state, oneTimeName(name), "", oneTime{
		TokenSHA256: tokenDigest(token).String(), Organization: o.Organization, Agent: o.Agent, Start: o.Start,
		Created: d.Now().UTC().Truncate(time.Second), Expires: o.Expires.UTC().Truncate(time.Second),
	})
	if err == nil {
		err = d.record(ctx, Event{Event: "auth.key", Detail: fmt.Sprintf(
			"one-time token %s for agent %q of organization %q until %s", name, o.Agent, o.Organization, o.Expires.UTC().Format(time.RFC3339))})
	}
	return token, err
}

// enroll answers POST /v1/enroll; see package enrol.
func (s *Server) enroll(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return notAllowed(w, "POST")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, enrol.MaxBody))
	if err != nil {
		return cutOff(err)
	}
	var request enrol.Request
	if err := strictJSON(body, &request); err != nil {
		return refuse(http.StatusBadRequest, "not an enrolment: %s", err)
	}
	log, key, err := ParseKey(request.Key)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	if err := request.Verify(key); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	start, err := s.claim(r.Context(), &request, log)
	if err != nil {
		return refusedEnrolment(err)
	}
	e := Enrolment{Log: log, Key: key, Enrolled: s.clock().UTC().Truncate(time.Second)}
	if e.Anchors, err = parseStart(start); err != nil {
		return err
	}
	if start == StartAnywhere {
		e.Start = start
	}
	token, err := s.enrolClaimed(r.Context(), e)
	if err != nil {
		return refusedEnrolment(err)
	}
	if err := s.record(r.Context(), Event{Event: "auth.key", Actor: log.String(), Log: log.String(), Client: r.RemoteAddr, Detail: "enrolled with a one-time token"}); err != nil {
		return err
	}
	s.logger.InfoContext(r.Context(), "enrolled with a one-time token", "log", log.String())
	answer, err := json.Marshal(enrol.Response{Token: token, Witness: s.witness.String()})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Write(answer)
	return nil
}

// refusedEnrolment has it kept that somebody was not enrolled. The name that they gave
// themselves is not proven.
func refusedEnrolment(err error) error {
	if p, ok := errors.AsType[*problem](err); ok && p.retryAfter == 0 {
		return p.kept("auth.failure", "enrolment", "")
	}
	return err
}

// claim uses a one-time token for a key, or finds that it was used for the same
// key, and returns where the log may begin.
func (s *Server) claim(ctx context.Context, request *enrol.Request, log seal.Log) (start string, err error) {
	unknown := refuse(http.StatusUnauthorized, "the one-time token is unknown, has expired or was used; ask the server's operator for another one")
	id, ok := tokenName(oneTimeToken, request.Token)
	if !ok {
		return "", unknown
	}
	var o oneTime
	tag, err := readJSON(ctx, s.state, oneTimeName(id), &o)
	if errors.Is(err, fs.ErrNotExist) {
		return "", unknown
	}
	if err != nil {
		return "", err
	}
	digest, err := seal.ParseDigest(o.TokenSHA256)
	if err != nil {
		return "", fmt.Errorf("read state %s: %w", oneTimeName(id), err)
	}
	switch {
	case !sameToken(request.Token, digest), !s.clock().Before(o.Expires), o.UsedBy != "" && o.UsedBy != request.Key:
		return "", unknown
	case o.Organization != "" && o.Organization != log.Organization, o.Agent != "" && o.Agent != log.Agent:
		return "", refuse(http.StatusForbidden, "the one-time token is not for %s", log)
	case o.UsedBy == request.Key:
		return o.Start, s.state.makeDurable(oneTimeName(id))
	}
	o.UsedBy = request.Key
	err = swapJSON(ctx, s.state, oneTimeName(id), tag, o)
	if errors.Is(err, errSwapped) {
		return "", later(http.StatusServiceUnavailable, retrySoon, nil, "the one-time token is being used by another request")
	}
	return o.Start, err
}

// enrolClaimed enrols an agent that holds a claim. When it is enrolled with this
// key already it gets a new token: the first answer was lost.
func (s *Server) enrolClaimed(ctx context.Context, e Enrolment) (token string, err error) {
	if err := s.checkStoredKey(ctx, e.Log, e.Key); errors.Is(err, ErrEnrolled) {
		return "", refuse(http.StatusConflict, "%s", err)
	} else if err != nil {
		return "", err
	}
	token = newToken(agentToken, e.Log.Agent)
	e.token = tokenDigest(token)
	err = s.registry.add(ctx, e)
	if !errors.Is(err, ErrEnrolled) {
		return token, err
	}
	known, findErr := s.registry.find(ctx, e.Log.Agent)
	if findErr != nil {
		return "", findErr
	}
	if known.Log != e.Log || !known.Key.Equal(e.Key) {
		return "", refuse(http.StatusConflict, "the agent id %q is taken by another key or organization; choose another agent.id", e.Log.Agent)
	}
	if known.revoked() {
		return "", refuse(http.StatusForbidden, "%s was revoked; its operator must be asked", e.Log)
	}
	_, err = s.registry.change(ctx, e.Log.Agent, func(known *Enrolment) error {
		known.token = e.token
		return nil
	})
	return token, err
}
