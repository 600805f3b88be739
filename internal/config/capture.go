package config

import (
	"regexp"
	"slices"
	"strings"

	"filippo.io/age"
)

// Modes of content capture that the configuration itself has to know.
const (
	CaptureHashed    = "hashed" // the default
	CaptureEncrypted = "encrypted"
)

// Capture is what is kept of prompts and answers, and of who sent them.
type Capture struct {
	Default string        `toml:"default" oneof:"none hashed redacted encrypted full"`
	Rules   []CaptureRule `toml:"rules"` // the first that fits decides
	// HMACKey holds the keys of the keyed hashes, the last one in use. Its file is
	// made on first start when it is absent; the default is capture.key under data_dir.
	HMACKey    Secret            `toml:"hmac_key"`
	Recipients []string          `toml:"recipients"` // age recipients, of the mode encrypted
	Unparsed   string            `toml:"unparsed" oneof:"hashed encrypted"`
	Pseudonyms bool              `toml:"pseudonyms"` // keyed hashes in place of user ids
	Detectors  []CaptureDetector `toml:"detectors"`
}

// CaptureRule chooses the mode of some content. What it leaves out fits all.
type CaptureRule struct {
	Input     string `toml:"input"`     // name of an input
	Model     string `toml:"model"`     // * stands for any text
	Workspace string `toml:"workspace"` // * stands for any text
	Direction string `toml:"direction" oneof:"input output"`
	Mode      string `toml:"mode,required" oneof:"none hashed redacted encrypted full"`
}

// CaptureDetector is a pattern that the mode redacted takes out beside the
// built-in ones.
type CaptureDetector struct {
	Name    string `toml:"name,required"`    // of what it finds, such as STAFF
	Pattern string `toml:"pattern,required"` // RE2; the first group, or all that matches
	Check   string `toml:"check" oneof:"luhn mod97"`
}

const (
	maxDetectors = 100
	maxPattern   = 1024
)

// detectorName stands in records and between brackets in texts.
var detectorName = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,31}$`)

func (k *checker) capture(inputs []string) {
	c, at := &k.config.Capture, path{"capture"}
	k.recipients(c.Recipients, at.key("recipients"))
	for _, mode := range []struct{ key, value string }{{"default", c.Default}, {"unparsed", c.Unparsed}} {
		k.readable(at.key(mode.key), "capture."+mode.key, mode.value)
	}
	for i := range c.Rules {
		k.captureRule(c.Rules[:i], &c.Rules[i], append(at.key("rules"), i), inputs)
	}
	seen := map[string]path{}
	for i := range c.Detectors {
		k.detector(&c.Detectors[i], append(at.key("detectors"), i), seen)
	}
	if len(c.Detectors) > maxDetectors {
		k.wrong(append(at.key("detectors"), maxDetectors), "there are more than %d capture.detectors; join patterns with |", maxDetectors)
	}
}

func (k *checker) recipients(list []string, at path) {
	seen := map[string]path{}
	for i, text := range list {
		here := append(slices.Clone(at), i)
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			if k.err == nil {
				place := k.root.at(here...).value
				k.err = place.hide(place).errorf("capture.recipients has an identity, the secret that decrypts; keep it off this host and write its recipient, which begins with age1 (age-keygen -y shows it)")
			}
			return
		}
		if parsed, err := age.ParseRecipients(strings.NewReader(text)); err != nil || len(parsed) != 1 {
			k.wrong(here, `each value of capture.recipients must be a recipient of age, such as "age1…" as age-keygen shows it; this one is not, or has a typing error`)
		}
		k.unique(seen, here, "recipient", text)
	}
}

// readable refuses the mode encrypted when nobody could decrypt.
func (k *checker) readable(at path, what, mode string) {
	if mode == CaptureEncrypted && len(k.config.Capture.Recipients) == 0 {
		k.wrong(at, `%s "encrypted" needs the key to encrypt to; add recipients = ["age1…"] to [capture]`, what)
	}
}

func (k *checker) captureRule(before []CaptureRule, rule *CaptureRule, at path, inputs []string) {
	if rule.Input+rule.Model+rule.Workspace+rule.Direction == "" {
		k.wrong(at, "a capture rule needs input, model, workspace or direction; a mode for everything is capture.default")
	}
	k.known(at.key("input"), "capture.rules", rule.Input, inputs)
	k.readable(at.key("mode"), "capture.rules.mode", rule.Mode)
	for i := range before {
		if b := &before[i]; covers(b.Input, rule.Input) && covers(b.Model, rule.Model) && covers(b.Workspace, rule.Workspace) && covers(b.Direction, rule.Direction) {
			k.wrong(at, "this capture rule never decides: the one at %s fits whenever it does; put it first", k.root.at("capture", "rules", i).value.place())
		}
	}
}

// covers tells whether a condition holds whenever the other does.
func covers(condition, other string) bool { return condition == "" || condition == other }

// known refuses the name of an input that there is not.
func (k *checker) known(at path, where, name string, inputs []string) {
	if name != "" && !slices.Contains(inputs, name) && k.err == nil {
		k.err = unknown(k.root.at(at...).value, "input", name, " in "+where, inputs)
	}
}

func (k *checker) detector(d *CaptureDetector, at path, seen map[string]path) {
	if !detectorName.MatchString(d.Name) {
		k.wrong(at.key("name"), `capture.detectors.name %q must begin with a capital letter and have at most 32 of A-Z 0-9 _, such as "STAFF"`, d.Name)
	}
	k.unique(seen, at.key("name"), "a detector named", d.Name)
	pattern, err := regexp.Compile(d.Pattern)
	switch {
	case err != nil:
		k.wrong(at.key("pattern"), "capture.detectors.pattern is not a pattern of RE2: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	case len(d.Pattern) > maxPattern:
		k.wrong(at.key("pattern"), "capture.detectors.pattern has more than %d bytes", maxPattern)
	case pattern.MatchString(""):
		k.wrong(at.key("pattern"), "capture.detectors.pattern matches the empty text; let it match at least one character")
	}
}
