package server

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/internal/config"
)

// S3Config says how to reach a store in a bucket, in the keys of the agent's s3
// output.
type S3Config struct {
	Endpoint     string        `toml:"endpoint"`   // default: AWS in the region
	Region       string        `toml:"region"`     // default: from the endpoint, environment or profile
	Addressing   string        `toml:"addressing"` // "path" or "virtual-host"; default: the latter at AWS
	Lock         string        `toml:"lock"`       // "compliance", "governance" or "off"; default: the first
	SealTerm     string        `toml:"seal_term"`  // how long seals are locked; default: DefaultSealTerm
	Encryption   string        `toml:"encryption"` // at rest: "AES256" or "aws:kms"; default: the bucket's
	KMSKey       string        `toml:"kms_key"`
	Profile      string        `toml:"profile"`    // of the AWS shared files
	AccessKey    string        `toml:"access_key"` // with SecretKey; default: the chain of the AWS SDK
	SecretKey    config.Secret `toml:"secret_key"`
	SessionToken config.Secret `toml:"session_token"`
	CAFile       string        `toml:"ca_file"`
	CertFile     string        `toml:"cert_file"` // client certificate, with KeyFile
	KeyFile      string        `toml:"key_file"`
}

// DefaultSealTerm is the standard retention term of agents.
const DefaultSealTerm = "184d"

// Folders of a bucket beside the archive's prefix.
const (
	stateSuffix = ".state"  // what the servers know of agents, accounts, heads
	ownSuffix   = ".server" // the archives of the servers' own logs
)

const bucketScheme = "s3://"

func (c *Config) inBucket() bool { return strings.HasPrefix(c.Store, bucketScheme) }

// sealTerm returns how long seals are locked. Bucket has checked it.
func (c *Config) sealTerm() time.Duration {
	term, err := config.ParseDuration(cmp.Or(c.S3.SealTerm, DefaultSealTerm))
	if err != nil {
		return 0
	}
	return term
}

// bucket returns the configuration of the client.
func (c *Config) bucket() (bucket.Config, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(c.Store, bucketScheme), "/")
	prefix = strings.Trim(prefix, "/")
	if name == "" || prefix == "" {
		return bucket.Config{}, fmt.Errorf("store %q: give a bucket and a prefix, such as s3://acme-audit/v1; what the servers know lies beside it, in v1%s", c.Store, stateSuffix)
	}
	if c.sealTerm() <= 0 {
		return bucket.Config{}, fmt.Errorf("s3.seal_term %q is no term such as \"184d\" or \"6y\"", c.S3.SealTerm)
	}
	s := &c.S3
	for _, word := range []struct{ key, value, allowed string }{
		{"addressing", s.Addressing, "path virtual-host"}, {"encryption", s.Encryption, "AES256 aws:kms"}, {"lock", s.Lock, "compliance governance off"},
	} {
		if word.value != "" && !strings.Contains(" "+word.allowed+" ", " "+word.value+" ") {
			return bucket.Config{}, fmt.Errorf("s3.%s %q is none of: %s", word.key, word.value, word.allowed)
		}
	}
	return bucket.Config{
		Endpoint: strings.TrimSuffix(s.Endpoint, "/"), Region: s.Region, Bucket: name, Prefix: prefix,
		Addressing: bucket.Addressing(s.Addressing), Lock: bucket.Lock(s.Lock), Encryption: s.Encryption, KMSKey: s.KMSKey,
		Profile: s.Profile, AccessKey: s.AccessKey, SecretKey: resolver(s.SecretKey), SessionToken: resolver(s.SessionToken),
		CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile,
	}, nil
}

// OwnBucket says where the archive of this server's own log lies, when the store is
// in a bucket.
func (c *Config) OwnBucket() (place string, ok bool) {
	config, err := c.bucket()
	if !c.inBucket() || err != nil {
		return "", false
	}
	return bucketScheme + config.Bucket + "/" + config.Prefix + ownSuffix + "/" + c.ID, true
}

// OwnBucketConfig is how it is reached.
func (c *Config) OwnBucketConfig() (bucket.Config, error) {
	config, err := c.bucket()
	config.Prefix += ownSuffix + "/" + c.ID
	return config, err
}

func resolver(s config.Secret) func() ([]byte, error) {
	if s.IsZero() {
		return nil
	}
	return s.Resolve
}
