package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
)

// place is where a server usually logs.
type place struct {
	name   string   // of the input, and of its systemd unit
	parser string   // taken when its log says nothing yet
	globs  []string // of its log files
}

// places are where config init looks, in the order of the file that it writes.
func places() []place {
	return []place{
		{"vllm", "vllm", []string{"/var/log/vllm/*.log", "/var/log/vllm.log", "/var/log/containers/*vllm*.log"}},
		{"ollama", "ollama", []string{"/var/log/ollama/*.log", "/var/log/ollama.log", "/var/log/containers/*ollama*.log"}},
		{"sglang", "sglang", []string{"/var/log/sglang/*.log", "/var/log/containers/*sglang*.log"}},
		{"tgi", "tgi", []string{"/var/log/tgi/*.log", "/var/log/text-generation-inference/*.log", "/var/log/containers/*text-generation*.log"}},
		{"llamacpp", "llamacpp", []string{"/var/log/llama*/*.log", "/var/log/llama-server.log", "/var/log/containers/*llama-server*.log"}},
		{"triton", "triton", []string{"/var/log/triton*/*.log", "/var/log/containers/*triton*.log"}},
		{"torchserve", "torchserve", []string{"/var/log/torchserve/*.log", "/var/log/containers/*torchserve*.log"}},
		{"tensorflow-serving", "tensorflow-serving", []string{"/var/log/tensorflow*/*.log", "/var/log/containers/*tensorflow-serving*.log"}},
		{"ray-serve", "ray-serve", []string{"/tmp/ray/session_latest/logs/serve/*.log", "/var/log/containers/*ray*.log"}},
		{"kserve", "kserve", []string{"/var/log/kserve/*.log", "/var/log/containers/*kserve*.log"}},
		{"bentoml", "bentoml", []string{"/var/log/bentoml/*.log", "/var/log/containers/*bento*.log"}},
		{"mlflow", "mlflow", []string{"/var/log/mlflow/*.log", "/var/log/containers/*mlflow*.log"}},
		{"litellm", "litellm", []string{"/var/log/litellm/*.log", "/var/log/litellm/*.jsonl", "/var/log/litellm.log", "/var/log/containers/*litellm*.log"}},
		{"envoy", "envoy-ai-gateway", []string{"/var/log/envoy/*.log", "/var/log/containers/*envoy-ai-gateway*.log"}},
		{"kong", "kong", []string{"/var/log/kong/*.log", "/usr/local/kong/logs/*.log"}},
		{"nginx", "nginx", []string{"/var/log/nginx/*access*.log", "/var/log/containers/*nginx*.log"}},
		{"caddy", "caddy", []string{"/var/log/caddy/*.log"}},
		{"haproxy", "haproxy", []string{"/var/log/haproxy.log", "/var/log/haproxy/*.log"}},
		{"apache", "combined", []string{"/var/log/apache2/*access*.log", "/var/log/httpd/*access*log"}},
		{"gunicorn", "gunicorn", []string{"/var/log/gunicorn/*access*.log"}},
		{"uvicorn", "uvicorn", []string{"/var/log/uvicorn/*.log"}},
	}
}

// maxLook bounds what is read of a log to see what it is.
const maxLook = 64 << 10

func newConfigInit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Look for logs on this host and write a configuration for them", Args: cobra.NoArgs,
		Long: `Asks nothing. Looks where model servers and gateways usually log, finds the
parser for each as try --parser auto does, and writes a commented configuration
to standard output or to a file that does not exist yet. What was found, and what
was not understood or could not be read, is said on standard error.`,
		Example: `  auditail config init
  auditail config init --output /etc/auditail/auditail.toml`,
	}
	output := cmd.Flags().StringP("output", "o", "", "write to this file, which must not exist")
	root := cmd.Flags().String("root", "/", "look below this folder, as for the image of another system")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := os.MkdirTemp("", "auditail-init-*")
		if err != nil {
			return fmt.Errorf("lay out samples: %w", err)
		}
		l := &look{root: *root, dir: dir, report: cmd.ErrOrStderr()}
		err = l.all(cmd.Context())
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		text := l.text()
		if _, err := config.Parse("auditail.toml", text); err != nil {
			return fmt.Errorf("the configuration that was made is not accepted, which is a mistake of this program: %w", err)
		}
		if *output == "" || *output == "-" {
			_, err := cmd.OutOrStdout().Write(text)
			return err
		}
		// 0644: the service's user reads it, and no secret ever stands in it.
		err = durable.CreateFile(durable.OS{}, *output, text, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already and stays as it is: name another --output, or leave it out to see the text", *output)
		}
		if err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
		l.say("written", "%s; next: auditail check --config %s", *output, *output)
		return nil
	}
	return cmd
}

