package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/auditail/auditail/internal/durable"
)

// Config comes from the user: from a TOML file with these keys, and from flags.
type Config struct {
	// Store is the archive: a directory, which must exist, or s3://<bucket>/<prefix>.
	Store string `toml:"store"`
	// State holds agents, incoming files, forks; "" for Store + ".state". With a
	// store in a bucket it must be given, and holds what is this server's alone:
	// what the servers share lies in the bucket, under <prefix>.state.
	State   string `toml:"state"`
	Listen  string `toml:"listen"`   // host:port
	TLSCert string `toml:"tls_cert"` // PEM files; both or none
	TLSKey  string `toml:"tls_key"`
	// MaxPayload is the most bytes a payload may have, compressed.
	MaxPayload int64 `toml:"max_payload"`
	// Organization is the first part of the names under which the server signs:
	// <organization>/witness.
	Organization string `toml:"organization"`
	// ID names this server's own log in the archive, as agent.id does an agent's.
	// Each of several servers over one store needs another.
	ID string `toml:"id"`
	// MaxSilence is how long nothing may come of an agent before it counts as late,
	// whatever its own manifests promise: "1h". "0s": as they say.
	MaxSilence string `toml:"max_silence"`
	// WitnessKey is the file of the witness's key, the same for all servers over
	// one store; "" for one in the state directory, made by the first start.
	WitnessKey string `toml:"witness_key"`
	// S3 says how to reach a store in a bucket.
	S3 S3Config `toml:"s3"`
}

// DefaultConfig returns the values of what is not given. There is no default store.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8443", MaxPayload: 1 << 30, Organization: "localhost", ID: "auditail-server", MaxSilence: "1h"}
}

// Deps comes from code. All fields but Lock, Journal, Transport and Pause are needed.
type Deps struct {
	Logger *slog.Logger
	FS     durable.FS
	Now    func() time.Time
	// Journal keeps what the server did; nil for none.
	Journal Journal
	// Transport replaces connections, TLS and proxies to a bucket, for tests.
	Transport http.RoundTripper
	// Pause waits, for tests; nil: by the clock.
	Pause func(ctx context.Context, wait time.Duration) error
	// Lock takes a lock file, as durable.Lock does. Without it no other process
	// may run over the same state.
	Lock func(name string) (unlock func() error, err error)
}

const maxConfigFile = 1 << 20

// LoadConfig reads a configuration file over the defaults. Relative paths in it
// are relative to the file.
func LoadConfig(fsys durable.FS, name string) (Config, error) {
	c := DefaultConfig()
	info, err := fsys.Stat(name)
	if err == nil {
		err = checkPrivate(name, info)
	}
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	data, err := durable.ReadFile(fsys, name, maxConfigFile)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	decoder := toml.NewDecoder(strings.NewReader(string(data))).DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, configError(name, err)
	}
	paths := []*string{&c.Store, &c.State, &c.TLSCert, &c.TLSKey, &c.WitnessKey, &c.S3.CAFile, &c.S3.CertFile, &c.S3.KeyFile}
	if c.inBucket() {
		paths = paths[1:]
	}
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(name), *path)
		}
	}
	return c, nil
}

// configError adds the file and the excerpt that the TOML reader points at.
func configError(name string, err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		row, column := first.Position()
		return fmt.Errorf("%s:%d:%d: unknown key %s; the keys are store, state, listen, tls_cert, tls_key, max_payload, organization, id, max_silence, witness_key and the table [s3]\n%s",
			name, row, column, strings.Join(first.Key(), "."), first.String())
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := wrong.Position()
		return fmt.Errorf("%s:%d:%d: the value does not fit\n%s", name, row, column, wrong.String())
	}
	return fmt.Errorf("read configuration %s: %w", name, err)
}

// checkFiles finds TLS files that can not be used.
func (c Config) checkFiles() error {
	if c.TLSCert == "" {
		return nil
	}
	info, err := os.Stat(c.TLSKey)
	if err != nil {
		return fmt.Errorf("read TLS key: %w", err)
	}
	if err := checkPrivate(c.TLSKey, info); err != nil {
		return fmt.Errorf("read TLS key: %w", err)
	}
	return new(certificateFiles{cert: c.TLSCert, key: c.TLSKey}).load()
}
