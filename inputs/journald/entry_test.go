package journald

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestParseEntry(t *testing.T) {
	const cursor = `"__CURSOR":"s=1;i=2"`
	for name, test := range map[string]struct {
		json     string
		messages []string
		unit     string
	}{
		"text":                {`{` + cursor + `,"MESSAGE":"a\nä","_SYSTEMD_UNIT":"x@1.service"}`, []string{"a\nä"}, "x@1.service"},
		"bytes":               {`{` + cursor + `,"MESSAGE":[0, 255 ,10]}`, []string{"\x00\xff\n"}, ""},
		"no bytes":            {`{` + cursor + `,"MESSAGE":[]}`, []string{""}, ""},
		"null":                {`{` + cursor + `,"MESSAGE":null}`, nil, ""},
		"absent":              {`{` + cursor + `}`, nil, ""},
		"other case":          {`{` + cursor + `,"Message":"a","__cursor":"x"}`, nil, ""},
		"several":             {`{` + cursor + `,"MESSAGE":["a",[1,2],null,""]}`, []string{"a", "\x01\x02", ""}, ""},
		"unit with a path":    {`{` + cursor + `,"_SYSTEMD_UNIT":"../../etc"}`, nil, ""},
		"unit with an escape": {`{` + cursor + `,"_SYSTEMD_UNIT":"\u001b[31m"}`, nil, ""},
		"two units":           {`{` + cursor + `,"_SYSTEMD_UNIT":["a.service","b.service"]}`, nil, ""},
	} {
		e, err := parseEntry([]byte(test.json))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, m := range e.messages {
			got = append(got, string(m))
		}
		if e.cursor != "s=1;i=2" || !slices.Equal(got, test.messages) || e.unit != test.unit {
			t.Errorf("%s: cursor %q, messages %q, unit %q", name, e.cursor, got, e.unit)
		}
	}
	for name, text := range map[string]string{
		"not JSON":          `-- Boot 2f861cca62730abd3bd3d62ab0cd464d --`,
		"null":              `null`,
		"no cursor":         `{"MESSAGE":"a"}`,
		"empty cursor":      `{"__CURSOR":""}`,
		"cursor with lines": `{"__CURSOR":"s=1\n"}`,
		"long cursor":       `{"__CURSOR":"` + strings.Repeat("x", maxCursor+1) + `"}`,
		"number":            `{` + cursor + `,"MESSAGE":12}`,
		"object":            `{` + cursor + `,"MESSAGE":{"a":1}}`,
		"byte 256":          `{` + cursor + `,"MESSAGE":[256]}`,
		"half a byte":       `{` + cursor + `,"MESSAGE":[1.5]}`,
		"deep":              `{` + cursor + `,"MESSAGE":[["a"]]}`,
	} {
		if e, err := parseEntry([]byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, e)
		}
	}
}

// What is no array of bytes to the generic decoder is none by hand either.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"__CURSOR":"s=1","MESSAGE":[1,2,255]}`))
	f.Add([]byte(`{"__CURSOR":"s=1","MESSAGE":["a",[1]],"_SYSTEMD_UNIT":"x.service"}`))
	f.Add([]byte(`{"__CURSOR":"s=1","MESSAGE":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry(data)
		if err != nil {
			return
		}
		if !validCursor(e.cursor) || e.unit != "" && !validUnit(e.unit) {
			t.Errorf("cursor %q, unit %q", e.cursor, e.unit)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatalf("taken, and not JSON: %v", err)
		}
		var numbers []int
		raw := fields["MESSAGE"]
		if json.Unmarshal(raw, &numbers) != nil || len(raw) == 0 || raw[0] != '[' || strings.Contains(string(raw), "null") {
			return
		}
		if len(e.messages) != 1 || len(e.messages[0]) != len(numbers) {
			t.Fatalf("%s became %q", raw, e.messages)
		}
		for i, n := range numbers {
			if int(e.messages[0][i]) != n {
				t.Fatalf("%s became %q", raw, e.messages)
			}
		}
	})
}
