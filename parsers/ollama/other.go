package ollama

import (
	"bytes"
	_ "embed" // noise.txt
	"strings"
	"sync"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

//go:embed noise.txt
var noise string

// quiet knows the messages of noise.txt.
type quiet struct {
	whole    map[string]string // message → rule
	prefixes []prefix
}

type prefix struct{ text, rule string }

// known is what noise.txt says.
var known = sync.OnceValue(func() *quiet {
	q := &quiet{whole: map[string]string{}}
	rule := ""
	for text := range strings.Lines(noise) {
		text = strings.TrimSuffix(text, "\n")
		switch {
		case strings.HasPrefix(text, "#"):
		case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
			rule = text[1 : len(text)-1]
		case strings.HasSuffix(text, "*"):
			q.prefixes = append(q.prefixes, prefix{strings.TrimSuffix(text, "*"), rule})
		default:
			q.whole[text] = rule
		}
	}
	return q
})

// rule returns the rule under which a message is ignored.
func (q *quiet) rule(message []byte) (rule string, ok bool) {
	if rule, ok = q.whole[string(message)]; ok {
		return rule, true
	}
	for _, p := range q.prefixes {
		if len(message) >= len(p.text) && string(message[:len(p.text)]) == p.text {
			return p.rule, true
		}
	}
	return "", false
}

// other judges the lines that are neither access lines nor slog's: what the web
// framework says of itself, the runner, and the log of the first releases.
func (p *Parser) other(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	b := line.Data
	if s := p.find(line.Path); s != nil && s.example > 0 {
		if s.example--; bytes.HasSuffix(b, []byte("'")) {
			s.example = 0
		}
		return dst, ignored(ruleRunnerLoad)
	}
	if rule, ok := words(b); ok {
		return dst, ignored(rule)
	}
	if _, n, ok := stamp.ReadLocal(b, p.zone); ok && n < len(b) && b[n] == ' ' {
		return p.first(dst, line, b[n+1:])
	}
	return p.runner(dst, line)
}

// words knows lines that are always the same, or begin so.
func words(b []byte) (rule string, ok bool) {
	for _, w := range [...]prefix{
		{"[GIN-debug] [ERROR]", ""},
		{"[GIN-debug] ", ruleRoutes},
		{" - using env:\t", ruleRoutes},
		{" - using code:\t", ruleRoutes},
		{"Couldn't find '", ruleKey},
		{"Your new public key is: ", ruleKey},
		{"ssh-ed25519 AAAA", ruleKey},
	} {
		if bytes.HasPrefix(b, []byte(w.text)) {
			return w.rule, w.rule != ""
		}
	}
	return ruleEmpty, len(bytes.TrimSpace(b)) == 0
}

// first reads what follows the time in the log of releases up to 0.1.37:
//
//	2024/05/12 06:47:18 routes.go:1006: INFO server config env="map[…]"
//	2023/12/20 10:00:00 routes.go:891: Listening on 127.0.0.1:11434 (version 0.1.17)
func (p *Parser) first(dst []parsers.Draft, line *parsers.Line, b []byte) ([]parsers.Draft, parsers.Outcome) {
	place, message, ok := bytes.Cut(b, []byte(": "))
	if !ok || !isPlace(place) {
		return dst, unparsed("not a line of the server's log")
	}
	if bytes.HasPrefix(message, []byte("WARN ")) || bytes.HasPrefix(message, []byte("ERROR ")) {
		return dst, unparsed("a message that no rule knows")
	}
	message = bytes.TrimPrefix(bytes.TrimPrefix(message, []byte("INFO ")), []byte("DEBUG "))
	if version, ok := versionOf(bytes.Trim(message, `"`)); ok {
		return p.starts(dst, line, version), ignored(ruleBanner)
	}
	if bytes.HasPrefix(message, []byte("server config ")) {
		return dst, ignored(ruleBanner)
	}
	if rule, ok := p.quiet.rule(bytes.Trim(message, `"`)); ok {
		return dst, ignored(rule)
	}
	return dst, unparsed("a message that no rule knows")
}

// isPlace accepts "routes.go:1006".
func isPlace(b []byte) bool {
	name, number, ok := bytes.Cut(b, []byte(".go:"))
	if !ok || len(name) == 0 || len(number) == 0 {
		return false
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return false
		}
	}
	return bytes.IndexByte(name, ' ') < 0
}

// runner judges the lines of the program that runs the model: llama.cpp's server and
// library, in the forms they had over time. Its calls are Ollama's own, each has an
// access line of Ollama's; what goes wrong with one stays unparsed.
func (p *Parser) runner(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	b := line.Data
	l := llamalog.Split(b)
	switch {
	case l.IsLoad(), bytes.HasPrefix(b, []byte("  Device ")), bytes.HasPrefix(b, []byte("system_info: ")):
		return dst, ignored(ruleRunnerLoad)
	case l.Group != nil && l.Level != 'W' && l.Level != 'E':
		if bytes.Contains(l.Message, []byte("cancel task")) {
			return dst, unparsed("a call was aborted, and the line does not say which")
		}
		if llamalog.Troubled(l.Message) {
			return dst, unparsed("the runner reports trouble")
		}
		if string(l.Group) == "cmn" || bytes.HasPrefix(l.Function, []byte("load_model")) || bytes.HasPrefix(l.Function, []byte("init")) || string(l.Function) == "llama_server" {
			if bytes.Contains(l.Message, []byte("example_format: '")) && !bytes.HasSuffix(b, []byte("'")) {
				var s *server
				dst, s = p.serverOf(dst, line.Path)
				s.example = maxExample
			}
			return dst, ignored(ruleRunnerLoad)
		}
		return dst, ignored(ruleRunner)
	case isSampler(b), isLegacy(b):
		return dst, ignored(ruleRunner)
	}
	return dst, unparsed("not a line of Ollama")
}

// isSampler accepts the lines behind "sampler params:".
func isSampler(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte("\t"))
	if !ok {
		return false
	}
	for _, word := range [...]string{"repeat_last_n = ", "dry_multiplier = ", "top_k = ", "mirostat = "} {
		if bytes.HasPrefix(rest, []byte(word)) {
			return true
		}
	}
	return false
}

// isLegacy accepts what the runner of 2024 writes: "INFO [main] build info | …" and
// {"function":"…","level":"INFO",…}.
func isLegacy(b []byte) bool {
	for _, level := range [...]string{"INFO [", "DEBUG [", "VERB ["} {
		if rest, ok := bytes.CutPrefix(b, []byte(level)); ok {
			at := bytes.IndexByte(rest, ']')
			return at > 0 && at <= 40 && bytes.Contains(rest[at:], []byte(` tid="`))
		}
	}
	if bytes.HasPrefix(b, []byte(`{"function":"`)) || bytes.HasPrefix(b, []byte(`{"timestamp":`)) {
		head := b[:min(len(b), 256)]
		return bytes.Contains(head, []byte(`"level":"INFO"`)) || bytes.Contains(head, []byte(`"level":"DEBUG"`)) || bytes.Contains(head, []byte(`"level":"VERB"`))
	}
	return false
}
