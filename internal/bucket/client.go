package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/auditail/auditail/internal/wire"
)

// continueFrom is the size from which the store is asked (100-continue) before
// the body is sent, so that a refusal does not cost the upload.
const continueFrom = 64 << 10

// defaultRegion is what stores that know no regions sign for.
const defaultRegion = "us-east-1"

// connect makes the client. It resolves the credential chain, which reads files
// and environment; roles are only assumed when a request needs them.
func (b *Bucket) connect(ctx context.Context, version string) error {
	c := &b.config
	var load []func(*config.LoadOptions) error
	if c.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(c.Profile))
	}
	// What AWS_CA_BUNDLE trusts is for the chain's own calls; the bucket is
	// reached with our transport, which knows ca_file.
	chain, err := config.LoadDefaultConfig(ctx, append(load, config.WithLogger(logging.Nop{}))...)
	if err != nil {
		return fmt.Errorf("load the credential chain: %w", err)
	}
	if c.Region == "" {
		c.Region = firstOf(regionOf(c.Endpoint), chain.Region, defaultRegion)
	}
	if c.Addressing == "" {
		c.Addressing = PathStyle
		if c.Endpoint == "" || regionOf(c.Endpoint) != "" {
			c.Addressing = VirtualHost
		}
	}
	var provider aws.CredentialsProvider = &chained{chain.Credentials}
	if c.AccessKey != "" {
		provider = &configured{c}
	}
	b.creds = &credentials{CredentialsCache: aws.NewCredentialsCache(provider)}
	options := s3.Options{
		Region:       c.Region,
		UsePathStyle: c.Addressing == PathStyle,
		Credentials:  b.creds,
		HTTPClient:   b.http,
		Logger:       logging.Nop{},
		// One attempt: whoever calls repeats without limit, and says so.
		Retryer:                      aws.NopRetryer{},
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired, // what is read back is hashed here
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired,
		ContinueHeaderThresholdBytes: continueFrom,
		DisableS3ExpressSessionAuth:  aws.Bool(true),
		APIOptions:                   []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("auditail", version)},
	}
	if c.Endpoint != "" {
		options.BaseEndpoint = aws.String(c.Endpoint)
	}
	b.client = s3.New(options)
	return nil
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// regionOf reads the region from the host names that AWS gives its endpoints:
// s3.<region>.amazonaws.com, also with dualstack or of China.
func regionOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	host := strings.TrimSuffix(strings.TrimSuffix(u.Hostname(), ".cn"), ".amazonaws.com")
	if host == u.Hostname() {
		return ""
	}
	region, ok := strings.CutPrefix(host, "s3.")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(region, "dualstack.")
}

// credentials are forgotten when the store refuses them, so that what was
// rotated in file or role is used by the next attempt.
type credentials struct{ *aws.CredentialsCache }

func (c *credentials) forget() { c.Invalidate() }

// chained is the SDK's default chain.
type chained struct{ chain aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (c *chained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c.chain == nil {
		return aws.Credentials{}, &wire.LocalError{Kind: "credentials", Err: errNoCredentials}
	}
	found, err := c.chain.Retrieve(ctx)
	if err != nil {
		return found, &wire.LocalError{Kind: "credentials", Err: fmt.Errorf("%w: %s", errNoCredentials, wire.Quote(err.Error()))}
	}
	return found, nil
}

var errNoCredentials = errors.New("no credentials: set access_key and secret_key, AWS_ACCESS_KEY_ID, a profile, a web identity or an instance role")

// configured are the credentials of the configuration.
type configured struct{ config *Config }

// reread is how long a secret of the configuration is used before it is asked for again.
const reread = time.Minute

// Retrieve implements aws.CredentialsProvider.
func (c *configured) Retrieve(context.Context) (aws.Credentials, error) {
	secret, err := c.config.SecretKey()
	if err != nil {
		return aws.Credentials{}, &wire.LocalError{Kind: "credentials", Err: fmt.Errorf("read secret_key: %w", err)}
	}
	found := aws.Credentials{
		AccessKeyID: c.config.AccessKey, SecretAccessKey: strings.TrimSpace(string(secret)),
		CanExpire: true, Expires: time.Now().Add(reread), Source: "configuration",
	}
	if c.config.SessionToken != nil {
		session, err := c.config.SessionToken()
		if err != nil {
			return aws.Credentials{}, &wire.LocalError{Kind: "credentials", Err: fmt.Errorf("read session_token: %w", err)}
		}
		found.SessionToken = strings.TrimSpace(string(session))
	}
	return found, nil
}

// signedDigest signs a body by the digest that was sealed: it is not read twice,
// and the store refuses any other bytes.
func signedDigest(hex string) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("auditailSealedDigest",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, hex), in)
			}), middleware.Before)
	})
}

// maxAnswer is how much of an answer is read that is no object: the SDK takes
// all of it into memory.
const maxAnswer = 256 << 10

// capped bounds the answers that the SDK reads whole.
type capped struct{ *wire.Transport }

// RoundTrip implements http.RoundTripper.
func (c capped) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.Transport.RoundTrip(request)
	if err != nil || response.StatusCode == http.StatusOK && request.URL.Query().Get("x-id") == "GetObject" {
		return response, err // what is read back is compared as it comes
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}
