package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/seal"
)

// witnessPath is the submission prefix of C2SP tlog-witness with its one call.
// A request needs no token: the log's signature in it is what authorizes it.
const witnessPath = "/v1/witness/add-checkpoint"

const sizeType = "text/x.tlog.size"

// witness is the key with which the server vouches for the heads it has seen.
type witness struct {
	seal.WitnessKey
	key ed25519.PrivateKey
}

// addCheckpoint answers add-checkpoint (C2SP tlog-witness).
func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return notAllowed(w, "POST")
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(bodyDeadline(seal.MaxAddCheckpoint)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, seal.MaxAddCheckpoint))
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		return tooLarge(r.ContentLength, seal.MaxAddCheckpoint)
	}
	if err != nil {
		return cutOff(err)
	}
	request, err := seal.ParseAddCheckpoint(body)
	if err != nil {
		return refuse(http.StatusBadRequest, "%s", err)
	}
	read, err := seal.ReadCheckpoint(request.Note)
	if err != nil {
		return refuse(http.StatusBadRequest, "%s", err)
	}
	e, err := s.registry.find(r.Context(), read.Origin.Agent)
	if errors.Is(err, errUnknown) || err == nil && e.Log != read.Origin.Log {
		return refuse(http.StatusNotFound, "this witness does not know the log %s", read.Origin)
	}
	if err != nil {
		return err
	}
	if e.revoked() {
		return refuse(http.StatusForbidden, "%s was revoked", e.Log)
	}
	a := s.logs.get(e)
	if err := a.acquire(r.Context(), e); err != nil {
		return err
	}
	line, conflict, err := func() ([]byte, *seal.Head, error) {
		defer a.release()
		return s.cosign(r.Context(), a, read.Origin.Epoch, request)
	}()
	if err != nil {
		return err
	}
	if conflict != nil {
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, strconv.FormatUint(conflict.Size, 10)+"\n") //nolint:errcheck // a client that went away
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(line)))
	w.Write(line)
	return nil
}

