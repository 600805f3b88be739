package pyrepr_test

import (
	"bytes"
	"testing"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

func TestText(t *testing.T) {
	for literal, want := range map[string]string{
		`'plain'`:                      "plain",
		`"it's"`:                       "it's",
		`'a \'quote\' and \\ and'`:     `a 'quote' and \ and`,
		`'\n\r\t\x1b\u00e9\U0001f600'`: "\n\r\t\x1bé😀",
		`'\ud800'`:                     "\uFFFD",
		`'\q\x1'`:                      `\q\x1`,
		`'open`:                        "",
		`'a' 'b'`:                      "",
		`None`:                         "",
		``:                             "",
	} {
		if got := pyrepr.Text([]byte(literal)); got != want {
			t.Errorf("%s: %q, want %q", literal, got, want)
		}
	}
}

// TestPairs: nested values are one value, whatever they hold.
func TestPairs(t *testing.T) {
	b := pyrepr.Arguments([]byte(`Req(text='a, b=\')', ids=[1, (2, 'x]')], params={'t': 0.1, 'k': None}, rid='r')`))
	var got []string
	for {
		key, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			break
		}
		got = append(got, string(key)+" "+string(value))
		b = rest
	}
	want := []string{`text 'a, b=\')'`, `ids [1, (2, 'x]')]`, `params {'t': 0.1, 'k': None}`, `rid 'r'`}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// FuzzValues: values end inside the line, and reading never panics.
func FuzzValues(f *testing.F) {
	f.Add([]byte(`{'a': [1, 'x'], "b": (None,)}`))
	f.Add([]byte(`Req(a='b\'', c=[])`))
	f.Add([]byte(`'\x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if end := pyrepr.EndOfValue(b); end > len(b) {
			t.Fatal(end)
		}
		pyrepr.Text(b)
		pyrepr.FirstText(b)
		if n, ok := pyrepr.CountElements(b); ok && n > int64(len(b)) {
			t.Fatal(n)
		}
		for rest := pyrepr.Arguments(b); ; {
			key, value, next, ok := pyrepr.NextPair(rest)
			if !ok {
				break
			}
			if len(next) >= len(rest) || !bytes.Contains(b, key) || !bytes.Contains(b, value) {
				t.Fatalf("%q: %q %q", b, key, value)
			}
			rest = next
		}
	})
}
