// Package s3test starts a real S3 server with Object Lock for tests:
// versitygw, which `make s3-server` builds from the pin in tools/go.mod.
//
// The server enforces what evidence rests on: COMPLIANCE and GOVERNANCE
// retention, legal hold, If-None-Match, checksums, bucket policies. Each test
// has its own server in its own folder; it ends with the test.
package s3test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/auditail/auditail/internal/certtest"
)

// Region is where the server says it is.
const Region = "eu-central-1"

// Credentials sign requests. They implement aws.CredentialsProvider.
type Credentials struct{ AccessKey, SecretKey string }

// Retrieve implements aws.CredentialsProvider.
func (c Credentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, Source: "s3test"}, nil
}

// Options choose how the server runs.
type Options struct {
	TLS bool // with a certificate of an authority of its own: Server.CAFile
	// VirtualDomain makes the server also take <bucket>.VirtualDomain hosts.
	VirtualDomain string
}

// Server is a running S3 server.
type Server struct {
	URL     string      // of the endpoint; the address is 127.0.0.1
	Address string      // host:port
	Root    Credentials // owns every bucket
	CAFile  string      // PEM of the authority that signed the certificate, with TLS

	program string
	dir     string
	options Options
	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	output  *bytes.Buffer
}

// Start starts a server and waits until it answers.
func Start(t *testing.T, o Options) *Server {
	t.Helper()
	s := &Server{
		Root: rootUser(), program: program(t), dir: t.TempDir(), options: o,
	}
	for _, name := range []string{"data", "versions", "iam"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if o.TLS {
		s.makeCertificate(t)
	}
	t.Cleanup(s.Stop)
	// The port is free when it is looked for, and may not be a moment later.
	for range 5 {
		if s.Address == "" {
			s.Address = freeAddress(t)
		}
		if s.run(t) {
			return s
		}
		s.Address = ""
	}
	t.Fatalf("the S3 server does not start:\n%s", s.output)
	return nil
}

// At is a server that another test started and ends: for tests that share one.
func At(url string) *Server {
	return &Server{URL: url, Address: strings.TrimPrefix(url, "http://"), Root: rootUser()}
}

func rootUser() Credentials { return Credentials{AccessKey: "testaccess", SecretKey: "testsecret123"} }

// program finds the server beside the development tools, or in PATH.
func program(t *testing.T) string {
	t.Helper()
	_, source, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(source), "..", "..")
	built := filepath.Join(root, ".tools", runtime.Version(), "versitygw")
	if _, err := os.Stat(built); err == nil {
		return built
	}
	path, err := exec.LookPath("versitygw")
	if err != nil {
		t.Fatal("the S3 server for tests is not built: run make s3-server")
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts the process and reports whether it came up.
func (s *Server) run(t *testing.T) bool {
	t.Helper()
	arguments := []string{
		"--port", s.Address, "--region", Region, "--iam-dir", filepath.Join(s.dir, "iam"), "--iam-cache-disable", "--health", "/health", "--quiet",
	}
	scheme := "http"
	if s.options.TLS {
		scheme = "https"
		arguments = append(arguments, "--cert", s.file("server.pem"), "--key", s.file("server.key"))
	}
	if s.options.VirtualDomain != "" {
		arguments = append(arguments, "--virtual-domain", s.options.VirtualDomain)
	}
	arguments = append(arguments, "posix", "--versioning-dir", filepath.Join(s.dir, "versions"), filepath.Join(s.dir, "data"))
	s.URL = scheme + "://" + s.Address
	s.output = new(bytes.Buffer)
	s.process = exec.CommandContext(context.WithoutCancel(t.Context()), s.program, arguments...)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.Root.AccessKey, "ROOT_SECRET_KEY="+s.Root.SecretKey)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = process.Wait() // it is killed: its status says nothing
	}()
	client := s.HTTPClient(t)
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if healthy(t, client, s.URL+"/health") {
			return true
		}
	}
	t.Fatalf("the S3 server does not answer:\n%s", s.output)
	return false
}

func healthy(t *testing.T, client *http.Client, url string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

// Stop kills the server; what it holds stays.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended by itself
	<-s.ended
	s.process = nil
}

