package ansi_test

import (
	"testing"

	"github.com/auditail/auditail/parsers/internal/ansi"
)

func TestPlain(t *testing.T) {
	var buffer []byte
	for line, want := range map[string]string{
		"":                                "",
		"plain":                           "plain",
		"\x1b[32mINFO\x1b[0m:     x":      "INFO:     x",
		"\x1b[m\x1b[1;38;5;208mx":         "x",
		"#033[32mINFO#033[0m: #033 x":     "INFO: #033 x",
		"#033[3\x1b[31mx":                 "#033[3x",
		"a\x1b":                           "a\x1b",
		"a\x1b[":                          "a\x1b[",
		"a\x1b[31":                        "a\x1b[31",
		"\x1b[2Kgone":                     "\x1b[2Kgone",
		"\x1b\x1b[31mtwice":               "\x1btwice",
		"\x1b[3\x1b[31m1m is no sequence": "\x1b[31m is no sequence",
	} {
		var plain []byte
		plain, buffer = ansi.Plain(buffer, []byte(line))
		if string(plain) != want {
			t.Errorf("%q: %q, want %q", line, plain, want)
		}
	}
}
