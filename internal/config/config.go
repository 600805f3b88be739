// Package config reads the agent's configuration: one TOML file and an optional
// conf.d beside it.
//
// It keeps one promise: a [Config] that Load returns can be used as it is.
// Every default stands in it, every value was checked, every name it refers to
// exists. Whatever is wrong with a file is one [FileError] with file, line, the
// source under a caret and what would be right; nothing is guessed and nothing
// is skipped. Text is taken literally: there is no ${VAR} substitution, and a
// secret is named by where it lies, never written into the file.
package config

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Config is the effective configuration. The toml tags are the keys of the
// file; a tag with ",required" must be set. It is not changed after Load and
// may then be read from any goroutine.
type Config struct {
	Change    string         `toml:"change"` // ticket of the change that this file makes, for the record of it
	Agent     Agent          `toml:"agent"`
	Inputs    Inputs         `toml:"inputs"`
	Catalog   []CatalogEntry `toml:"catalog"`
	Data      []DataEntry    `toml:"data"`
	Identity  []Identity     `toml:"identity"`
	Zone      []Zone         `toml:"zone"`
	Capture   Capture        `toml:"capture"`
	Retention Retention      `toml:"retention"`
	Buffer    Buffer         `toml:"buffer"`
	Outputs   Outputs        `toml:"outputs"`
	Witness   []Witness      `toml:"witness"`
	Tests     []Test         `toml:"test"`
	Admin     Admin          `toml:"admin"`
	Log       Log            `toml:"log"`

	// Warnings are sentences about keys that were accepted and have no effect,
	// or not the one hoped for, each with file and line.
	Warnings []string `toml:"-"`

	root *node `toml:"-"` // what was read, for places
}

// Agent names the agent and where it keeps its state.
type Agent struct {
	ID           string `toml:"id"`           // default: the host name, lower case
	Organization string `toml:"organization"` // first part of the log's origin; default "localhost"
	Environment  string `toml:"environment" oneof:"prod staging dev test other"`
	DataDir      string `toml:"data_dir"` // buffer, keys and the default archive
	// IdentityKey signs the log. Its file is made on first start when it is absent;
	// the default is keys/identity.pem under data_dir. A credential is only read.
	IdentityKey Secret `toml:"identity_key"`
	// WitnessQuorum is how many of [[witness]] must have cosigned a head for
	// manifests to name it; default: all of them.
	WitnessQuorum int `toml:"witness_quorum"`
}

// Witness is asked to cosign the heads of the log (C2SP tlog-witness).
type Witness struct {
	URL  string `toml:"url,required"`  // submission prefix, without /add-checkpoint
	VKey string `toml:"vkey,required"` // C2SP verifier key, cosignature/v1
}

// Inputs are what the agent reads.
type Inputs struct {
	File     []FileInput     `toml:"file"`
	Pipe     []PipeInput     `toml:"pipe"`
	Journald []JournaldInput `toml:"journald"`
	Syslog   []SyslogInput   `toml:"syslog"`
	HTTP     []HTTPInput     `toml:"http"`
	OTLP     []HTTPInput     `toml:"otlp"`
}

// WrapperNone is the wrapper of lines that have none.
const WrapperNone = "none"

// Where a file input starts in a file it has never seen.
const (
	StartBeginning = "beginning"
	StartEnd       = "end"
)

// Input is what every input has, of whatever kind. Names are unique over all.
type Input struct {
	Name      string `toml:"name,required"`
	Parser    Parser `toml:"parser,required"`
	Service   string `toml:"service"`   // default: the name
	Provider  string `toml:"provider"`  // model.provider of records that carry none
	Timezone  string `toml:"timezone"`  // for times that carry no zone; default: the host's
	Retention string `toml:"retention"` // a class of [retention]
	MaxLine   Size   `toml:"max_line"`  // beyond it head, length and SHA-256 are kept

	Ignore []IgnoreRule `toml:"ignore"` // lines to count and not to keep, before the parser

	Location *time.Location `toml:"-"` // of Timezone; nil: the host's zone
}

// FileInput follows log files.
type FileInput struct {
	Input
	Paths   []string `toml:"paths,required"` // absolute globs (path/filepath.Match)
	Exclude []string `toml:"exclude"`        // absolute globs, or of the file name alone
	Start   string   `toml:"start" oneof:"beginning end"`

	Rotated     []string      `toml:"rotated"`      // absolute globs of further places where rotated files lie
	IgnoreOlder time.Duration `toml:"ignore_older"` // files never seen and not modified for so long are left alone; 0: none
	CloseAfter  time.Duration `toml:"close_after"`  // a rotated file that was read is closed after so long

	Encoding  string    `toml:"encoding" oneof:"utf-8 utf-16 utf-16le utf-16be latin-1"`
	Wrapper   string    `toml:"wrapper" oneof:"none auto cri docker syslog"` // what stands in front of each line
	Multiline Multiline `toml:"multiline"`
}

