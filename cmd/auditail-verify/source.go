package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/auditail/auditail/internal/archive/remote"
)

// sourceOptions are the flags that say how to reach an archive that is not a
// directory.
type sourceOptions struct {
	tokenFile string
	ca        string
	endpoint  string
	region    string
}

// sourceHelp ends the description of commands that read an archive.
const sourceHelp = `

The archive is a directory, s3://bucket/prefix (every version and delete marker is
looked at; credentials as the AWS tools take them), or https://host of a central
server, read with an auditor's token.`

func (o *sourceOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.tokenFile, "token-file", "", "file with an auditor's token, for an archive at https://…")
	f.StringVar(&o.ca, "ca-file", "", "PEM file of the authorities to trust instead of the system's, for https and s3")
	f.StringVar(&o.ca, "ca", "", "")
	_ = f.MarkDeprecated("ca", "use --ca-file") // the flag is there
	f.StringVar(&o.endpoint, "endpoint", "", "URL of a store that is not AWS, for an archive at s3://…")
	f.StringVar(&o.region, "region", "", "region of the bucket (default: as the AWS tools find it)")
}

// open opens the archive with a name. The caller closes it.
func (o *sourceOptions) open(ctx context.Context, name string) (remote.Source, error) {
	options := remote.Options{S3: remote.S3Config{Endpoint: o.endpoint, Region: o.region}}
	if !remote.IsRemote(name) {
		return remote.Open(ctx, name, options)
	}
	if o.tokenFile != "" {
		token, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		options.Token = strings.TrimSpace(string(token))
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("read --ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("read --ca-file: no certificate in " + o.ca)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // the standard library's own
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		options.Client = &http.Client{Transport: transport}
		options.S3.Client = options.Client
	}
	return remote.Open(ctx, name, options)
}
