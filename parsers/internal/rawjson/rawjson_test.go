package rawjson_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers/internal/rawjson"
)

// FuzzWalk: what encoding/json takes for an object is one here too, with the same
// members, strings and numbers.
func FuzzWalk(f *testing.F) {
	for _, text := range []string{
		`{"a":1,"b":"x\u00e9\ud83d\ude00\n","c":{"d":[1,{"e":"}"}]},"f":true,"g":null,"h":-1.5e3}`, `{}`, ` { } `, `{"a":}`, `{"a" 1}`, `{"a":1,}`,
		`[1,"two",[3]]`, `{"a":"\ud83d"}`, `{"a":01}`, `{"a":[}]}`, `{"a":"` + "\xff" + `"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(text, &want) == nil && want != nil
		w, ok := rawjson.Into(text)
		if !ok {
			if isObject {
				t.Fatalf("%s is not taken", text)
			}
			return
		}
		for w.Next() {
			v := w.Value
			if !isObject {
				continue
			}
			same(t, w.Key, rawjson.AppendUnescaped(nil, w.Key))
			if v.Kind == rawjson.Number && !v.IsNumber() {
				if n := bytes.IndexAny(v.Raw, "eE"); n < 0 || len(v.Raw)-n < 4 {
					t.Fatalf("%s is no number", v.Raw)
				}
			}
			if n, ok := v.Int(); ok && v.IsNumber() {
				var number int64
				if err := json.Unmarshal(v.Raw, &number); err != nil || number != n {
					t.Fatalf("%s is %d, want %d (%v)", v.Raw, n, number, err)
				}
			}
			if v.Kind == rawjson.String {
				same(t, v.Raw, v.AppendText(nil))
			}
		}
		if isObject && !w.Done() {
			t.Fatalf("%s is not walked to its end", text)
		}
	})
}

// same compares what a string says with what encoding/json reads. (That replaces
// bytes that are not UTF-8.)
func same(t *testing.T, raw, got []byte) {
	t.Helper()
	var want string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &want); err != nil {
		t.Fatal(err)
	}
	if utf8.Valid(raw) && string(got) != want {
		t.Fatalf("%s says %q, want %q", raw, got, want)
	}
}

// TestFaults: a walk through what is no JSON is not Done.
func TestFaults(t *testing.T) {
	for _, text := range []string{
		`{"a":1`, `{"a":"x}`, `{"a":[1}`, `{"a":1 "b":2}`, `{a:1}`, `{"a"}`, `{"a":nope}`, `{,}`, `[1 2]`, `{"a":[[}`,
	} {
		w, ok := rawjson.Into([]byte(text))
		for ok && w.Next() {
		}
		if ok && w.Done() {
			t.Errorf("%s was walked to its end", text)
		}
	}
}
