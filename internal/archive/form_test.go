package archive

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is no record to a strict reader, and what is one to every reader.
func TestObjectWalk(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"n%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for text, want := range map[string]string{
		`{}`: "", ` {}`: "-", `{} `: "-", `{ }`: "",
		`{"a":1}`: "a=1",
		`{"a":1,"b":[1,{"c":null}],"d":{"e":{}}}`:     `a=1 b=[1,{"c":null}] d={"e":{}}`,
		"{ \"a\" :\t1 ,\r\"b\":\n[ ] }":               "a=1 b=[ ]",
		`{"a\u0062":"\u00e9\ud83d\ude00\/\""}`:        `ab="\u00e9\ud83d\ude00\/\""`,
		`{"é":"日本語","x":"` + "\x7f" + `"}`:            "é=\"日本語\" x=\"\x7f\"",
		`{"a":-0.5e+10,"b":0,"c":10,"d":1E5,"e":0.0}`: "a=-0.5e+10 b=0 c=10 d=1E5 e=0.0",
		`{"a":true,"b":false,"c":null}`:               "a=true b=false c=null",
		`{"x":{"a":1,"a":2}}`:                         `x={"a":1,"a":2}`, // grammar alone
		deep(maxNesting):                              "a=" + deep(maxNesting)[5:2*maxNesting+5],

		``: "-", `[]`: "-", `null`: "-", `{`: "-", `{}{}`: "-", `{"a":1}x`: "-", "\ufeff{}": "-", deep(maxNesting + 1): "-",
		`{"a":1,}`: "-", `{,"a":1}`: "-", `{"a" 1}`: "-", `{"a"}`: "-", `{"a":}`: "-", `{"a":1 "b":2}`: "-", `{a:1}`: "-", `{'a':1}`: "-", `{"a:1}`: "-",
		`{"a":[1,2,"agent":1}`: "-", `{"a":[1,]}`: "-", `{"a":[,1]}`: "-", `{"a":[1}`: "-", `{"a":{"b":1]}`: "-", `{"a":{1:2}}`: "-", `{"a":{"b"}}`: "-",
		`{"a":{"b":1,}}`: "-", `{"a":[1 2]}`: "-",
		`{"a":01}`: "-", `{"a":1.}`: "-", `{"a":.5}`: "-", `{"a":1e}`: "-", `{"a":1e+}`: "-", `{"a":+1}`: "-", `{"a":-}`: "-", `{"a":0x1}`: "-", `{"a":NaN}`: "-",
		`{"a":nul}`: "-", `{"a":True}`: "-", `{"a":Infinity}`: "-",
		`{"a":"\x"}`: "-", `{"a":"\u12g4"}`: "-", `{"a":"\u12"}`: "-", `{"a":"\`: "-", "{\"a\":\"\t\"}": "-", "{\"a\":\"1234567\x00\"}": "-", "{\"a\":\"\x1f234567890\"}": "-",
		"{\"a\":\"\xff\"}": "-", "{\"a\":\"\xed\xa0\x80\"}": "-", "{\"\xc0\x80\":1}": "-",
		`{"a":1,"a":1}`: "-", `{"a":1,"b":2,"\u0061":3}`: "-", `{"":1,"":2}`: "-", many(maxNames + 1): "-",
	} {
		var got []string
		err := new(object).walk([]byte(text), func(name, value []byte) { got = append(got, string(name)+"="+string(value)) })
		switch {
		case (err != nil) != (want == "-"):
			t.Errorf("%.60q: error %v", text, err)
		case err == nil && strings.Join(got, " ") != want:
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
	if err := new(object).walk([]byte(many(maxNames)), func(_, _ []byte) {}); err != nil {
		t.Errorf("%d names: %v", maxNames, err)
	}
}

// FuzzObjectWalk holds the walk to what encoding/json takes, which lets names stand
// twice and takes bytes that are no UTF-8.
func FuzzObjectWalk(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":"c\u00e9"}],"d":-1.5e3,"e":{"f":null}}`, `{"a":1,"a":2}`, `{"12345678":"\\\\\\\""}`, `{"a":"` + "\x80" + `"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var o object
		members := make(map[string]string)
		err := o.walk(text, func(name, value []byte) {
			if !json.Valid(value) {
				t.Errorf("%q is a value of %q", value, text)
			}
			members[string(name)] = string(value)
		})
		var want map[string]json.RawMessage
		lenient := json.Unmarshal(text, &want) == nil && want != nil && utf8.Valid(text) && text[0] == '{' && text[len(text)-1] == '}'
		switch {
		case err == nil && !lenient:
			t.Fatalf("%q is taken, which encoding/json refuses", text)
		case err != nil && lenient && !strings.Contains(err.Error(), "stands twice") && !strings.Contains(err.Error(), "more than") && len(text) < maxNesting:
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		for name, value := range want {
			if members[name] != string(value) {
				t.Errorf("%q: member %q is %q, want %q", text, name, members[name], value)
			}
		}
	})
}

// BenchmarkObjectWalk is what it costs that every line is looked through.
func BenchmarkObjectWalk(b *testing.B) {
	for name, text := range map[string]string{
		"fields":     fields,
		"ascii text": `{"event":"model.inference","input":{"mode":"full","text":"` + strings.Repeat(`What is said, \"once\" and again.\n`, 100) + `"},"agent":{"id":"gpu-07","seq":17}}`,
		"other text": `{"event":"model.inference","input":{"mode":"full","text":"` + strings.Repeat(`日本語の文章です。`, 100) + `"},"agent":{"id":"gpu-07","seq":17}}`,
	} {
		b.Run(name, func(b *testing.B) {
			line := []byte(text)
			var o object
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if err := o.walk(line, func(_, _ []byte) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