// Restart starts a stopped server again, at the same address with what it held.
func (s *Server) Restart(t *testing.T) {
	t.Helper()
	if !s.run(t) {
		t.Fatalf("the S3 server does not start again:\n%s", s.output)
	}
}

// HTTPClient returns a client that trusts the server's authority.
func (s *Server) HTTPClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	if s.CAFile != "" {
		roots := x509.NewCertPool()
		file, err := os.ReadFile(s.CAFile)
		if err != nil || !roots.AppendCertsFromPEM(file) {
			t.Fatalf("read the authority: %v", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Client returns an S3 client of the given user.
func (s *Server) Client(t *testing.T, user Credentials) *s3.Client {
	t.Helper()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL), Region: Region, UsePathStyle: true, Credentials: user, HTTPClient: s.HTTPClient(t),
	})
}

// MakeBucket makes a bucket with versioning, and with Object Lock when lock is set.
func (s *Server) MakeBucket(t *testing.T, name string, lock bool) {
	t.Helper()
	client := s.Client(t, s.Root)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &lock}); err != nil {
		t.Fatalf("make bucket: %v", err)
	}
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatalf("enable versioning: %v", err)
	}
}

// MakeUser makes a user with no rights but those a bucket policy gives.
func (s *Server) MakeUser(t *testing.T, name string) Credentials {
	t.Helper()
	user := Credentials{AccessKey: name, SecretKey: name + "-secret"}
	arguments := []string{"admin", "-a", s.Root.AccessKey, "-s", s.Root.SecretKey, "--region", Region, "--er", s.URL}
	if s.options.TLS {
		arguments = append(arguments, "--allow-insecure")
	}
	arguments = append(arguments, "create-user", "--access", user.AccessKey, "--secret", user.SecretKey, "--role", "user")
	if out, err := exec.CommandContext(t.Context(), s.program, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("make user: %v\n%s", err, out)
	}
	return user
}

// SetPolicy sets a bucket's policy, JSON as S3 takes it.
func (s *Server) SetPolicy(t *testing.T, bucket, policy string) {
	t.Helper()
	_, err := s.Client(t, s.Root).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	if err != nil {
		t.Fatalf("set policy: %v", err)
	}
}

// Files returns the content of all objects below a prefix that ends in "/" or is
// empty, by the rest of their names. It fails the test when an object has a
// second version or a delete marker: nothing here is ever written twice.
func (s *Server) Files(t *testing.T, bucket, prefix string) map[string][]byte {
	t.Helper()
	client := s.Client(t, s.Root)
	files, last := make(map[string][]byte), ""
	input := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix}
	for {
		page, err := client.ListObjectVersions(t.Context(), input)
		if err != nil {
			t.Fatalf("list versions: %v", err)
		}
		for _, marker := range page.DeleteMarkers {
			t.Errorf("%s has a delete marker", *marker.Key)
		}
		for _, version := range page.Versions {
			// versitygw repeats the last version of a page at the head of the next.
			if *version.VersionId == last {
				continue
			}
			last = *version.VersionId
			name := (*version.Key)[len(prefix):]
			if _, twice := files[name]; twice {
				t.Errorf("%s has more than one version", *version.Key)
			}
			object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: version.Key, VersionId: version.VersionId})
			if err != nil {
				t.Fatalf("get %s: %v", *version.Key, err)
			}
			files[name], err = io.ReadAll(object.Body)
			if err = errors.Join(err, object.Body.Close()); err != nil {
				t.Fatalf("get %s: %v", *version.Key, err)
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return files
		}
		input.KeyMarker, input.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
	}
}

// Count returns how many objects there are below a prefix.
func (s *Server) Count(t *testing.T, bucket, prefix string) (n int) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(s.Client(t, s.Root), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("list objects: %v", err)
		}
		n += len(page.Contents)
	}
	return n
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// makeCertificate makes an authority and a server certificate that it signed.
func (s *Server) makeCertificate(t *testing.T) {
	t.Helper()
	hosts := []string{"localhost"}
	if s.options.VirtualDomain != "" {
		hosts = append(hosts, s.options.VirtualDomain, "*."+s.options.VirtualDomain)
	}
	authority := certtest.New(t, "s3test authority")
	s.CAFile = authority.Write(t, s.dir, "ca")
	authority.Issue(t, "s3test", certtest.For(hosts...)).Write(t, s.dir, "server")
}
