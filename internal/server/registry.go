package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/auditail/auditail/internal/durable/access"
	"github.com/auditail/auditail/seal"
)

// Enrolment is what the server knows of an agent before its first object.
type Enrolment struct {
	Log      seal.Log
	Key      ed25519.PublicKey
	Enrolled time.Time
	Revoked  time.Time // zero while the agent may write
	// Start is where the log may begin: "" with epoch 1, or StartAnywhere. Anchors
	// are the places at which it may go on without the manifest before.
	Start   string
	Anchors []Anchor
	// Later are keys that were added behind Key for what is only witnessed, in
	// that order.
	Later []LaterKey

	token seal.Digest // SHA-256 of the bearer token; the token itself is never stored
}

func (e *Enrolment) revoked() bool { return !e.Revoked.IsZero() }

// Errors of Enrol that callers tell apart.
var (
	ErrEnrolled = errors.New("agent is already enrolled")
	errUnknown  = errors.New("agent is not enrolled")
)

// registry keeps one value an agent, named after it: the archive's paths carry
// the agent only, so a second organization's agent of the same name can not
// exist beside the first.
type registry struct {
	state storage
	now   func() time.Time
	// fresh is how long a request takes what an earlier one read: 0 in a directory,
	// where every look-up reads the file. A change from elsewhere counts so much later.
	fresh time.Duration

	mu    sync.Mutex
	known map[string]knownEnrolment
}

// knownEnrolment is what was read of an agent; e is nil when there was nothing.
type knownEnrolment struct {
	e  *Enrolment
	at time.Time
}

// Freshness of what is read from a bucket, where each look costs a request.
const (
	bucketFresh = 10 * time.Second
	retryFresh  = time.Second // when the token is not the one that was read
	maxKnown    = 20_000
)

const registrySuffix = ".json"

// enrolmentFile is the stored form of an Enrolment.
type enrolmentFile struct {
	Log         string     `json:"log"`
	Key         string     `json:"key"` // C2SP verifier key under the name of the log
	TokenSHA256 string     `json:"token_sha256"`
	Enrolled    time.Time  `json:"enrolled"`
	Revoked     time.Time  `json:"revoked,omitzero"`
	Start       string     `json:"start,omitempty"`
	Anchors     []Anchor   `json:"anchors,omitempty"`
	Later       []LaterKey `json:"later_keys,omitempty"`
}

func enrolmentName(agent string) string { return "agents/" + agent + registrySuffix }

