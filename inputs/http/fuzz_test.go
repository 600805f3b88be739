package httpinput

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/auditail/auditail/inputs/internal/web"
)

// FuzzSplitJSON holds the splitter against the standard library: what it takes
// is what encoding/json reads, element by element.
func FuzzSplitJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `[{}]`, `[{"a":"],[{"},{"b":[1,2,{"c":"\\\""}]}]`, "[ {\n} ,\t{\"x\":\"\\u2028\"} ]", `[1]`, `[[{}]]`, `"x"`, `null`, "[{\"\xff\":1}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, err := splitJSON(body, web.NewShare(1<<30))
		var elements []json.RawMessage
		switch trimmed := bytes.TrimSpace(body); {
		case !json.Valid(body):
		case trimmed[0] == '{':
			elements = []json.RawMessage{trimmed}
		case trimmed[0] == '[':
			if json.Unmarshal(body, &elements) != nil {
				t.Fatal("valid JSON was not read")
			}
		}
		fine := json.Valid(body) && elements != nil
		for _, element := range elements {
			fine = fine && element[0] == '{'
		}
		if (err == nil) != fine {
			t.Fatalf("accepted is %t, want %t", err == nil, fine)
		}
		if err != nil {
			return
		}
		if int(lines.Count) != len(elements) || countLines(lines.Data) != lines.Count {
			t.Fatalf("%d lines in %q, want %d", lines.Count, lines.Data, len(elements))
		}
		if lines.Count == 0 {
			return
		}
		for i, line := range bytes.Split(lines.Data, []byte{'\n'}) {
			var want bytes.Buffer
			if err := json.Compact(&want, elements[i]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(line, want.Bytes()) {
				t.Fatalf("line %d is %q, want %q", i, line, want.Bytes())
			}
		}
	})
}
