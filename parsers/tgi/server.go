package tgi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/served"
	"github.com/auditail/auditail/parsers/internal/state"
	"github.com/auditail/auditail/parsers/internal/traceback"
)

// server is what is remembered of the log at one path.
type server struct {
	path    string
	model   served.Model
	block   block // of bare lines that the log is within
	lines   int   // of the block
	pending bool  // the next line has the revision
}

// block is a message that the launcher writes over several lines.
type block uint8

const (
	none      block = iota
	arguments       // "Args {" to "}"
	runtime         // "Runtime environment:" to the next line with a time
	blocks
)

// Bounds of what is remembered.
const (
	maxServers = 256
	maxBlock   = 256 // lines
)

// find returns the server of a path, or nil.
func (p *Parser) find(path string) *server {
	for _, s := range p.servers {
		if s.path == path {
			return s
		}
	}
	return nil
}

// serverOf returns the server of a path. The oldest is forgotten when there are
// too many.
func (p *Parser) serverOf(path string) *server {
	if s := p.find(path); s != nil {
		return s
	}
	if len(p.servers) == maxServers {
		p.servers = slices.Delete(p.servers, 0, 1)
	}
	s := &server{path: path}
	p.servers = append(p.servers, s)
	return s
}

// banner remembers what the launcher and the router say of the model.
func (p *Parser) banner(path string, message []byte) (rule string, ok bool) {
	if rest, ok := bytes.CutPrefix(message, []byte("Args {")); ok {
		s := p.serverOf(path)
		*s = server{path: path, block: arguments}
		if len(rest) > 0 { // on one line, or in JSON
			s.learn(rest)
		}
		return ruleBanner, true
	}
	if rest, ok := bytes.CutPrefix(message, []byte("Runtime environment:")); ok {
		if len(rest) == 0 {
			s := p.serverOf(path)
			s.block, s.lines = runtime, 0
		}
		return ruleBanner, true
	}
	if rest, ok := bytes.CutPrefix(message, []byte("Serving revision ")); ok {
		commit, name, ok := bytes.Cut(rest, []byte(" of model "))
		if ok {
			s := p.serverOf(path)
			served.Set(&s.model.Source, string(name))
			served.Set(&s.model.Revision, string(commit))
		}
		return ruleBanner, true
	}
	return "", false
}

// learn reads arguments that stand on one line, or several joined by line feeds.
func (s *server) learn(b []byte) {
	if bytes.IndexByte(b, '\n') >= 0 {
		for line := range bytes.SplitSeq(b, []byte("\n")) {
			s.argument(line)
		}
		s.block = none
		return
	}
	s.block = none
	if rest, ok := bytes.CutPrefix(b, []byte(` model_id: "`)); ok {
		name, rest, _ := bytes.Cut(rest, []byte(`"`))
		served.Set(&s.model.Source, string(name))
		if _, rest, ok = bytes.Cut(rest, []byte(`, revision: Some("`)); ok {
			revision, _, _ := bytes.Cut(rest, []byte(`"`))
			served.Set(&s.model.Revision, string(revision))
		}
	}
}

// argument reads a line of "Args {". Other arguments than these are not looked at:
// one of them is the API key.
func (s *server) argument(line []byte) {
	switch {
	case s.pending:
		s.pending = false
		served.Set(&s.model.Revision, quoted(bytes.TrimLeft(line, " ")))
	case bytes.HasPrefix(line, []byte("    model_id: ")):
		served.Set(&s.model.Source, quoted(line[len("    model_id: "):]))
	case string(line) == "    revision: Some(":
		s.pending = true
	case string(line) == "}":
		s.block = none
	}
}

// quoted returns the text of `"…",`.
func quoted(b []byte) string {
	b = bytes.TrimSuffix(b, []byte(","))
	if !pyrepr.IsString(b) {
		return ""
	}
	return pyrepr.Text(b)
}

// bare judges a line without a time: part of a message over several lines, or of a
// traceback.
func (p *Parser) bare(line *parsers.Line) parsers.Outcome {
	s := p.find(line.Path)
	if s != nil && s.block != none {
		if s.lines++; s.lines > maxBlock {
			s.block = none
		} else {
			if s.block == arguments {
				s.argument(line.Data)
			}
			return ignored(ruleBanner)
		}
	}
	switch {
	case len(bytes.TrimSpace(line.Data)) == 0:
		return ignored(ruleEmpty)
	case p.traceback.Frame(line.Path, line.Data):
		return ignored(traceback.Rule)
	default:
		return unparsed("not a line of TGI")
	}
}

