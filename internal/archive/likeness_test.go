package archive

import (
	"fmt"
	"strings"
	"testing"
)

// fields is a line as a server's log gives it.
const fields = `{"event":"model.inference","time":"2026-11-20T08:00:00.000000001Z","id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","salt":"AAAAAAAAAAA",` +
	`"model":{"name":"llama-3-8b","provider":"vllm","basis":"unresolved"},"session":{"request_id":"00112233445566778899aabbccddeeff"},` +
	`"input":{"mode":"hashed","hmac":"hmac-sha256:2026-11:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","bytes":12},` +
	`"source":{"id":"vllm","generation":"g1","offset":123456,"path":"/var/log/vllm/server.log"},"agent":{"id":"gpu-07","seq":17}}`

// look walks a text and returns its members, and what is wrong.
func look(walk func([]byte, func(name, value []byte)) error, text string) (members string, err error) {
	var b strings.Builder
	err = walk([]byte(text), func(name, value []byte) { fmt.Fprintf(&b, "%q=%q ", name, value) })
	if err != nil {
		return "", err
	}
	return b.String(), nil
}

// alike returns what a walker that saw the texts before makes of the last one, and what
// one does that saw none.
func alike(texts ...string) (got, want string, fits bool, gotErr, wantErr error) {
	var w walker
	last := texts[len(texts)-1]
	for _, text := range texts[:len(texts)-1] {
		_, _ = look(w.walk, text) // what is wrong with it, others test
	}
	for _, k := range w.kinds {
		other := likeness{text: k.text, values: append([]nameAt(nil), k.values...)}
		fits = fits || other.fits([]byte(last))
	}
	got, gotErr = look(w.walk, last)
	want, wantErr = look(new(object).walk, last)
	return got, want, fits, gotErr, wantErr
}

func TestLikeness(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(fields, from, to, 1) }
	for _, c := range []struct {
		text string
		fits bool
	}{
		{fields, true},
		{change("model.inference", "x"), true},
		{change(`"seq":17`, `"seq":18`), true},
		{change(`"seq":17`, `"seq":170`), true},
		{change(`"seq":17`, `"seq":1`), true},
		{change(`"seq":17`, `"seq":null`), true},
		{change(`"seq":17`, `"seq":"17"`), true},
		{change(`"seq":17`, `"seq":-1.5e+3`), true},
		{change(`"bytes":12}`, `"bytes":12.5}`), true},
		{change("gpu-07", `g\"pu-\u00e9`), true},
		{change("gpu-07", "日本"), true},
		{change("gpu-07", ""), true},
		{change("00112233445566778899aabbccddeeff", strings.Repeat("x", 1000)), true},

		{change("gpu-07", "\xff"), false},
		{change("gpu-07", "\x01"), false},
		{change("gpu-07", `\x`), false},
		{change("gpu-07", `g","x":"y`), false},
		{change("gpu-07", `g","id":"y`), false},
		{change(`"seq":17`, `"seq":017`), false},
		{change(`"seq":17`, `"seq":1.`), false},
		{change(`"seq":17`, `"seq":{}`), false},
		{change(`"seq":17`, `"seq": 17`), false},
		{change(`"seq":17`, `"seq":17,"seq":18`), false},
		{change(`"event"`, `"time"`), false},
		{change(`"event"`, `"EVENT"`), false},
		{change(`"event":`, `"event" :`), false},
		{change(`"salt":"AAAAAAAAAAA",`, ""), false},
		{change(`"salt":"AAAAAAAAAAA",`, `"salt":"AAAAAAAAAAA","time":"AAAAAAAAAAA",`), false},
		{fields + "x", false},
		{fields + fields, false},
		{fields[:len(fields)-1], false},
		{fields[:len(fields)-3], false},
		{fields[:20], false},
		{"", false},
	} {
		got, want, fits, gotErr, wantErr := alike(fields, c.text)
		if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%s:\n%s, %v; want\n%s, %v", c.text, got, gotErr, want, wantErr)
		}
		if fits != c.fits {
			t.Errorf("%s: it fits: %v", c.text, fits)
		}
		// What was refused must not have spoilt what it was compared with.
		if got, want, _, gotErr, _ := alike(fields, change("gpu-07", "gpu-7"), c.text, fields); got != want || gotErr != nil {
			t.Errorf("behind %s:\n%s, %v; want\n%s", c.text, got, gotErr, want)
		}
	}
}

// A line that is not as an agent writes it is nothing to compare with.
func TestNoLikeness(t *testing.T) {
	for _, text := range []string{
		`{"a": 1}`, `{"a":1} `, `{"\u0061":1}`, `{"a":1,"a":1}`,
		`{"a":"` + strings.Repeat("x", maxLike) + `"}`, `{"a":[1` + strings.Repeat(",1", maxValues) + `]}`,
	} {
		if _, _, fits, _, _ := alike(text, text); fits {
			t.Errorf("%.60s: lines are compared with it", text)
		}
	}
}

// FuzzLikeness: what was seen before changes nothing.
func FuzzLikeness(f *testing.F) {
	f.Add(`{"a":[1,{"b":"c"}],"d":-1.5e3,"e":{"f":null}}`, `{"a":[2,{"b":""}],"d":0,"e":{"f":true}}`, `{"a":[21,{"b":"\u0000"}],"d":0,"e":{"f":""}}`)
	f.Add(`{"a":{},"b":[],"c":1}`, `{"a":{},"b":[],"c":12}`, `{"a":{},"b":[],"c":1e5}`)
	f.Add(`{}`, `{"a":1}`, `{}`)
	f.Fuzz(func(t *testing.T, first, second, third string) {
		got, want, _, gotErr, wantErr := alike(first, second, third)
		if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%q, %q, %q:\n%s, %v; want\n%s, %v", first, second, third, got, gotErr, want, wantErr)
		}
	})
}

// BenchmarkLikeness is what it costs that every line is looked through, where all are
// built alike.
func BenchmarkLikeness(b *testing.B) {
	lines := [2][]byte{[]byte(fields), []byte(strings.NewReplacer("aa", "bab", "00", "12", "AA", "DE", "123456", "133456", "17", "18").Replace(fields))}
	var w walker
	b.SetBytes(int64(len(fields)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.walk(lines[i&1], func(_, _ []byte) {}); err != nil {
			b.Fatal(err)
		}
	}
}
