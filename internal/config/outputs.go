package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func (k *checker) outputs() {
	names, places := map[string]path{}, map[string]path{}
	for i := range k.config.Outputs.Directory {
		output, at := &k.config.Outputs.Directory[i], path{"outputs", "directory", i}
		k.name(at.key("name"), "outputs.directory.name", output.Name)
		k.unique(names, at.key("name"), "an output named", output.Name)
		k.absolute(at.key("path"), "outputs.directory.path", output.Path)
		k.unique(places, at.key("path"), "an output to", filepath.Clean(output.Path))
	}
	for i := range k.config.Outputs.HTTP {
		output, at := &k.config.Outputs.HTTP[i], path{"outputs", "http", i}
		k.name(at.key("name"), "outputs.http.name", output.Name)
		k.unique(names, at.key("name"), "an output named", output.Name)
		k.httpOutput(output, at)
		k.unique(places, at.key("url"), "an output to", output.URL)
	}
	for i := range k.config.Outputs.S3 {
		output, at := &k.config.Outputs.S3[i], path{"outputs", "s3", i}
		k.name(at.key("name"), "outputs.s3.name", output.Name)
		k.unique(names, at.key("name"), "an output named", output.Name)
		k.s3Output(output, at)
		k.unique(places, at.key("bucket"), "an output to", output.Endpoint+" "+output.Bucket+"/"+output.Prefix)
	}
	for i := range k.config.Outputs.OTLP {
		output, at := &k.config.Outputs.OTLP[i], path{"outputs", "otlp", i}
		k.name(at.key("name"), "outputs.otlp.name", output.Name)
		k.unique(names, at.key("name"), "an output named", output.Name)
		k.url(&output.URL, "outputs.otlp.url", "https://collector.example.com:4318", at.key("url"))
		k.unique(places, at.key("url"), "an output to", output.URL)
		k.clientFiles("outputs.otlp", at, output.CAFile, output.CertFile, output.KeyFile, output.Timeout)
	}
	for i := range k.config.Outputs.Syslog {
		output, at := &k.config.Outputs.Syslog[i], path{"outputs", "syslog", i}
		k.name(at.key("name"), "outputs.syslog.name", output.Name)
		k.unique(names, at.key("name"), "an output named", output.Name)
		k.syslogOutput(output, at)
		k.unique(places, at.key("address"), "an output to", output.Address)
	}
}

func (k *checker) syslogOutput(output *SyslogOutput, at path) {
	if _, _, err := net.SplitHostPort(output.Address); err != nil && !strings.ContainsAny(output.Address, ":/ ") && output.Address != "" {
		output.Address = net.JoinHostPort(output.Address, "6514") // RFC 5425, section 4.1
	}
	if host, port, err := net.SplitHostPort(output.Address); err != nil || host == "" || port == "" {
		k.wrong(at.key("address"), `outputs.syslog.address must be a host and port such as "siem.example.com:6514"`)
	}
	if output.MaxMessage < 2*KiB || output.MaxMessage > 16*MiB {
		k.wrong(at.key("max_message"), "outputs.syslog.max_message must be between 2KiB and 16MiB; every receiver takes 2KiB")
	}
	k.clientFiles("outputs.syslog", at, output.CAFile, output.CertFile, output.KeyFile, output.Timeout)
}

// bucketName is what S3 takes, a little wider: stores of others have older rules.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$`)

// prefixName is one segment of a prefix: plain enough for URLs, policies and
// lifecycle rules alike.
var prefixName = regexp.MustCompile(`^[A-Za-z0-9_=-][A-Za-z0-9._=-]*$`)

func (k *checker) s3Output(output *S3Output, at path) {
	if output.Endpoint != "" {
		k.url(&output.Endpoint, "outputs.s3.endpoint", "https://s3.eu-central-1.amazonaws.com", at.key("endpoint"))
	}
	if !bucketName.MatchString(output.Bucket) {
		k.wrong(at.key("bucket"), "outputs.s3.bucket must be the name of a bucket: 2 to 63 letters, digits, dots and dashes, without \"s3://\"; what stands below it is outputs.s3.prefix")
	}
	output.Prefix = strings.Trim(output.Prefix, "/")
	for segment := range strings.SplitSeq(output.Prefix, "/") {
		if output.Prefix != "" && !prefixName.MatchString(segment) {
			k.wrong(at.key("prefix"), "outputs.s3.prefix: each part must be of letters, digits and _ = - . and not begin with a dot")
			break
		}
	}
	if (output.AccessKey == "") != output.SecretKey.IsZero() {
		present := "access_key"
		if output.AccessKey == "" {
			present = "secret_key"
		}
		k.wrong(at.key(present), "outputs.s3 needs both access_key and secret_key, or neither: then the AWS SDK's chain is used")
	}
	if !output.SessionToken.IsZero() && output.AccessKey == "" {
		k.wrong(at.key("session_token"), "outputs.s3.session_token needs access_key and secret_key")
	}
	if output.Profile != "" && output.AccessKey != "" {
		k.wrong(at.key("profile"), "outputs.s3 has both profile and access_key; give one of them")
	}
	if output.KMSKey != "" && output.Encryption != "aws:kms" {
		k.wrong(at.key("kms_key"), `outputs.s3.kms_key needs encryption = "aws:kms"`)
	}
	if output.LegalHold && output.Lock == LockOff {
		k.wrong(at.key("legal_hold"), `outputs.s3.legal_hold needs a bucket with Object Lock; it can not stand with lock = "off"`)
	}
	if output.Lock == LockOff {
		k.warn(at.key("lock"), "outputs.s3.lock is off: who has the bucket's keys can rewrite the archive")
	}
	k.clientFiles("outputs.s3", at, output.CAFile, output.CertFile, output.KeyFile, output.Timeout)
}

func (k *checker) httpOutput(output *HTTPOutput, at path) {
	k.url(&output.URL, "outputs.http.url", "https://audit.example.com", at.key("url"))
	k.clientFiles("outputs.http", at, output.CAFile, output.CertFile, output.KeyFile, output.Timeout)
}

// clientFiles checks what every output that connects has.
func (k *checker) clientFiles(what string, at path, caFile, certFile, keyFile string, timeout time.Duration) {
	for _, file := range []struct{ key, name string }{{"ca_file", caFile}, {"cert_file", certFile}, {"key_file", keyFile}} {
		if file.name != "" {
			k.absolute(at.key(file.key), what+"."+file.key, file.name)
		}
	}
	if (certFile == "") != (keyFile == "") {
		present := "cert_file"
		if certFile == "" {
			present = "key_file"
		}
		k.wrong(at.key(present), "%s needs both cert_file and key_file for a client certificate, or neither", what)
	}
	if timeout < time.Second || timeout > time.Hour {
		k.wrong(at.key("timeout"), "%s.timeout must be between 1s and 1h", what)
	}
}

// url checks the base URL and takes the slash off its end.
func (k *checker) url(value *string, what, example string, at path) {
	base, err := url.Parse(*value)
	switch {
	case err != nil || base.Hostname() == "" || base.Scheme != "https" && base.Scheme != "http":
		k.wrong(at, `%s must be a URL such as "%s"`, what, example)
		return
	case base.User != nil:
		k.wrong(at, "%s must not hold a user or password; use token or a client certificate", what)
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		k.wrong(at, "%s must not have a query or fragment", what)
	case base.Scheme == "http" && !loopback(base.Hostname()):
		k.wrong(at, "%s must begin with https://; plain http is for this host only", what)
	}
	*value = strings.TrimRight(*value, "/")
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