// noise is what launcher and router are known to write besides requests. Each
// entry is the beginning of one message of their sources.
var noise = [...]struct{ prefix, rule string }{
	{"Connected", ruleServer},
	{"Ready", ruleServer},
	{"Shutting down shards", ruleServer},
	{"signal received, starting graceful shutdown", ruleServer},
	{"Terminating ", ruleServer},
	{"Waiting for webserver to gracefully shutdown", ruleServer},
	{"Waiting for shard to gracefully shutdown", ruleServer},
	{"webserver terminated", ruleServer},
	{"shard terminated", ruleServer},
	{"Starting HTTP server: ", ruleServer},
	{"Starting check and download process for ", ruleStartup},
	{"Files are already present on the host. Skipping download.", ruleStartup},
	{"Successfully downloaded weights", ruleStartup},
	{"Download file: ", ruleStartup},
	{"Downloaded /", ruleStartup},
	{"Download: [", ruleStartup},
	{"Downloading `", ruleStartup},
	{"Starting shard", ruleStartup},
	{"Waiting for shard to be ready...", ruleStartup},
	{"Starting Webserver", ruleStartup},
	{"Server started at unix://", ruleStartup},
	{"Sharding model on ", ruleStartup},
	{"Parsing num_shard from ", ruleStartup},
	{"Default `max_", ruleStartup},
	{"Using default cuda graphs ", ruleStartup},
	{"Cuda Graphs are enabled for sizes ", ruleStartup},
	{"Using attention ", ruleStartup},
	{"Using Attention = ", ruleStartup},
	{"Using prefix caching = ", ruleStartup},
	{"Using prefill chunking = ", ruleStartup},
	{"Disabling prefix caching ", ruleStartup},
	{"Forcing attention to '", ruleStartup},
	{"Auto-detected mode as ", ruleStartup},
	{"Using config ", ruleStartup},
	{"Using the Hugging Face API", ruleStartup},
	{"Using local tokenizer config", ruleStartup},
	{"Using chat template from chat_template.json", ruleStartup},
	{"Using backend ", ruleStartup},
	{"Using scheduler V", ruleStartup},
	{"Warming up model", ruleStartup},
	{"Setting max batch total tokens to ", ruleStartup},
	{"Setting max_input_length to ", ruleStartup},
	{"KV-cache blocks: ", ruleStartup},
	{"Maximum input tokens defaulted to ", ruleStartup},
	{"Maximum total tokens defaulted to ", ruleStartup},
	{"Cache \"", ruleStartup},
	{"Token file not found ", ruleStartup},
	{"Starting model backend", ruleStartup},
	{"Starting Bert model on ", ruleStartup},
	{"Maximum number of tokens per request: ", ruleStartup},
	{"Starting download process.", ruleStartup},
	{"Starting FlashBert model on ", ruleStartup},
	{"Starting FlashQwen", ruleStartup},
	{"Model artifacts downloaded in ", ruleStartup},
}

func noiseOf(message []byte) (rule string, ok bool) {
	for _, n := range noise {
		if bytes.HasPrefix(message, []byte(n.prefix)) {
			return n.rule, true
		}
	}
	return "", false
}

// Flush implements [parsers.Stateful]; no lines are held.
func (p *Parser) Flush(_ time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int { return 0 }

// A snapshot is:
//
//	version 1
//	logs that are within a traceback
//	servers: path, model, block
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 && p.traceback.Idle() {
		return nil
	}
	e := state.Encoder{Bytes: []byte{snapshotVersion}}
	p.traceback.Encode(&e)
	e.Number(int64(len(p.servers)))
	for _, s := range p.servers {
		e.Text(s.path)
		s.model.Encode(&e)
		e.Number(int64(s.block))
		e.Number(int64(s.lines))
		e.Flags(s.pending)
	}
	return e.Bytes
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	var fresh Parser
	if len(snapshot) > 0 {
		if snapshot[0] != snapshotVersion {
			return fmt.Errorf("restore tgi state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		fresh.traceback.Decode(d)
		for range d.Count(maxServers) {
			s := &server{path: d.Text()}
			s.model.Decode(d)
			s.block = block(d.Count(int(blocks) - 1)) //nolint:gosec // small
			s.lines = d.Count(maxBlock + 1)
			d.Flags(&s.pending)
			if fresh.find(s.path) != nil {
				d.Fail()
			}
			fresh.servers = append(fresh.servers, s)
		}
		if !d.Done() {
			return fmt.Errorf("restore tgi state: %w", errSnapshot)
		}
	}
	p.traceback, p.servers = fresh.traceback, fresh.servers
	return nil
}
