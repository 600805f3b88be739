// Package probe asks a model server on this host which models it serves.
//
// Its promise is that asking is harmless, whoever answers. A question takes
// [Timeout] at most and takes [MaxAnswer] bytes of each answer; redirects,
// proxies and compressed answers are not followed; a name off the host is
// asked only when the configuration says so; and nothing that a log line says
// gets into a request: names in paths come from the configuration or from the
// server itself. What an answer says is data: texts that are too long or hold
// control characters are left out.
package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of one question.
const (
	Timeout   = 2 * time.Second // for all requests of a question together
	MaxAnswer = 64 << 10        // bytes of one answer
	maxModels = 256             // kept of one answer
	maxNames  = 32              // asked for one by one
	maxText   = 512             // bytes of a name or version
)

// Kind is the software that is asked.
type Kind string

// The kinds, named like the parsers of their logs.
const (
	VLLM              Kind = "vllm"
	SGLang            Kind = "sglang"
	TGI               Kind = "tgi"
	LlamaCPP          Kind = "llamacpp"
	Ollama            Kind = "ollama"
	Triton            Kind = "triton"
	KServe            Kind = "kserve"
	TorchServe        Kind = "torchserve"
	TensorFlowServing Kind = "tensorflow-serving"
)

// Kinds returns all of them, in alphabetical order.
func Kinds() []Kind {
	return []Kind{KServe, LlamaCPP, Ollama, SGLang, TensorFlowServing, TGI, TorchServe, Triton, VLLM}
}

// Target is a server to ask.
type Target struct {
	Kind Kind
	Base string // URL without a slash at its end
}

// Parse reads a target as the configuration has it: "vllm:http://127.0.0.1:8000".
func Parse(text string) (Target, error) {
	kind, base, found := strings.Cut(text, ":")
	if !found || !strings.Contains(base, "://") {
		return Target{}, errors.New(`must be a kind and a URL, such as "vllm:http://127.0.0.1:8000"`)
	}
	if !slices.Contains(Kinds(), Kind(kind)) {
		return Target{}, fmt.Errorf("names an unknown kind, %q; known: %s", kind, kindList())
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return Target{}, errors.New(`must have a URL behind the kind, such as "vllm:http://127.0.0.1:8000"`)
	case u.User != nil:
		return Target{}, errors.New("must not hold a user or password; use probe_token")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Target{}, errors.New("must not have a query or fragment")
	}
	return Target{Kind: Kind(kind), Base: strings.TrimRight(base, "/")}, nil
}

func kindList() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// String spells the target as Parse reads it.
func (t Target) String() string { return string(t.Kind) + ":" + t.Base }

// Loopback tells whether the target names this host.
func (t Target) Loopback() bool {
	u, err := url.Parse(t.Base)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// Port returns the port of the target.
func (t Target) Port() uint16 {
	u, err := url.Parse(t.Base)
	if err != nil {
		return 0
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(port)
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// Prefix is the path in front of those that are asked, "" mostly.
func (t Target) Prefix() string {
	u, err := url.Parse(t.Base)
	if err != nil {
		return ""
	}
	return u.EscapedPath()
}

// ByName tells whether a server of this kind has no list of what it serves: it
// only answers for names that it is asked for.
func (k Kind) ByName() bool { return k == TensorFlowServing }

// Answer is what a server says of itself.
type Answer struct {
	Server  string // the software, as in api.server
	Version string // of the software; empty when it does not tell
	Models  []Model
	Single  bool // it serves one model under one name, which is meant by lines that name none
}

// Model is a served name with what the server says about its version. Empty
// members are unknown.
type Model struct {
	Name     string
	Aliases  []string // further names that callers may use
	ID       string   // canonical identity, "hf:…" or "file:…"
	Version  string
	Revision string // a commit
	Digest   string // with its prefix
	Adapter  string
	Config   string // digest of settings that change what comes back

	// Modified is when the name began to mean this version, in a server that
	// changes names while it runs; zero: when it started.
	Modified time.Time
}