// PipeInput reads a named pipe.
type PipeInput struct {
	Input
	Path string `toml:"path,required"` // absolute
}

// JournaldInput reads the systemd journal. Without units and identifiers it
// reads all of it.
type JournaldInput struct {
	Input
	Units       []string      `toml:"units"`
	Identifiers []string      `toml:"identifiers"`
	Start       string        `toml:"start" oneof:"beginning end"`
	Since       time.Duration `toml:"since"`     // at the very first start: skip what is older
	Directory   string        `toml:"directory"` // of journal files, absolute; default: the host's
}

// SyslogInput receives syslog messages (RFC 5424 and RFC 3164).
type SyslogInput struct {
	Input
	Listen      string        `toml:"listen"` // unixgram:/path, unix:/path, udp:host:port or tcp:host:port
	Keep        bool          `toml:"keep"`   // hand over whole messages, not their content
	IdleTimeout time.Duration `toml:"idle_timeout"`
	Open        bool          `toml:"open"` // allow an address that other hosts reach unproven
	TLSCert     string        `toml:"tls_cert"`
	TLSKey      string        `toml:"tls_key"`
	ClientCA    string        `toml:"tls_client_ca"`
}

// HTTPInput takes lines over HTTP, or log records over OTLP/HTTP.
type HTTPInput struct {
	Input
	Listen   string `toml:"listen"`   // host:port, or unix:/path
	Path     string `toml:"path"`     // the one URL path that is served
	MaxBody  Size   `toml:"max_body"` // of one request, decompressed
	Token    Secret `toml:"token"`    // bearer token that requests must carry
	TLSCert  string `toml:"tls_cert"` // off the host, TLS and a token are required
	TLSKey   string `toml:"tls_key"`
	ClientCA string `toml:"tls_client_ca"` // clients must show a certificate of it
}

// Each calls visit with what every input has, in the order of kinds and files.
// kind is the key under [inputs], i the index under it.
func (in *Inputs) Each(visit func(kind string, i int, input *Input)) {
	for i := range in.File {
		visit("file", i, &in.File[i].Input)
	}
	for i := range in.Pipe {
		visit("pipe", i, &in.Pipe[i].Input)
	}
	for i := range in.Journald {
		visit("journald", i, &in.Journald[i].Input)
	}
	for i := range in.Syslog {
		visit("syslog", i, &in.Syslog[i].Input)
	}
	for i := range in.HTTP {
		visit("http", i, &in.HTTP[i].Input)
	}
	for i := range in.OTLP {
		visit("otlp", i, &in.OTLP[i].Input)
	}
}

// Find returns the input of a name, nil when there is none.
func (in *Inputs) Find(name string) (found *Input) {
	in.Each(func(_ string, _ int, input *Input) {
		if input.Name == name {
			found = input
		}
	})
	return found
}

// Multiline joins physical lines before they are parsed. At most one pattern is
// set; without one only lines that a container runtime split are joined.
type Multiline struct {
	Start    string        `toml:"start"`     // RE2, of lines that begin one; the others belong to the one before
	Continue string        `toml:"continue"`  // RE2, of lines that belong to the one before
	Timeout  time.Duration `toml:"timeout"`   // how long a line waits for more
	MaxLines int           `toml:"max_lines"` // joined at most
}

// IgnoreRule names lines that are known to be noise. They are counted as
// ignored in every manifest.
type IgnoreRule struct {
	Name    string `toml:"name,required"`
	Pattern string `toml:"pattern,required"` // RE2, found anywhere in the line
}

// Types of a Parser with a field map; see also Presets.
const (
	ParserCSV    = "csv"
	ParserJSON   = "json"
	ParserLogfmt = "logfmt"
	ParserSyslog = "syslog"
	ParserRegex  = "regex"
)

// Parser says how lines become records: the name of a preset, or a table with a
// field map.
type Parser struct {
	Type       string     `toml:"type,required"` // one of Presets, or of those with a field map
	Patterns   []string   `toml:"patterns"`      // of regex: RE2, with named groups; the first that matches a whole line counts
	Columns    []string   `toml:"columns"`       // of csv: their names, in the order of the line
	Separator  string     `toml:"separator"`     // of csv: one character; default: a comma
	Format     string     `toml:"format"`        // of nginx: its log_format, where the preset does not know it
	Fields     []FieldMap `toml:"fields"`        // in the order of the file
	Set        []Constant `toml:"set"`           // in the order of the file
	TimeLayout string     `toml:"time_layout"`   // see FieldMap.Layout
}

