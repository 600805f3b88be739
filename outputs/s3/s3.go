// Package s3output ships sealed batches to a bucket that can not be rewritten:
// S3, or a store that speaks its protocol, with Object Lock.
//
// Its promise: Ship returns nil only when every object of the batch is stored
// under its archive name, locked until its term, and with the sealed bytes: the
// store checked their SHA-256, or they were read back where the name was taken.
// Nothing is shipped before the bucket has proven that it locks (see Probe).
// A refusal, an outage or a wrong clock delays; it discards nothing.
package s3output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/outputs/internal/wire"
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

// Addressing says where in a URL the bucket stands.
type Addressing string

// The ways to address a bucket.
const (
	PathStyle   Addressing = "path"         // https://endpoint/bucket/…
	VirtualHost Addressing = "virtual-host" // https://bucket.endpoint/…
)

// Config is what users choose.
type Config struct {
	Name string // of the output, for logs
	// Endpoint is the URL of the store. Empty: AWS, in Region.
	Endpoint string
	// Region of the bucket. Empty: from the endpoint's name where AWS spells it
	// there, else from environment or profile, else us-east-1.
	Region     string
	Bucket     string
	Prefix     string     // of all archive paths, without slashes at its ends; empty: the bucket's root
	Addressing Addressing // empty: VirtualHost at AWS, else PathStyle

	Lock      Lock // empty: LockCompliance
	LegalHold bool // besides: until somebody with that right lifts it
	// SealTerm is how long seals and checkpoints are locked: the longest
	// retention term, so that no payload outlives what proves it.
	SealTerm time.Duration

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
	Log     *slog.Logger     // default: nothing is logged
	Now     func() time.Time // default: time.Now
	Agent   string           // whose log is shipped: names its probes
	Version string           // of the agent, for User-Agent
	// Transport replaces connections, TLS and proxies, for tests.
	Transport http.RoundTripper
}

// Output ships to one bucket. Its methods are safe for concurrent use.
type Output struct {
	config Config
	agent  string
	now    func() time.Time
	client *s3.Client
	http   *http.Client
	creds  *credentials
	faults *retry.Faults

	proving sync.Mutex
	proven  bool // the bucket has shown since the start that it locks
}

var (
	_ outputs.Output     = (*Output)(nil)
	_ outputs.Publisher  = (*Output)(nil)
	_ outputs.HeadReader = (*Output)(nil)
	_ outputs.Prober     = (*Output)(nil)
)

// New returns the output. It reads credentials' files and TLS files but does not
// connect to the bucket.
func New(ctx context.Context, c Config, d Deps) (*Output, error) {
	if err := c.complete(d.Agent); err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	transport, err := wire.NewTransport(wire.Config{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Timeout: c.Timeout, Fixed: d.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	o := &Output{
		config: c, agent: d.Agent, now: d.Now,
		http: &http.Client{
			Transport: capped{transport},
			// Evidence goes where the configuration says, not where a server says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		faults: retry.NewFaults(d.Log.With(slog.String("output", c.Name))),
	}
	if err = o.connect(ctx, d.Version); err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	return o, nil
}

// Trouble implements [outputs.Reporter].
func (o *Output) Trouble() outputs.Trouble { return o.faults.Trouble() }

// complete fills defaults and refuses what can not work.
func (c *Config) complete(agent string) error {
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
	case !seal.ValidName(agent):
		return fmt.Errorf("%q is not the name of an agent", agent)
	case c.Timeout < 0:
		return fmt.Errorf("timeout %s is negative", c.Timeout)
	case c.Lock != LockCompliance && c.Lock != LockGovernance && c.Lock != LockOff:
		return fmt.Errorf("lock %q is none of compliance, governance, off", c.Lock)
	case c.Lock != LockOff && c.SealTerm <= 0:
		return errors.New("the term of seals is missing")
	case (c.AccessKey == "") != (c.SecretKey == nil):
		return errors.New("access_key and secret_key must stand together")
	}
	return nil
}

// mode is the lock in the words of S3.
func (l Lock) mode() types.ObjectLockMode {
	if l == LockGovernance {
		return types.ObjectLockModeGovernance
	}
	return types.ObjectLockModeCompliance
}

// Ship implements outputs.Output.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	receipt := seal.Receipt{Origin: b.Manifest.Origin, Batch: b.Manifest.Batch}
	for _, object := range b.Objects {
		until := b.Manifest.Sealed.Add(o.config.SealTerm)
		if object.Kind == seal.PayloadObject {
			until = b.Manifest.KeepUntil
		}
		stored, err := o.deliver(ctx, object, until)
		if err != nil {
			return receipt, err
		}
		if stored {
			receipt.Stored++
		}
	}
	return receipt, nil
}

// Publish implements outputs.Publisher.
func (o *Output) Publish(ctx context.Context, c seal.Checkpoint) error {
	_, err := o.deliver(ctx, outputs.CheckpointObject(c), o.now().Add(o.config.SealTerm))
	return err
}

// PublishCosignature implements outputs.CosignaturePublisher.
func (o *Output) PublishCosignature(ctx context.Context, c seal.Cosignature) error {
	_, err := o.deliver(ctx, outputs.CosignatureObject(c), o.now().Add(o.config.SealTerm))
	return err
}

// Close implements outputs.Output. It drops idle connections.
func (o *Output) Close() error {
	o.http.CloseIdleConnections()
	return nil
}

// key is the name in the bucket of an archive path.
func (o *Output) key(path string) *string {
	if o.config.Prefix != "" {
		path = o.config.Prefix + "/" + path
	}
	return &path
}