// add enrols an agent durably. Of two at once one wins and the other gets
// ErrEnrolled.
func (r *registry) add(ctx context.Context, e Enrolment) error {
	err := swapJSON(ctx, r.state, enrolmentName(e.Log.Agent), "", e.file())
	if errors.Is(err, errSwapped) {
		return r.taken(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("enrol %s: %w", e.Log, err)
	}
	r.remember(e.Log.Agent, &e)
	return nil
}

// change changes what is known of an agent, and returns it. It fails with an error
// that is errUnknown, and with errSwapped when others changed the same at the same
// time again and again.
func (r *registry) change(ctx context.Context, agent string, change func(*Enrolment) error) (e *Enrolment, err error) {
	for range maxSwaps {
		var tag string
		if e, tag, err = r.read(ctx, agent); err != nil {
			return nil, err
		}
		if err = change(e); err != nil {
			// It may say that this was done already: by a request that failed before
			// it was durable.
			return nil, errors.Join(err, r.state.makeDurable(enrolmentName(agent)))
		}
		if err = swapJSON(ctx, r.state, enrolmentName(agent), tag, e.file()); err == nil {
			r.remember(agent, e)
			return e, nil
		}
		if !errors.Is(err, errSwapped) {
			break
		}
	}
	return nil, fmt.Errorf("change enrolment of %s: %w", e.Log, err)
}

func (e *Enrolment) file() enrolmentFile {
	return enrolmentFile{
		Log: e.Log.String(), Key: seal.VKey(e.Log.String(), e.Key), TokenSHA256: e.token.String(),
		Enrolled: e.Enrolled.UTC(), Revoked: e.Revoked, Start: e.Start, Anchors: e.Anchors, Later: e.Later,
	}
}

// taken says what stands in the way of an enrolment.
func (r *registry) taken(ctx context.Context, e Enrolment) error {
	known, err := r.find(ctx, e.Log.Agent)
	switch {
	case err != nil:
		return fmt.Errorf("enrol %s: %w, but not readable: %w", e.Log, ErrEnrolled, err)
	case known.Log != e.Log:
		return fmt.Errorf("enrol %s: %w: the agent id %q belongs to %s, and the archive's paths carry only the agent id; choose another one",
			e.Log, ErrEnrolled, e.Log.Agent, known.Log)
	case !known.Key.Equal(e.Key):
		return fmt.Errorf("enrol %s: %w with another key (%s); --add-key adds one that follows on it", e.Log, ErrEnrolled, seal.VKey(known.Log.String(), known.Key))
	}
	return fmt.Errorf("enrol %s: %w with this key; if its token is lost, auditail-server agents rotate %s gives another one", e.Log, ErrEnrolled, e.Log.Agent)
}

// find returns an agent's enrolment as it is now, or an error that is errUnknown.
func (r *registry) find(ctx context.Context, agent string) (*Enrolment, error) {
	e, _, err := r.read(ctx, agent)
	return e, err
}

func (r *registry) read(ctx context.Context, agent string) (e *Enrolment, tag string, err error) {
	data, tag, err := r.state.read(ctx, enrolmentName(agent))
	if errors.Is(err, fs.ErrNotExist) {
		r.remember(agent, nil)
		return nil, "", fmt.Errorf("agent %q: %w", agent, errUnknown)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read registry: %w", err)
	}
	e, err = parseEnrolment(data)
	if err == nil && e.Log.Agent != agent {
		err = fmt.Errorf("it belongs to the agent %q", e.Log.Agent)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read registry: %s/%s: %w", r.state, enrolmentName(agent), err)
	}
	r.remember(agent, e)
	return e, tag, nil
}

func (r *registry) remember(agent string, e *Enrolment) {
	if r.fresh == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	r.known[agent] = knownEnrolment{e: e, at: r.now()}
}

// lookUp is find for a request: what was read at most age ago is good enough.
func (r *registry) lookUp(ctx context.Context, agent string, age time.Duration) (*Enrolment, error) {
	r.mu.Lock()
	known, ok := r.known[agent]
	r.mu.Unlock()
	switch {
	case !ok || r.now().Sub(known.at) >= min(age, r.fresh):
		return r.find(ctx, agent)
	case known.e == nil:
		return nil, fmt.Errorf("agent %q: %w", agent, errUnknown)
	}
	return known.e, nil
}

func parseEnrolment(data []byte) (*Enrolment, error) {
	var file enrolmentFile
	if err := strictJSON(data, &file); err != nil {
		return nil, err
	}
	log, key, err := ParseKey(file.Key)
	if err != nil {
		return nil, err
	}
	if log.String() != file.Log {
		return nil, fmt.Errorf("log %q with the key of %s", file.Log, log)
	}
	for _, k := range file.Later {
		if later, _, err := ParseKey(k.Key); err != nil {
			return nil, err
		} else if later != log {
			return nil, fmt.Errorf("log %q with a later key of %s", file.Log, later)
		}
	}
	token, err := seal.ParseDigest(file.TokenSHA256)
	if err != nil {
		return nil, fmt.Errorf("token_sha256: %w", err)
	}
	return &Enrolment{Log: log, Key: key, Enrolled: file.Enrolled, Revoked: file.Revoked, Start: file.Start, Anchors: file.Anchors, Later: file.Later, token: token}, nil
}

// strictJSON decodes one value without unknown members and with nothing behind it.
func strictJSON(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the value")
	}
	return nil
}

// ParseKey returns the log and the key that a C2SP verifier key names.
func ParseKey(vkey string) (seal.Log, ed25519.PublicKey, error) {
	name, key, err := seal.ParseVKey(vkey)
	if err != nil {
		return seal.Log{}, nil, err
	}
	log, err := seal.ParseLog(name)
	if err != nil {
		return seal.Log{}, nil, fmt.Errorf("key %q: %w", vkey, err)
	}
	return log, key, nil
}