// FieldMap fills a record field from a source field.
type FieldMap struct {
	// Field is the dotted path of an audit field that a parser may fill, or
	// "input", "output" (the content), "extra.<name>" or "data.<member>".
	Field string `toml:"field"`
	// From is the path of the source field. A segment of digits also indexes
	// an array.
	From []string `toml:"from"`
	// Layout, of a time field: "rfc3339", "unix", "unix_ms", "unix_us",
	// "unix_ns", a layout of Go's package time, or empty for the parser's own
	// rule. A time field without one has the parser's TimeLayout here. Of
	// usage.duration_ms: the unit, "s", "ms", "us" or "ns".
	Layout string `toml:"layout"`
	// Values translates what the source says into what the record says; any other
	// value is dropped.
	Values map[string]string `toml:"values"`
}

// Constant fills a record field with the same value in every record.
type Constant struct {
	Field string `toml:"field"`
	Value any    `toml:"value"` // string, int64, float64, bool or []string, as the field's kind wants it
}

// StandardClass is the retention class that always exists.
const StandardClass = "standard"

// Retention maps each retention class to its term. StandardClass is always there.
type Retention map[string]time.Duration

// Longest returns the longest term of all classes.
func (r Retention) Longest() time.Duration {
	var longest time.Duration
	for _, term := range r {
		longest = max(longest, term)
	}
	return longest
}

// Buffer bounds what waits on disk and says when a batch is sealed.
type Buffer struct {
	MaxDisk   Size          `toml:"max_disk"`   // all of data_dir, the default directory output included
	BatchSize Size          `toml:"batch_size"` // compressed bytes that make a batch full
	BatchAge  time.Duration `toml:"batch_age"`  // age that makes a batch due
	Heartbeat time.Duration `toml:"heartbeat"`  // silence that makes a heartbeat due
}

// Outputs are where batches go. OTLP and Syslog get copies of the records; when
// there is no other, Directory holds one under data_dir.
type Outputs struct {
	Directory []DirectoryOutput `toml:"directory"`
	HTTP      []HTTPOutput      `toml:"http"`
	S3        []S3Output        `toml:"s3"`
	OTLP      []OTLPOutput      `toml:"otlp"`
	Syslog    []SyslogOutput    `toml:"syslog"`
}

// DirectoryOutput writes the archive into a directory. Names are unique over all outputs.
type DirectoryOutput struct {
	Name      string `toml:"name,required"`
	Path      string `toml:"path,required"` // absolute
	Immutable bool   `toml:"immutable"`     // files get the immutable attribute, where the file system has it
}

// HTTPOutput sends batches to a central server. Names are unique over all outputs.
type HTTPOutput struct {
	Name     string        `toml:"name,required"`
	URL      string        `toml:"url,required"` // the base, without a slash at its end; https, or http to this host
	Token    Secret        `toml:"token"`        // bearer token
	CAFile   string        `toml:"ca_file"`      // default: the system's roots
	CertFile string        `toml:"cert_file"`    // client certificate, with KeyFile
	KeyFile  string        `toml:"key_file"`
	Timeout  time.Duration `toml:"timeout"` // of one request
}

// How a bucket keeps what is written.
const (
	LockCompliance = "compliance"
	LockGovernance = "governance"
	LockOff        = "off"
)

// S3Output writes batches into a bucket with Object Lock. Names are unique over all outputs.
type S3Output struct {
	Name         string        `toml:"name,required"`
	Endpoint     string        `toml:"endpoint"` // https, or http to this host; default: AWS in the region
	Region       string        `toml:"region"`   // default: from the endpoint, environment or profile
	Bucket       string        `toml:"bucket,required"`
	Prefix       string        `toml:"prefix"` // without slashes at its ends; default: the bucket's root
	Addressing   string        `toml:"addressing" oneof:"path virtual-host"`
	Lock         string        `toml:"lock" oneof:"compliance governance off"`
	LegalHold    bool          `toml:"legal_hold"`
	Encryption   string        `toml:"encryption" oneof:"AES256 aws:kms"`
	KMSKey       string        `toml:"kms_key"`
	Profile      string        `toml:"profile"`       // of the AWS shared files
	AccessKey    string        `toml:"access_key"`    // with SecretKey; default: the chain of the AWS SDK
	SecretKey    Secret        `toml:"secret_key"`    //
	SessionToken Secret        `toml:"session_token"` //
	CAFile       string        `toml:"ca_file"`       // default: the system's roots
	CertFile     string        `toml:"cert_file"`     // client certificate, with KeyFile
	KeyFile      string        `toml:"key_file"`
	Timeout      time.Duration `toml:"timeout"` // of an attempt in which nothing moves
}

