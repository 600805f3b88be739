package vllm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
)

// TestLinear: reading a line takes time in proportion to its length, wherever
// its quotes, backslashes and brackets stand. Each of these lines would take
// minutes if it did not, more than a test may.
func TestLinear(t *testing.T) {
	const length = 4 << 20
	for name, log := range map[string]string{
		"escapes":      received("chatcmpl-a", "'"+strings.Repeat(`\n`, length/2)+"'"),
		"quotes":       received("chatcmpl-a", "'"+strings.Repeat(`\'`, length/2)+"'"),
		"other quotes": received("chatcmpl-a", "'"+strings.Repeat(`"`, length)+"'"),
		"open":         stamp + "[x.py:1] Received request a: prompt: '" + strings.Repeat(`\n`, length/2) + "\n",
		"brackets":     stamp + "[x.py:1] Received request a: params: " + strings.Repeat("[]", length/2) + ".\n",
		"elements":     stamp + "[x.py:1] Received request a: params: S(), prompt_token_ids: [" + strings.Repeat("1, ", length/3) + "1].\n",
		"sections":     stamp + "[x.py:1] Received request a: params: S()" + strings.Repeat(", x: y", length/6) + ".\n",
		"pairs":        stamp + "[x.py:1] Received request a: params: S(" + strings.Repeat("n=1, ", length/5) + "n=1).\n",
		"bars":         strings.Repeat("\rLoading safetensors checkpoint shards: 1%", length/42) + "\n",
		"colours":      strings.Repeat("\x1b[0", length/3) + "\n",
		"ids":          aborted(strings.Repeat("a,", length/2) + "a"),
	} {
		t.Run(name, func(t *testing.T) {
			p := newParser(t)
			if _, _, err := p.Parse(nil, text(log)[0]); err != nil {
				t.Fatal(err)
			}
			list, _ := p.Flush(time.Time{}, []parsers.Draft{})
			for i := range list {
				if len(list[i].Held) != 1 {
					t.Errorf("made from %d lines", len(list[i].Held))
				}
			}
		})
	}
}
