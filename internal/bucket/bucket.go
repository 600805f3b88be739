// Package bucket is S3, or a store that speaks its protocol, as evidence needs it:
// names that are written once, locks that are proven, changes that name what they
// replace, and sentences for what goes wrong. The s3 output and the central
// server's store share it.
//
// Its promise: Put returns nil only when the store has checked the SHA-256 of what
// it holds under the name, and has taken the lock that was asked for. It makes one
// attempt; whoever calls decides about the next.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/seal"
)

// DefaultTimeout is the Timeout of a Config that has none.
const DefaultTimeout = time.Minute

// Lock says how a bucket keeps what is written.
type Lock string

// The locks. Nobody shortens COMPLIANCE; GOVERNANCE yields to those who have
// the right s3:BypassGovernanceRetention.
const (
	LockCompliance Lock = "compliance"
	LockGovernance Lock = "governance"
	LockOff        Lock = "off"
)

// mode is the lock in the words of S3.
func (l Lock) mode() types.ObjectLockMode {
	if l == LockGovernance {
		return types.ObjectLockModeGovernance
	}
	return types.ObjectLockModeCompliance
}

// Addressing says where in a URL the bucket stands.
type Addressing string

// The ways to address a bucket.
const (
	PathStyle   Addressing = "path"         // https://endpoint/bucket/…
	VirtualHost Addressing = "virtual-host" // https://bucket.endpoint/…
)

// Config is what users choose.
type Config struct {
	// Endpoint is the URL of the store. Empty: AWS, in Region.
	Endpoint string
	// Region of the bucket. Empty: from the endpoint's name where AWS spells it
	// there, else from environment or profile, else us-east-1.
	Region     string
	Bucket     string
	Prefix     string     // of all paths, without slashes at its ends; empty: the bucket's root
	Addressing Addressing // empty: VirtualHost at AWS, else PathStyle

	Lock      Lock // empty: LockCompliance
	LegalHold bool // besides: until somebody with that right lifts it

	Encryption string // of the store, at rest: empty for the bucket's default, "AES256" or "aws:kms"
	KMSKey     string // with aws:kms; empty: the account's own key

	// AccessKey, SecretKey and SessionToken sign requests. They are asked for
	// again each minute and after a refusal. Without them the default chain of
	// the AWS SDK is used: environment, shared files, web identity, instance role.
	AccessKey               string
	SecretKey, SessionToken func() ([]byte, error)
	Profile                 string // of the shared files

	CAFile            string // certificates (PEM) that are trusted beside the system's
	CertFile, KeyFile string // client certificate (PEM)
	// Timeout ends an attempt in which nothing moved for so long. Default: DefaultTimeout.
	Timeout time.Duration
}

// Deps is what the program provides.
type Deps struct {
	Now     func() time.Time // default: time.Now
	Prober  string           // a name, as an agent's: names its probes
	Version string           // of the program, for User-Agent
	// Transport replaces connections, TLS and proxies, for tests.
	Transport http.RoundTripper
	// Connections is how many are kept open for the next request. Default: 4.
	Connections int
}

// Bucket is one bucket, below a prefix. Its methods are safe for concurrent use.
type Bucket struct {
	*connection
	prefix string // "" or ending in a slash
}

// connection is what all prefixes of a bucket share.
type connection struct {
	config Config
	prober string
	now    func() time.Time
	client *s3.Client
	http   *http.Client
	creds  *credentials

	proving sync.Mutex
	proven  bool // the bucket has shown since the start that it locks
}

// Open reads credentials' files and TLS files but does not connect to the bucket.
func Open(ctx context.Context, c Config, d Deps) (*Bucket, error) {
	if err := c.complete(d.Prober); err != nil {
		return nil, err
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	transport, err := wire.NewTransport(wire.Config{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Timeout: c.Timeout, Fixed: d.Transport, Connections: d.Connections,
	})
	if err != nil {
		return nil, err
	}
	b := &Bucket{connection: &connection{
		config: c, prober: d.Prober, now: d.Now,
		http: &http.Client{
			Transport: capped{transport},
			// Evidence goes where the configuration says, not where a server says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}
	return b.Below(c.Prefix), b.connect(ctx, d.Version)
}

// Below returns the same bucket below another prefix. Both share connections,
// credentials and the proof of the lock.
func (b *Bucket) Below(prefix string) *Bucket {
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Bucket{connection: b.connection, prefix: prefix}
}

// String is where it is, as the AWS tools write it.
func (b *Bucket) String() string { return "s3://" + b.config.Bucket + "/" + b.prefix }

// Locks tells whether what is put can be locked.
func (b *Bucket) Locks() bool { return b.config.Lock != LockOff }

// CloseIdleConnections drops the connections that nothing uses.
func (b *Bucket) CloseIdleConnections() { b.http.CloseIdleConnections() }

// complete fills defaults and refuses what can not work.
func (c *Config) complete(prober string) error {
	if c.Lock == "" {
		c.Lock = LockCompliance
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	c.Prefix = strings.Trim(c.Prefix, "/")
	switch {
	case c.Bucket == "":
		return errors.New("bucket is missing")
	case !seal.ValidName(prober):
		return fmt.Errorf("%q is not the name of an agent", prober)
	case c.Timeout < 0:
		return fmt.Errorf("timeout %s is negative", c.Timeout)
	case c.Lock != LockCompliance && c.Lock != LockGovernance && c.Lock != LockOff:
		return fmt.Errorf("lock %q is none of compliance, governance, off", c.Lock)
	case (c.AccessKey == "") != (c.SecretKey == nil):
		return errors.New("access_key and secret_key must stand together")
	}
	return nil
}