// list returns all enrolments, ordered by agent.
func (r *registry) list(ctx context.Context) ([]*Enrolment, error) {
	var agents []string
	err := all(ctx, r.state, "agents/", func(o ListedObject) error {
		agent, ok := strings.CutSuffix(strings.TrimPrefix(o.Path, "agents/"), registrySuffix)
		if !ok || !seal.ValidName(agent) {
			return fmt.Errorf("%s/%s is not an enrolment", r.state, o.Path)
		}
		agents = append(agents, agent)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	found := make([]*Enrolment, len(agents))
	err = r.state.each(len(agents), func(i int) (err error) {
		found[i], err = r.lookUp(ctx, agents[i], r.fresh)
		return err
	})
	slices.SortFunc(found, func(a, b *Enrolment) int { return strings.Compare(a.Log.Agent, b.Log.Agent) })
	return found, err
}

// authenticate returns the enrolment that a bearer token belongs to, or an
// error that is errUnknown.
func (r *registry) authenticate(ctx context.Context, token string) (*Enrolment, error) {
	name, ok := tokenName(agentToken, token)
	if !ok {
		return nil, errUnknown
	}
	e, err := r.lookUp(ctx, name, r.fresh)
	if err == nil && !sameToken(token, e.token) { // it may be a new one
		e, err = r.lookUp(ctx, name, retryFresh)
	}
	if err != nil {
		return nil, err
	}
	if !sameToken(token, e.token) {
		return nil, errUnknown
	}
	return e, nil
}

// checkPrivate refuses what other users could have written. Windows has access lists in
// place of such bits.
func checkPrivate(name string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is writable by other users; run: chmod go-w %s", name, name)
	}
	_, write, err := access.Others(name)
	if err == nil && write {
		err = fmt.Errorf("%s is writable by other users; run: %s", name, access.Mend(name))
	}
	return err
}

// Enrol adds an agent to the server's registry and returns its bearer token,
// which exists nowhere else. It fails with ErrEnrolled when the agent's name is
// taken. When tokenFile is not empty the token is written there, into a new
// file of mode 0600, before the agent is enrolled. start says where the log may
// begin: "" with epoch 1, StartAnywhere, or an anchor.
func Enrol(ctx context.Context, c Config, d Deps, log seal.Log, key ed25519.PublicKey, start, tokenFile string) (token string, err error) {
	anchors, err := parseStart(start)
	if err != nil {
		return "", err
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return "", err
	}
	if err := p.checkStoredKey(ctx, log, key); err != nil {
		return "", err
	}
	token = newToken(agentToken, log.Agent)
	if tokenFile != "" {
		if err := writeToken(d.FS, tokenFile, token); err != nil {
			return "", err
		}
	}
	e := Enrolment{Log: log, Key: key, Enrolled: d.Now().UTC().Truncate(time.Second), Anchors: anchors, token: tokenDigest(token)}
	if start == StartAnywhere {
		e.Start = start
	}
	if err := p.registry.add(ctx, e); err != nil {
		if tokenFile != "" {
			err = errors.Join(err, d.FS.Remove(tokenFile))
		}
		return "", err
	}
	err = d.record(ctx, Event{Event: "auth.key", Log: log.String(), Detail: "enrolled by the operator with the key " + seal.VKey(log.String(), key)})
	if err != nil {
		return "", fmt.Errorf("%s is enrolled, but that could not be recorded; auditail-server agents rotate %s gives it another token: %w", log, log.Agent, err)
	}
	return token, nil
}

// checkStoredKey refuses to continue a stored log with another key.
func (p *places) checkStoredKey(ctx context.Context, log seal.Log, key ed25519.PublicKey) error {
	path := seal.Origin{Log: log, Epoch: 1}.IdentityPath()
	have, _, err := p.store.read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("enrol %s: %w", log, err)
	}
	if !bytes.Equal(have, seal.IdentityFile(log, key)) {
		return fmt.Errorf("enrol %s: %w: the store holds a log of the agent %q that was begun with the key %s",
			log, ErrEnrolled, log.Agent, bytes.TrimSpace(have))
	}
	return nil
}
