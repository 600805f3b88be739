package framing

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// FuzzDocker compares with encoding/json: what docker writes is taken out whole,
// and what is taken out is what encoding/json reads.
func FuzzDocker(f *testing.F) {
	for _, text := range []string{"a\n", "a", "\r\n", "<\x1b[0m\u2028>&\"\\/\b\f\t\n", "\xff😀\x00\n", `\ud83dx`} {
		f.Add([]byte(text))
		f.Add([]byte(docker("stderr", text)))
	}
	f.Add([]byte(`{"log":"\ud83d\ud83d\ude00","l":{"a":[1,"]"]},"stream":"stdout","time":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var memory arena
		if p, ok := peelDocker(&memory, data); ok && utf8.Valid(data) && json.Valid(data) {
			var object map[string]any
			if err := json.Unmarshal(data, &object); err != nil {
				t.Fatal(err)
			}
			want, _ := object["log"].(string)
			same(t, p, want)
		}
		text := strings.ToValidUTF8(string(data), "\ufffd")
		line, err := json.Marshal(struct {
			Log    string            `json:"log"`
			Stream string            `json:"stream"`
			Attrs  map[string]string `json:"attrs"`
			Time   string            `json:"time"`
		}{text, "stdout", map[string]string{text: text}, "2026-02-01T10:00:00Z"})
		if err != nil {
			t.Fatal(err)
		}
		p, ok := peelDocker(&memory, line)
		if !ok {
			t.Fatalf("%s does not fit", line)
		}
		same(t, p, text)
	})
}

// same compares with what stands in "log".
func same(t *testing.T, p peeled, log string) {
	t.Helper()
	want, ended := strings.CutSuffix(log, "\n")
	if ended {
		want = strings.TrimSuffix(want, "\r")
	}
	if string(p.text) != want || p.more == ended {
		t.Fatalf("%q, split %v, of %q", p.text, p.more, log)
	}
}

// FuzzPeel takes any bytes out of any wrapper: what is inside is the end of the
// line, or the line.
func FuzzPeel(f *testing.F) {
	for _, e := range examples() {
		for line := range strings.Lines(e.data) {
			f.Add([]byte(strings.TrimSuffix(line, "\n")))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var memory arena
		for _, w := range []Wrapper{WrapperNone, WrapperCRI, WrapperSyslog} {
			p := w.peel(&memory, line, false)
			if !bytes.HasSuffix(line, p.text) || p.stream >= Streams {
				t.Errorf("%s: %q in %q", w, p.text, line)
			}
			if w != WrapperCRI && p.more {
				t.Errorf("%s: %q is split", w, line)
			}
		}
		WrapperDocker.peel(&memory, line, true)
		for _, e := range []Encoding{UTF8, UTF16, Latin1} {
			framer, err := New(Config{Encoding: e, Wrapper: WrapperAuto}, 100)
			if err != nil {
				t.Fatal(err)
			}
			first, ok := framer.Decide(line, false)
			if again, still := framer.Decide(append(slices.Clip(line), "\n\n\n"...), true); ok && (!still || again != first) {
				t.Errorf("%s: %q is %v, and %v when there is more", e, line, first, again)
			}
		}
	})
}

// FuzzDecode compares with package utf16, and checks that line ends are found
// from the front and from the back.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xff\xfe" + wide("aä\u0a0d\n😀\r\n", false) + "\x3d\xd8"))
	f.Add([]byte(wide("\ud7ffa\n", true) + "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var memory arena
		for e, order := range map[Encoding]binary.ByteOrder{UTF16LE: binary.LittleEndian, UTF16BE: binary.BigEndian} {
			var units []uint16
			for i := 0; i+1 < len(data); i += 2 {
				units = append(units, order.Uint16(data[i:]))
			}
			want := string(utf16.Decode(units))
			if len(data)%2 != 0 {
				want += "\ufffd"
			}
			if got := string(e.decode(&memory, data, 2)); got != want {
				t.Errorf("%s: %q, want %q", e, got, want)
			}
			if got := string(e.decode(&memory, data, 0)); got != strings.TrimPrefix(want, "\ufeff") {
				t.Errorf("%s at the beginning: %q, want %q", e, got, want)
			}
			for place := range int64(2) {
				at := 0
				for {
					end := e.LineEnd(data[at:], place+int64(at))
					if end < 0 {
						break
					}
					at += end
				}
				if last := e.LastLineEnd(data, place); last != at {
					t.Errorf("%s: the last line of %q ends at %d from the back, at %d from the front", e, data, last, at)
				}
			}
		}
	})
}