// cosign judges a checkpoint and returns the witness's signature line, or the
// head that it cosigned last when the request does not go on from there. The
// caller holds the log's turn; other servers over the same state are kept out by
// the swap.
func (s *Server) cosign(ctx context.Context, a *agentLog, number int, request *seal.AddCheckpoint) (line []byte, conflict *seal.Head, err error) {
	opened, e, key, err := s.openCheckpoint(ctx, a, number, request.Note)
	if err != nil {
		return nil, nil, err
	}
	c := &opened
	if request.Old > c.Size {
		return nil, nil, refuse(http.StatusBadRequest, "the old size %d is above the checkpoint's %d", request.Old, c.Size)
	}
	name := witnessCell(c.Origin)
	for range maxSwaps {
		tag, last, err := s.cosignedHead(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if tag, last, err = s.catchUp(ctx, e, name, tag, last); err != nil {
			return nil, nil, err
		}
		if request.Old != last.Size {
			return nil, &last, nil
		}
		if err := request.CheckExtends(last, c); err != nil {
			if last.Size != c.Size {
				return nil, nil, refuse(http.StatusUnprocessableEntity, "%s", err)
			}
			s.contradicted(ctx, a, c.Path(), request.Note)
			return nil, &last, nil
		}
		if err := s.matchesStore(ctx, a, e, c); err != nil {
			return nil, nil, err
		}
		if err := s.signedWith(ctx, a, key, c); err != nil {
			return nil, nil, err
		}
		line, err := seal.Cosign(c, s.witness.Name, s.witness.key, s.clock())
		if err != nil {
			return nil, nil, err
		}
		// Persisted before it is answered: a witness that forgets could cosign
		// another history after a restart.
		err = s.state.swap(ctx, name, tag, append(bytes.Clone(c.File), line...))
		if errors.Is(err, errSwapped) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		return line, nil, s.keepCosignature(ctx, e, c, line)
	}
	return nil, nil, later(http.StatusServiceUnavailable, retrySoon, nil, "other servers cosign checkpoints of %s at the same time", c.Origin)
}

// matchesStore compares a head with the manifests that are stored, as far as
// they go: a log that shows its witness another history than its store has forked.
func (s *Server) matchesStore(ctx context.Context, a *agentLog, e *epoch, c *seal.Checkpoint) error {
	if c.Size > e.chain.Next() || !e.chain.Whole() {
		return nil
	}
	root, err := s.root(ctx, e, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		s.contradicted(ctx, a, c.Path(), c.File)
		return refuse(http.StatusUnprocessableEntity, "the %d manifests that are stored of %s have another root: the log has forked", c.Size, c.Origin)
	}
	return nil
}

// keepCosignature stores what was cosigned beside the log, once the log is
// stored so far. An earlier cosignature of the same head stays as it is.
func (s *Server) keepCosignature(ctx context.Context, e *epoch, c *seal.Checkpoint, line []byte) error {
	if c.Size > e.chain.Next() || c.Size == 0 {
		return nil
	}
	for path, data := range map[string][]byte{c.Path(): c.File, c.Origin.CosignaturePath(c.Size, s.witness.WitnessKey): line} {
		err := s.store.write(ctx, path, data, s.keepSeal(e))
		if errors.Is(err, fs.ErrExist) {
			err = s.store.makeDurable(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cosignedHead returns the head that was cosigned last, and the tag of the value
// that says so.
func (s *Server) cosignedHead(ctx context.Context, name string) (tag string, last seal.Head, err error) {
	text, tag, err := s.state.read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", seal.Head{Root: seal.EmptyRoot()}, nil
	}
	if err != nil {
		return "", last, err
	}
	c, err := seal.ReadCheckpoint(text)
	if err != nil {
		return "", last, fmt.Errorf("read the head that was cosigned last, %s: %w", name, err)
	}
	return tag, seal.Head{Size: c.Size, Root: c.Root}, nil
}

// catchUp compares the head that was cosigned last with the cosignatures in the
// archive, once in the life of a process: a state that was restored from an older
// copy would let the witness go back and cosign another history. What lies in the
// archive is older than neither.
func (s *Server) catchUp(ctx context.Context, e *epoch, name, tag string, last seal.Head) (string, seal.Head, error) {
	if e.witnessed {
		return tag, last, nil
	}
	origin, suffix := e.chain.Origin, "-"+s.witness.ID()
	newest, after := "", fmt.Sprintf("%s/cosignature/%012d~", origin.SealsPath(), last.Size)
	for {
		page, err := s.store.list(ctx, origin.SealsPath()+"/cosignature/", after, maxListed)
		if err != nil {
			return "", last, err
		}
		for _, o := range page {
			if after = o.Path; strings.HasSuffix(o.Path, suffix) {
				newest = o.Path
			}
		}
		if len(page) < maxListed {
			break
		}
	}
	if newest != "" {
		path, err := seal.ParsePath(newest)
		if err != nil {
			return "", last, err
		}
		file, _, err := s.store.read(ctx, origin.CheckpointPath(path.Number))
		if err != nil {
			return "", last, err
		}
		c, err := seal.ReadCheckpoint(file)
		if err != nil {
			return "", last, s.damaged(origin.Log, origin.CheckpointPath(path.Number), err)
		}
		s.logger.ErrorContext(ctx, "the state knows less than the archive of what was cosigned: it is an older copy", "log", origin.String(), "state", last.Size, "archive", c.Size)
		if err := s.state.swap(ctx, name, tag, file); err != nil {
			return "", last, err
		}
		if tag, last, err = s.cosignedHead(ctx, name); err != nil {
			return "", last, err
		}
	}
	e.witnessed = true
	return tag, last, nil
}

func witnessCell(o seal.Origin) string { return fmt.Sprintf("witness/%s/%04d", o.Agent, o.Epoch) }

// witnessKeyFile is where the key of the witness lies unless the configuration names one.
func witnessKeyFile(c Config, state string) string {
	if c.WitnessKey != "" {
		return c.WitnessKey
	}
	return filepath.Join(state, "witness.key")
}

// loadWitness reads the witness's key. The first server makes one in the state
// directory; one that the configuration names must be there.
func loadWitness(ctx context.Context, c Config, d Deps, p *places) (*witness, error) {
	name := witnessKeyFile(c, p.dir)
	w, err := readWitness(d, name)
	if errors.Is(err, fs.ErrNotExist) && c.WitnessKey == "" {
		if err := makeWitness(c, d, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make witness key: %w", err)
		}
		w, err = readWitness(d, name)
	}
	if err != nil {
		return nil, err
	}
	return w, p.agreeOnWitness(ctx, name, w.WitnessKey)
}

// readWitness reads a witness's key.
func readWitness(d Deps, name string) (*witness, error) {
	data, err := durable.ReadFile(d.FS, name, maxSeal)
	if err != nil {
		return nil, fmt.Errorf("read witness key: %w", err)
	}
	if err := keys.CheckMode(d.FS, name); err != nil {
		return nil, fmt.Errorf("read witness key: %w", err)
	}
	public, key, err := seal.ParseWitnessSecret(strings.TrimSuffix(string(data), "\n"))
	if err != nil {
		return nil, fmt.Errorf("read witness key %s: %w", name, err)
	}
	return &witness{WitnessKey: public, key: key}, nil
}

// witnessName is where the servers over one bucket keep the witness that they are.
const witnessName = "witness.vkey"

// agreeOnWitness makes sure that all servers over one bucket sign with one key: the
// first one says which. Over a directory they share the key's file.
func (p *places) agreeOnWitness(ctx context.Context, file string, key seal.WitnessKey) error {
	if p.bucket == nil {
		return nil
	}
	err := p.state.write(ctx, witnessName, []byte(key.String()+"\n"), time.Time{})
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return p.compareWitness(ctx, file, key)
}

// compareWitness makes sure that the first server over a bucket, if there was one,
// signs with the same key.
func (p *places) compareWitness(ctx context.Context, file string, key seal.WitnessKey) error {
	if p.bucket == nil {
		return nil
	}
	agreed, _, err := p.state.read(ctx, witnessName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && string(agreed) != key.String()+"\n" {
		err = fmt.Errorf("the servers over %s are the witness %s, the key in %s is another one: copy the file witness.key from the first server's state directory and set witness_key to the copy",
			p.store, strings.TrimSpace(string(agreed)), file)
	}
	return err
}

func makeWitness(c Config, d Deps, name string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	text, err := seal.WitnessSecret(c.Organization+"/witness", key)
	if err != nil {
		return err
	}
	return durable.CreateFile(d.FS, name, []byte(text+"\n"), stateFileMode)
}

// WitnessKey returns the public key of the server's witness, and makes the key
// when there is none yet.
func WitnessKey(ctx context.Context, c Config, d Deps) (seal.WitnessKey, error) {
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return seal.WitnessKey{}, err
	}
	w, err := loadWitness(ctx, c, d, p)
	if err != nil {
		return seal.WitnessKey{}, err
	}
	return w.WitnessKey, nil
}