// found is an input that the new configuration gets.
type found struct {
	place
	glob    string // empty: the journal of the unit
	wrapper string
	why     string
	unknown bool // nobody knows the lines: it is written commented out
}

// look is one run of init.
type look struct {
	root   string
	dir    string // for samples
	report io.Writer
	found  []found
}

func (l *look) say(what, format string, args ...any) {
	fmt.Fprintf(l.report, "%-13s "+format+"\n", append([]any{what}, args...)...)
}

func (l *look) all(ctx context.Context) error {
	for _, p := range places() {
		before := len(l.found)
		for _, glob := range p.globs {
			if err := l.glob(ctx, p, glob); err != nil {
				return err
			}
		}
		if len(l.found) == before {
			l.journal(p)
		}
	}
	if len(l.found) == 0 {
		l.say("nothing", "found where model servers and gateways usually log; edit the [[inputs.file]] of the example")
	}
	return nil
}

// glob looks at the newest file of a glob that has something in it.
func (l *look) glob(ctx context.Context, p place, glob string) error {
	matches, err := filepath.Glob(filepath.Join(l.root, glob))
	if err != nil || len(matches) == 0 {
		return err
	}
	name, sample, err := newest(matches)
	shown := "/" + strings.TrimPrefix(strings.TrimPrefix(name, filepath.Clean(l.root)), "/")
	f := found{place: p, glob: glob, wrapper: config.WrapperNone}
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.why = fmt.Sprintf("%s can not be read by this user; the parser is a guess", shown)
		l.say("not readable", "%s: taken as %s; run this as root, or try it: auditail try --parser auto %s", shown, p.parser, shown)
	case err != nil:
		return err
	case len(sample) == 0:
		f.why = fmt.Sprintf("%s is empty; the parser is a guess", shown)
		l.say("empty", "%s: taken as %s until it says more", shown, p.parser)
	default:
		list, err := propose(ctx, sample, l.dir)
		if err != nil {
			return err
		}
		best := list[0]
		// In its usual place a server's own preset wins over one that knows as much.
		for _, own := range list {
			if own.Parser == p.parser && own.Unparsed == best.Unparsed && own.Facts == best.Facts {
				best = own
			}
		}
		if !best.fits() {
			f.unknown, f.why = true, fmt.Sprintf("No preset knows %s", shown)
			l.say("not known", "%s: %v", shown, noProposal(best, sample))
			break
		}
		f.parser, f.wrapper = best.Parser, best.Wrapper
		f.why = fmt.Sprintf("%s knows %d of %d lines of %s", best.Parser, best.known(), best.Lines, shown)
		l.say("found", "%s: %s, %d of %d lines known", shown, best.Parser, best.known(), best.Lines)
	}
	l.found = append(l.found, f)
	return nil
}

// newest returns the newest of some files and its first lines. One that is empty is
// returned only when all are.
func newest(names []string) (name string, sample []byte, err error) {
	type candidate struct {
		name string
		info fs.FileInfo
	}
	var list []candidate
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			list = append(list, candidate{name, info})
		}
	}
	if len(list) == 0 {
		return names[0], nil, nil
	}
	best := slices.MaxFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(min(a.info.Size(), 1), min(b.info.Size(), 1)), a.info.ModTime().Compare(b.info.ModTime()))
	})
	f, err := os.Open(best.name)
	if err != nil {
		return best.name, nil, err
	}
	defer f.Close()
	sample, err = io.ReadAll(io.LimitReader(f, maxLook))
	if end := bytes.LastIndexByte(sample, '\n'); len(sample) == maxLook && end >= 0 {
		sample = sample[:end+1]
	}
	if len(bytes.TrimSpace(sample)) == 0 {
		sample = nil
	}
	return best.name, sample, err
}

// journal takes the journal of a server that has a systemd unit and no log file.
func (l *look) journal(p place) {
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		unit := filepath.Join(dir, p.name+".service")
		if _, err := os.Stat(filepath.Join(l.root, unit)); err != nil {
			continue
		}
		l.say("found", "%s: its journal, taken as %s", unit, p.parser)
		l.found = append(l.found, found{place: p, why: fmt.Sprintf(
			"There is %s and no log file. See its journal read:\n##   journalctl -u %s.service -o cat -n 200 | auditail try --parser %s", unit, p.name, p.parser)})
		return
	}
}
