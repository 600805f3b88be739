package version

import (
	"runtime/debug"
	"testing"
)

func TestChoose(t *testing.T) {
	module := func(v string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: v}}
	}
	for name, test := range map[string]struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		"linker first":      {"v0.2.0-5-gabcdef0-dirty", module("v0.1.0"), "v0.2.0-5-gabcdef0-dirty"},
		"module version":    {"", module("v0.3.1"), "v0.3.1"},
		"plain go build":    {"", module("(devel)"), "dev"},
		"tests":             {"", module(""), "dev"},
		"no build info":     {"", nil, "dev"},
		"only one word":     {"v1.0 \r\nX-Evil: 1", nil, "v1.0X-Evil1"},
		"nothing but noise": {" \n", module("v0.3.1"), "v0.3.1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choose(test.linked, test.info); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestStringIsOneWord(t *testing.T) {
	if v := String(); v == "" || v != word(v) {
		t.Errorf("version %q is not one word", v)
	}
}