// OTLPOutput copies records to a collector. Names are unique over all outputs.
type OTLPOutput struct {
	Name     string        `toml:"name,required"`
	URL      string        `toml:"url,required"` // the base, without a slash at its end; https, or http to this host
	Required bool          `toml:"required"`     // the disk holds what it has not got; default: best effort
	Token    Secret        `toml:"token"`        // bearer token
	CAFile   string        `toml:"ca_file"`      // default: the system's roots
	CertFile string        `toml:"cert_file"`    // client certificate, with KeyFile
	KeyFile  string        `toml:"key_file"`
	Timeout  time.Duration `toml:"timeout"` // of an attempt in which nothing moves
}

// SyslogOutput copies records to a syslog receiver over TLS. Names are unique over all outputs.
type SyslogOutput struct {
	Name       string        `toml:"name,required"`
	Address    string        `toml:"address,required"` // host:port, or host: then port 6514
	Required   bool          `toml:"required"`         // the disk holds what it has not got; default: best effort
	Format     string        `toml:"format" oneof:"json structured"`
	MaxMessage Size          `toml:"max_message"` // longer ones go without their record
	CAFile     string        `toml:"ca_file"`     // default: the system's roots
	CertFile   string        `toml:"cert_file"`   // client certificate, with KeyFile
	KeyFile    string        `toml:"key_file"`
	Timeout    time.Duration `toml:"timeout"` // of an attempt in which nothing moves
}

// Admin is where the agent answers those who operate it.
type Admin struct {
	Socket   string        `toml:"socket"`    // unix socket for status, tap and reload; default: admin.sock in data_dir; on Windows a named pipe
	Listen   string        `toml:"listen"`    // loopback host:port for metrics, health and the status page; empty: none
	ReadyAge time.Duration `toml:"ready_age"` // /readyz says no when a record waits longer for an output; 0: never
}

// Log is how the agent itself logs.
type Log struct {
	Level  string `toml:"level" oneof:"debug info warn error"`
	Format string `toml:"format" oneof:"text json"`
}

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// day and year are the long units of a term.
const (
	day  = 24 * time.Hour
	year = 365 * day
)

// Default returns the configuration of an empty file: no input, and the archive
// in a directory under data_dir.
func Default() *Config {
	c := preset()
	c.complete()
	return c
}

// preset returns the defaults that do not depend on other keys.
func preset() *Config {
	return &Config{
		Agent: Agent{
			ID:           hostName(),
			Organization: "localhost",
			Environment:  "other",
			DataDir:      dataDir(),
		},
		Capture:   Capture{Default: CaptureHashed, Unparsed: CaptureHashed},
		Retention: Retention{StandardClass: 184 * day},
		Buffer: Buffer{
			MaxDisk:   10 * GiB,
			BatchSize: 8 * MiB,
			BatchAge:  30 * time.Second,
			Heartbeat: 60 * time.Second,
		},
		Admin: Admin{ReadyAge: 15 * time.Minute},
		Log:   Log{Level: "info", Format: "text"},
	}
}

// complete fills the defaults that follow from other keys.
func (c *Config) complete() {
	c.Inputs.Each(func(_ string, _ int, input *Input) {
		if input.Service == "" {
			input.Service = input.Name
		}
	})
	if c.Agent.IdentityKey.IsZero() {
		c.Agent.IdentityKey = Secret{File: filepath.Join(c.Agent.DataDir, "keys", "identity.pem")}
	}
	if c.Capture.HMACKey.IsZero() {
		c.Capture.HMACKey = Secret{File: filepath.Join(c.Agent.DataDir, "capture.key")}
	}
	if c.Admin.Socket == "" {
		c.Admin.Socket = adminSocket(runtime.GOOS, c.Agent.DataDir)
	}
	if len(c.Outputs.Directory)+len(c.Outputs.HTTP)+len(c.Outputs.S3) == 0 {
		c.Outputs.Directory = []DirectoryOutput{{Name: "local", Path: filepath.Join(c.Agent.DataDir, "archive")}}
	}
}

// DefaultFile is where the configuration file of a program lies unless it is told
// another, an absolute path.
func DefaultFile(name string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(programData(), name)
	}
	return "/etc/auditail/" + name
}

func dataDir() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(programData(), "data")
	}
	return "/var/lib/auditail"
}

// programData is the folder of auditail on Windows.
func programData() string {
	return filepath.Join(cmp.Or(os.Getenv("ProgramData"), `C:\ProgramData`), "auditail")
}

// hostName returns the host's name as an agent's name may be spelt.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return cleanName(name)
}

// cleanName spells a name with the characters a name may have.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	name = strings.TrimLeft(name, "._-")
	if name == "" {
		return "localhost"
	}
	return name[:min(len(name), maxName)]
}
