package server

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/durable"
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

	token seal.Digest // SHA-256 of the bearer token; the token itself is never stored
}

func (e *Enrolment) revoked() bool { return !e.Revoked.IsZero() }

// Errors of Enrol that callers tell apart.
var (
	ErrEnrolled = errors.New("agent is already enrolled")
	errUnknown  = errors.New("agent is not enrolled")
)

// registry keeps one file an agent, named after it: the archive's paths carry
// the agent only, so a second organization's agent of the same name can not
// exist beside the first. Every look-up reads the file, so that a running
// server sees what enroll wrote.
type registry struct {
	fs    durable.FS
	dir   string // <state>/agents
	cells *cells
}

const (
	registrySuffix   = ".json"
	maxEnrolmentFile = 64 << 10
)

// enrolmentFile is the stored form of an Enrolment.
type enrolmentFile struct {
	Log         string    `json:"log"`
	Key         string    `json:"key"` // C2SP verifier key under the name of the log
	TokenSHA256 string    `json:"token_sha256"`
	Enrolled    time.Time `json:"enrolled"`
	Revoked     time.Time `json:"revoked,omitzero"`
	Start       string    `json:"start,omitempty"`
	Anchors     []Anchor  `json:"anchors,omitempty"`
}

func (r *registry) name(agent string) string { return filepath.Join(r.dir, agent+registrySuffix) }

// add enrols an agent durably. Of two at once one wins and the other gets
// ErrEnrolled.
func (r *registry) add(e Enrolment) error {
	err := r.cells.swapJSON(r.cell(e.Log.Agent), nil, e.file())
	if errors.Is(err, errSwapped) {
		return r.taken(e)
	}
	if err != nil {
		return fmt.Errorf("enrol %s: %w", e.Log, err)
	}
	return nil
}

// change replaces what is known of an agent. Another change at the same time
// makes it fail with errSwapped.
func (r *registry) change(e *Enrolment) error {
	old, err := r.cells.read(r.cell(e.Log.Agent))
	if err == nil {
		err = r.cells.swapJSON(r.cell(e.Log.Agent), old, e.file())
	}
	if err != nil {
		return fmt.Errorf("change enrolment of %s: %w", e.Log, err)
	}
	return nil
}

func (e *Enrolment) file() enrolmentFile {
	return enrolmentFile{
		Log: e.Log.String(), Key: seal.VKey(e.Log.String(), e.Key), TokenSHA256: e.token.String(),
		Enrolled: e.Enrolled.UTC(), Revoked: e.Revoked, Start: e.Start, Anchors: e.Anchors,
	}
}

func (r *registry) cell(agent string) string { return "agents/" + agent + registrySuffix }

// taken says what stands in the way of an enrolment.
func (r *registry) taken(e Enrolment) error {
	known, err := r.find(e.Log.Agent)
	switch {
	case err != nil:
		return fmt.Errorf("enrol %s: %w, but not readable: %w", e.Log, ErrEnrolled, err)
	case known.Log != e.Log:
		return fmt.Errorf("enrol %s: %w: the agent id %q belongs to %s, and the archive's paths carry only the agent id; choose another one",
			e.Log, ErrEnrolled, e.Log.Agent, known.Log)
	case !known.Key.Equal(e.Key):
		return fmt.Errorf("enrol %s: %w with another key (%s)", e.Log, ErrEnrolled, seal.VKey(known.Log.String(), known.Key))
	}
	return fmt.Errorf("enrol %s: %w with this key; if its token is lost, remove %s and enrol again", e.Log, ErrEnrolled, r.name(e.Log.Agent))
}

// find returns an agent's enrolment, or an error that is errUnknown.
func (r *registry) find(agent string) (*Enrolment, error) {
	name := r.name(agent)
	info, err := r.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("agent %q: %w", agent, errUnknown)
	}
	if err == nil {
		err = checkPrivate(name, info)
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	data, err := durable.ReadFile(r.fs, name, maxEnrolmentFile)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	e, err := parseEnrolment(data)
	if err == nil && e.Log.Agent != agent {
		err = fmt.Errorf("it belongs to the agent %q", e.Log.Agent)
	}
	if err != nil {
		return nil, fmt.Errorf("read registry: %s: %w", name, err)
	}
	return e, nil
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
	token, err := seal.ParseDigest(file.TokenSHA256)
	if err != nil {
		return nil, fmt.Errorf("token_sha256: %w", err)
	}
	return &Enrolment{Log: log, Key: key, Enrolled: file.Enrolled, Revoked: file.Revoked, Start: file.Start, Anchors: file.Anchors, token: token}, nil
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
func (r *registry) list() ([]*Enrolment, error) {
	entries, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	var all []*Enrolment
	for _, entry := range entries {
		agent, ok := strings.CutSuffix(entry.Name(), registrySuffix)
		if !ok || !seal.ValidName(agent) {
			return nil, fmt.Errorf("read registry: %s is not an enrolment", filepath.Join(r.dir, entry.Name()))
		}
		e, err := r.find(agent)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Enrolment) int { return strings.Compare(a.Log.Agent, b.Log.Agent) })
	return all, nil
}

// authenticate returns the enrolment that a bearer token belongs to, or an
// error that is errUnknown.
func (r *registry) authenticate(token string) (*Enrolment, error) {
	name, ok := tokenName(agentToken, token)
	if !ok {
		return nil, errUnknown
	}
	e, err := r.find(name)
	if err != nil {
		return nil, err
	}
	if !sameToken(token, e.token) {
		return nil, errUnknown
	}
	return e, nil
}

// checkPrivate refuses what other users could have written. Windows has no such bits.
func checkPrivate(name string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is writable by other users; run: chmod go-w %s", name, name)
	}
	return nil
}

// Enrol adds an agent to the server's registry and returns its bearer token,
// which exists nowhere else. It fails with ErrEnrolled when the agent's name is
// taken. When tokenFile is not empty the token is written there, into a new
// file of mode 0600, before the agent is enrolled. start says where the log may
// begin: "" with epoch 1, StartAnywhere, or an anchor.
func Enrol(c Config, d Deps, log seal.Log, key ed25519.PublicKey, start, tokenFile string) (token string, err error) {
	anchors, err := parseStart(start)
	if err != nil {
		return "", err
	}
	p, err := openPlaces(c, d, true)
	if err != nil {
		return "", err
	}
	if err := p.checkStoredKey(log, key); err != nil {
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
	err = p.registry.add(e)
	if err != nil {
		if tokenFile != "" {
			err = errors.Join(err, d.FS.Remove(tokenFile))
		}
		return "", err
	}
	return token, nil
}

// checkStoredKey refuses to continue a stored log with another key.
func (p *places) checkStoredKey(log seal.Log, key ed25519.PublicKey) error {
	path := seal.Origin{Log: log, Epoch: 1}.IdentityPath()
	have, err := p.store.read(path)
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
