package syslog

import (
	"bytes"
	"testing"
)

func TestContent(t *testing.T) {
	for _, test := range []struct{ message, want string }{
		{"<134>1 2026-11-21T09:03:19.123456Z gpu-07 vllm 4711 - - {\"a\":1}", `{"a":1}`},
		{"<134>1 - - - - - -", ""},
		{"<134>1 - - - - - - ", ""},
		{"<134>1 - - - - - - \xef\xbb\xbfwith a mark", "with a mark"},
		{`<134>1 - - - - - [a@1 b="\"]\\" c="]"][d] text`, "text"},
		{"<134>1 - - - - - [a@1 b=\"never ends", "<134>1 - - - - - [a@1 b=\"never ends"},
		{"<134>1 - - - - - [a]text", "<134>1 - - - - - [a]text"},
		{"<134>1 - - - text", "<134>1 - - - text"},
		{"<13>Nov 21 09:03:19 gpu-07 nginx: 127.0.0.1 - - [x]", "127.0.0.1 - - [x]"},
		{"<13>Nov  1 09:03:19 gpu-07 vllm[4711]: INFO:     started", "INFO:     started"},
		{"<13>Nov 21 09:03:19 vllm[4711]: local form", "local form"},
		{"<13>Nov 21 09:03:19 vllm: local: form", "local: form"},
		{"<13>2026-11-21T09:03:19.1+01:00 gpu-07 vllm[1]:no space", "no space"},
		{"<13>2026-11-21T09:03:19Z fe80::1 app: over IPv6", "over IPv6"},
		{"<13>Nov 21 09:03:19 gpu-07 no tag here", "<13>Nov 21 09:03:19 gpu-07 no tag here"},
		{"<13>Nov 21 09:03:19 app:", ""},
		{"<13>text only", "<13>text only"},
		{"<1345>1 - - - - - - x", "<1345>1 - - - - - - x"},
		{"<>x", "<>x"},
		{"", ""},
		{"{\"a\":1}", "{\"a\":1}"},
		{"Nov 21 09:03:19 gpu-07 nginx: without priority", "Nov 21 09:03:19 gpu-07 nginx: without priority"},
		{"<13>Xov 21 09:03:19 gpu-07 nginx: x", "<13>Xov 21 09:03:19 gpu-07 nginx: x"},
		{"<13>anF 21 09:03:19 gpu-07 nginx: x", "<13>anF 21 09:03:19 gpu-07 nginx: x"},
	} {
		if got := Content([]byte(test.message)); string(got) != test.want {
			t.Errorf("%q: %q, want %q", test.message, got, test.want)
		}
	}
}

// FuzzContent: the content is the end of the message, and what has no priority
// is content.
func FuzzContent(f *testing.F) {
	for _, seed := range []string{
		"<134>1 2026-11-21T09:03:19.123456Z gpu-07 vllm 4711 - [a b=\"\\\"]\"] text", "<13>Nov 21 09:03:19 gpu-07 nginx[1]: text",
		"<13>2026-11-21T09:03:19+01:00 app: text", "<13>", "text",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		content := Content(message)
		if !bytes.HasSuffix(message, content) {
			t.Fatalf("%q is not the end of %q", content, message)
		}
		if len(message) > 0 && message[0] != '<' && len(content) != len(message) {
			t.Fatalf("%q became %q", message, content)
		}
	})
}
