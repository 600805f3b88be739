package framing

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// got is a line as a test compares it.
type got struct {
	Offset, Size int64
	Physical     int
	Text         string
	Cut          int64 // length of the whole
	Partial      bool
}

// reader does with a framer what a file input does: it shows what is written,
// moves behind each cut and keeps nothing.
type reader struct {
	t      testing.TB
	framer *Framer
	file   File
	place  int64
	lines  []got
	most   int // lines of a call
}

// reads framers that are small enough for a test to reach every limit.
func newReader(t testing.TB, config Config, maxLine, longest, span int) *reader {
	t.Helper()
	framer, err := New(config, int64(maxLine))
	if err != nil {
		t.Fatal(err)
	}
	if longest > 0 {
		framer.longest, framer.span = longest, span
	}
	return &reader{t: t, framer: framer, most: 1000}
}

// show shows all that is written of a file.
func (r *reader) show(data []byte, final bool) {
	for {
		if !r.file.Decided() {
			var ok bool
			if r.file, ok = r.framer.Decide(data, final); !ok {
				return
			}
		}
		r.framer.Reset()
		framed := r.framer.Frame(r.file, Window{Data: data[r.place:], Place: r.place, Final: final, MaxLines: r.most})
		size := int64(0)
		for _, line := range framed.Lines {
			g := got{
				Offset: r.place + int64(line.Offset), Size: int64(line.Size), Physical: line.Physical,
				Text: string(line.Text), Partial: line.Partial,
			}
			if line.Cut != nil {
				g.Cut = line.Cut.Length
			}
			size += g.Size
			r.lines = append(r.lines, g)
		}
		if size != int64(framed.Size) {
			r.t.Fatalf("lines of %d bytes up to a cut at %d", size, framed.Size)
		}
		r.place += int64(framed.Size)
		if framed.Long && !r.long(data, final) || framed.Size == 0 && !framed.Long {
			return
		}
	}
}

// long takes a line that is too long to be framed.
func (r *reader) long(data []byte, final bool) bool {
	end := r.file.encoding.LineEnd(data[r.place:], r.place)
	if end < 0 {
		if !final {
			return false
		}
		end = len(data) - int(r.place)
	}
	head := data[r.place:][:min(end, r.framer.maxLine)]
	r.lines = append(r.lines, got{
		Offset: r.place, Size: int64(end), Physical: 1, Cut: int64(end),
		Text: string(r.framer.Head(r.file, head, r.place)),
	})
	r.place += int64(end)
	return true
}

// texts writes lines down for people: joined ones as "a|b", partial ones with "…".
func texts(lines []got) []string {
	var out []string
	for _, l := range lines {
		text := strings.ReplaceAll(l.Text, "\n", "|")
		if l.Partial {
			text += "…"
		}
		if l.Cut > 0 {
			text += fmt.Sprintf(" (of %d)", l.Cut)
		}
		out = append(out, text)
	}
	return out
}

func cri(stream, tag, text string) string {
	return "2025-11-07T04:31:25.1+01:00 " + stream + " " + tag + " " + text + "\n"
}

func docker(stream, text string) string {
	return `{"log":"` + text + `","stream":"` + stream + `","time":"2026-02-01T10:00:00.1Z"}` + "\n"
}

func wide(text string, bigEndian bool) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		if bigEndian {
			b.WriteByte(byte(unit >> 8))
		}
		b.WriteByte(byte(unit))
		if !bigEndian {
			b.WriteByte(byte(unit >> 8))
		}
	}
	return b.String()
}

// example is a file and what becomes of it.
type example struct {
	name   string
	config Config
	data   string
	want   []string
}

func examples() []example {
	cris, dockers := Config{Wrapper: WrapperCRI}, Config{Wrapper: WrapperDocker}
	return []example{
		{"multi-line by start", Config{Start: `^\d`}, "1 a\n b\n\tc\r\n2 d\n3 e\n\n f", []string{"1 a| b|\tc", "2 d", "3 e|| f"}},
		{"lines before the first start", Config{Start: `^\d`}, "a\nb\n1 c\n", []string{"a|b", "1 c"}},
		{"multi-line by continue", Config{Continue: `^\s`}, " a\n b\nc\n d\ne\nf\n", []string{" a| b", "c| d", "e", "f"}},
		{"at most max_lines", Config{Continue: `^\s`, MaxLines: 2}, "a\n b\n c\n d\n e\n", []string{"a| b…", " c| d…", " e"}},
		{
			"at most max_line",
			Config{Continue: `^\s`},
			"a" + strings.Repeat("\n 456789", 20) + "\n",
			[]string{"a" + strings.Repeat("| 456789", 12) + "…", " 456789" + strings.Repeat("| 456789", 7)},
		},
		{
			"cri", cris, cri("stdout", "F", "a") + cri("stderr", "F", "b \r") + cri("stdout", "F:x", "") + cri("stdout", "F", " c"),
			[]string{"a", "b ", "", " c"},
		},
		{"cri, a line without text or space", cris, "2025-11-07T04:31:25Z stdout F\n" + "2025-11-07T04:31:25Z stdout F\r\n", []string{"", ""}},
		{
			"cri, split", cris, cri("stdout", "P", "a") + cri("stdout", "P", "b\r") + cri("stdout", "F", "c\r") + cri("stdout", "F", "d"),
			[]string{"ab\rc", "d"},
		},
		{
			"cri, split and interleaved", cris, cri("stdout", "P", "a1") + cri("stderr", "F", "b") + cri("stderr", "P", "c1") +
				cri("stdout", "F", "a2") + cri("stdout", "F", "d") + cri("stderr", "F", "c2") + cri("stdout", "F", "e"),
			[]string{"a1a2", "b", "c1c2", "d", "e"},
		},
		{"cri, an end without a beginning", cris, cri("stdout", "F", "rest") + cri("stdout", "F", "a"), []string{"rest", "a"}},
		{
			"cri, a beginning without an end", cris, cri("stdout", "F", "a") + cri("stderr", "P", "b") + cri("stdout", "F", "c"),
			[]string{"a", "b…", "c"},
		},
		{
			"cri that is none", cris, "2025-11-07T04:31:25Z stdin F x\n2025-11-07 04:31:25Z stdout F x\n2025-11-07T04:31:25Z stdout X x\n" +
				"2025-11-07T04:31:25.Z stdout F x\n2025-11-07T04:31:25 stdout F x\n2025-11-07T04:31:25Z stdout FF x\n\nplain\r\n2025-11-07T04:31:25Z",
			[]string{
				"2025-11-07T04:31:25Z stdin F x", "2025-11-07 04:31:25Z stdout F x", "2025-11-07T04:31:25Z stdout X x",
				"2025-11-07T04:31:25.Z stdout F x", "2025-11-07T04:31:25 stdout F x", "2025-11-07T04:31:25Z stdout FF x", "", "plain", "2025-11-07T04:31:25Z",
			},
		},
		{
			"cri, at most max_line", cris, strings.Repeat(cri("stdout", "P", strings.Repeat("x", 40)), 5) + cri("stdout", "F", "y"),
			[]string{strings.Repeat("x", 80) + "…", strings.Repeat("x", 80) + "…", strings.Repeat("x", 40) + "y"},
		},
		{
			"cri with multi-line, a stream each",
			Config{Wrapper: WrapperCRI, Start: `^\S`},
			cri("stdout", "F", "a") + cri("stderr", "F", "Traceback") +
				cri("stdout", "F", "b") + cri("stderr", "P", "  File") + cri("stderr", "F", "Name") + cri("stdout", "F", " b2") + cri("stderr", "F", "Error"),
			[]string{"a", "Traceback|  FileName", "b| b2", "Error"},
		},
		{
			"docker", dockers, docker("stdout", `a \"\u003c\u001b[0m\u003e\" \ud83d\ude00 \ud83dx\\\/\t\n`) + docker("stderr", `b\r\n`) +
				`{ "log" : "c\n" , "attrs":{"a":["}",1,{}],"b":null}, "stream":"stdout","time":"2026-02-01T10:00:00Z" }` + "\r\n",
			[]string{"a \"<\x1b[0m>\" 😀 \ufffdx\\/\t", "b", "c"},
		},
		{"docker, split", dockers, docker("stdout", `a`) + docker("stderr", `c\n`) + docker("stdout", `b\n`), []string{"ab", "c"}},
		{
			"docker that is none", dockers, "{}\n{\"log\":1}\nx\n{\"log\":\"a\\n\",\"stream\":\"stdout\"}\n" + docker("stdin", "a") +
				docker("stdout", `\x`) + docker("stdout", `\u12g4`) + docker("stdout", `a\n","log":"b\n`) + "{\"log\":\"\n",
			[]string{
				"{}", `{"log":1}`, "x", `{"log":"a\n","stream":"stdout"}`, strings.TrimSpace(docker("stdin", "a")),
				strings.TrimSpace(docker("stdout", `\x`)), strings.TrimSpace(docker("stdout", `\u12g4`)),
				strings.TrimSpace(docker("stdout", `a\n","log":"b\n`)), `{"log":"`,
			},
		},
		{
			"syslog",
			Config{Wrapper: WrapperSyslog},
			"<134>1 2026-11-21T09:03:19Z h app 1 - -  msg\n" +
				"<134>1 2026-11-21T09:03:19.123+00:00 h app 1 ID [a@1 b=\"]\\\"\"][c] \xef\xbb\xbf msg\n<1>1 - - - - - -\n" +
				"Nov 21 09:03:19 h app[42]: msg\n<13>Nov  1 09:03:19 h kernel:  msg\n2026-11-21T09:03:19+00:00 h a-b_c/d[1.2]:msg\n" +
				"<134>1 2026-11-21T09:03:19Z h app 1 - [a msg\n<134>1 2026-11-21T09:03:19Z h app 1 - x msg\nNov 21 09:03:19 h last message repeated 2 times\nNov 21\n<999\n",
			[]string{
				"msg", " msg", "", "msg", " msg", "msg", "<134>1 2026-11-21T09:03:19Z h app 1 - [a msg",
				"<134>1 2026-11-21T09:03:19Z h app 1 - x msg", "Nov 21 09:03:19 h last message repeated 2 times", "Nov 21", "<999",
			},
		},
		{"latin-1", Config{Encoding: Latin1}, "na\xefve \x80\r\nx", []string{"naïve \u0080", "x"}},
		{"utf-16le", Config{Encoding: UTF16LE}, "\xff\xfe" + wide("a \u0a41\u0100 😀\r\n\nb\u010a\n", false), []string{"a \u0a41\u0100 😀", "", "b\u010a"}},
		{"utf-16be", Config{Encoding: UTF16BE}, wide("a \u4100\u0a41 😀\r\n\nb\u0a00\n", true), []string{"a \u4100\u0a41 😀", "", "b\u0a00"}},
		{"utf-16 by its mark", Config{Encoding: UTF16, Continue: `^ä`}, "\xfe\xff" + wide("a\nä\nb", true), []string{"a|ä", "b"}},
		{"utf-16 without a mark", Config{Encoding: UTF16}, wide("a\nb\n", false), []string{"a", "b"}},
		{"utf-16, half characters", Config{Encoding: UTF16LE}, wide("a\n", false) + "\x3d\xd8x\x00\x3d\xd8\n\x00z", []string{"a", "\ufffdx\ufffd", "\ufffd"}},
		{
			"a line too long to be framed",
			Config{Continue: `^x`},
			"a\n" + strings.Repeat("x", 200) + "\nb\nxc\n",
			[]string{"a…", strings.Repeat("x", 100) + " (of 201)", "b|xc"},
		},
		{"a line over max_line", cris, cri("stdout", "F", strings.Repeat("x", 101)), []string{strings.Repeat("x", 100) + " (of 101)"}},
		{"auto, cri", Config{Wrapper: WrapperAuto}, cri("stdout", "F", "a") + "b\n", []string{"a", "b"}},
		{"auto, docker", Config{Wrapper: WrapperAuto}, docker("stdout", `a\n`) + "b\n", []string{"a", "b"}},
		{"auto, syslog", Config{Wrapper: WrapperAuto}, "Nov 21 09:03:19 h app[42]: a\n" + cri("stdout", "F", "b"), []string{"a", cri("stdout", "F", "b")[:strings.Index(cri("stdout", "F", "b"), "\n")]}},
		{"auto, a logger that is no tag", Config{Wrapper: WrapperAuto}, "2026-11-21T09:03:19Z INFO main: a\n", []string{"2026-11-21T09:03:19Z INFO main: a"}},
		{"auto, none", Config{Wrapper: WrapperAuto}, "a\n" + cri("stdout", "F", "b"), []string{"a", "2025-11-07T04:31:25.1+01:00 stdout F b"}},
		{"auto in utf-16", Config{Wrapper: WrapperAuto, Encoding: UTF16}, "\xff\xfe" + wide(cri("stdout", "F", "ä"), false), []string{"ä"}},
	}
}

const testMaxLine = 100

// limits for a test: wide characters take twice the room.
func testLimits(c Config) (longest, span int) {
	longest = testMaxLine + 2
	if c.Encoding.wide() {
		longest *= 2
	}
	if c.Wrapper != "" {
		longest += 300
	}
	return longest, longest + 400
}

func TestFrame(t *testing.T) {
	for _, e := range examples() {
		t.Run(e.name, func(t *testing.T) {
			longest, span := testLimits(e.config)
			r := newReader(t, e.config, testMaxLine, longest, span)
			r.show([]byte(e.data), true)
			if diff := cmp.Diff(e.want, texts(r.lines)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if r.place != int64(len(e.data)) {
				t.Errorf("read up to %d of %d", r.place, len(e.data))
			}
		})
	}
}

// TestEverySplit shows each file in two parts, split at every byte, to one
// framer and to one that was started anew at the committed place.
func TestEverySplit(t *testing.T) {
	for _, e := range examples() {
		longest, span := testLimits(e.config)
		all := newReader(t, e.config, testMaxLine, longest, span)
		all.show([]byte(e.data), true)
		for _, again := range []bool{false, true} {
			for split := range len(e.data) {
				r := newReader(t, e.config, testMaxLine, longest, span)
				r.most = 1 + split%3
				r.show([]byte(e.data)[:split], false)
				if again {
					old := r
					r = newReader(t, e.config, testMaxLine, longest, span)
					r.place, r.lines = old.place, old.lines
				}
				r.show([]byte(e.data), true)
				if diff := cmp.Diff(all.lines, r.lines); diff != "" {
					t.Fatalf("%s, split at %d, started again %v (-whole +split):\n%s", e.name, split, again, diff)
				}
			}
		}
	}
}

// TestSamples takes the lines of real and attested files out of their wrappers.
func TestSamples(t *testing.T) {
	for _, test := range []struct {
		file, first     string
		physical, lines int
	}{
		{"cri-vllm.log", "(APIServer pid=1) INFO:     Started server process [1]", 32, 30},
		{"docker-json-ollama-tgi.log", `time=2026-02-01T10:00:00.100Z level=INFO source=routes.go:1636 msg="Listening on [::]:11434 (version 0.15.4)"`, 9, 9},
		{"syslog-rfc5424.log", "INFO:     Started server process [22742]", 30, 30},
		{"syslog-rsyslog-iso.log", "INFO:     Started server process [22742]", 30, 30},
		{"syslog-rsyslog-traditional.log", "INFO:     Started server process [22742]", 30, 30},
	} {
		t.Run(test.file, func(t *testing.T) {
			data := sample(t, test.file)
			r := newReader(t, Config{Wrapper: WrapperAuto}, 4<<20, 0, 0)
			r.show(data, true)
			physical := 0
			for _, line := range r.lines {
				physical += line.Physical
				if line.Partial || line.Cut > 0 || line.Text == "" || strings.HasPrefix(line.Text, "20") && r.file.wrapper == WrapperCRI {
					t.Errorf("line %+v", line)
				}
			}
			if physical != test.physical || len(r.lines) != test.lines {
				t.Errorf("%d physical lines make %d, want %d and %d", physical, len(r.lines), test.physical, test.lines)
			}
			if r.lines[0].Text != test.first {
				t.Errorf("the first is %q", r.lines[0].Text)
			}
		})
	}
}

// TestHeldBackIsBounded floods one stream while a line of the other is open.
func TestHeldBackIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		line    string
		maxLine int
	}{
		"long lines":  {strings.Repeat("x", 1000), 64 << 10},
		"empty lines": {"", 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, Config{Wrapper: WrapperCRI}, c.maxLine, 0, 0)
			data := []byte(cri("stdout", "P", "open"))
			data = append(data, bytes.Repeat([]byte(cri("stderr", "F", c.line)), 80_000)...)
			size := min(len(data), r.framer.WindowSize())
			framed := r.framer.Frame(File{encoding: UTF8, wrapper: WrapperCRI}, Window{Data: data[:size], MaxLines: 1 << 20})
			if framed.Size == 0 {
				t.Fatalf("no cut in %d bytes", size)
			}
			if first := framed.Lines[0]; string(first.Text) != "open" || !first.Partial {
				t.Errorf("the first line is %q, partial %v", first.Text, first.Partial)
			}
			if framed.Open != [Streams]int64{} {
				t.Errorf("open up to %v", framed.Open)
			}
		})
	}
}

// TestManyLinesAreNotHeld: lines that were handed over do not count as held.
func TestManyLinesAreNotHeld(t *testing.T) {
	r := newReader(t, Config{Start: "^a"}, 1000, 0, 0)
	data := strings.Repeat("a\n b\n", maxHeld)
	framed := r.framer.Frame(File{encoding: UTF8, wrapper: WrapperNone}, Window{Data: []byte(data), Final: true, MaxLines: 1 << 20})
	if len(framed.Lines) != maxHeld {
		t.Fatalf("%d lines", len(framed.Lines))
	}
	for i, line := range framed.Lines {
		if line.Partial || line.Physical != 2 {
			t.Fatalf("line %d: %+v", i, line)
		}
	}
}

// TestTextsStay: what was handed over stays as it is until Reset, although
// later calls begin lines and hand over nothing.
func TestTextsStay(t *testing.T) {
	r := newReader(t, Config{Wrapper: WrapperDocker}, 1<<20, 0, 0)
	file := File{encoding: UTF8, wrapper: WrapperDocker}
	var texts, want []string
	var lines [][]byte
	for i := range 200 {
		text := strings.Repeat(string(rune('a'+i%26)), 1000)
		open := []byte(docker("stdout", `\"`+text))
		if framed := r.framer.Frame(file, Window{Data: open, MaxLines: 10}); len(framed.Lines) != 0 {
			t.Fatalf("%d lines of an open one", len(framed.Lines))
		}
		framed := r.framer.Frame(file, Window{Data: append(open, docker("stdout", `\"\n`)...), MaxLines: 10})
		if len(framed.Lines) != 1 {
			t.Fatalf("%d lines", len(framed.Lines))
		}
		lines = append(lines, framed.Lines[0].Text)
		want = append(want, `"`+text+`"`)
	}
	for _, line := range lines {
		texts = append(texts, string(line))
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// TestExpired ends the line of one stream because nothing more came of it.
func TestExpired(t *testing.T) {
	r := newReader(t, Config{Wrapper: WrapperCRI}, 1000, 0, 0)
	first, second := cri("stdout", "P", "a"), cri("stderr", "F", "b")
	data, file := []byte(first+second), File{encoding: UTF8, wrapper: WrapperCRI}
	w := Window{Data: data, Place: 10, MaxLines: 10}
	framed := r.framer.Frame(file, w)
	if want := [Streams]int64{10 + int64(len(first)), 0}; framed.Size != 0 || framed.Open != want {
		t.Fatalf("cut at %d, open up to %v, want %v", framed.Size, framed.Open, want)
	}
	w.Expired = [Streams]int64{framed.Open[0] - 1, 10 + int64(len(data))}
	if framed = r.framer.Frame(file, w); framed.Size != 0 {
		t.Fatal("a line ended for a timeout of another")
	}
	w.Data, w.Expired = data[:len(first)], [Streams]int64{10 + int64(len(data)), 0}
	if framed = r.framer.Frame(file, w); framed.Size != 0 {
		t.Fatal("a line ended of which not all was shown")
	}
	w.Data, w.Expired = data, framed.Open
	framed = r.framer.Frame(file, w)
	if framed.Size != len(data) || len(framed.Lines) != 2 || !framed.Lines[0].Partial || framed.Lines[1].Partial {
		t.Errorf("cut at %d, lines %+v", framed.Size, framed.Lines)
	}
}

// TestNothingIsAllocated frames lines again and again: none costs memory.
func TestNothingIsAllocated(t *testing.T) {
	for name, config := range map[string]Config{"cri": {Wrapper: WrapperCRI}, "start": {Start: "^2"}, "docker": {Wrapper: WrapperDocker}} {
		line := cri("stdout", "F", "text of a line")
		if config.Wrapper == WrapperDocker {
			line = docker("stdout", `text of a \"line\"\n`)
		}
		data := bytes.Repeat([]byte(line), 1000)
		r := newReader(t, config, 1000, 0, 0)
		file, _ := r.framer.Decide(nil, true)
		allocated := testing.AllocsPerRun(20, func() {
			r.framer.Reset()
			if framed := r.framer.Frame(file, Window{Data: data, MaxLines: 10_000}); len(framed.Lines) < 999 {
				t.Fatalf("%d lines", len(framed.Lines))
			}
		})
		// Under the race detector the pool of package regexp loses its content
		// now and then, about every fourth time.
		if allocated > 500 {
			t.Errorf("%s: %v allocations for 1000 lines", name, allocated)
		}
	}
}

// FuzzFrame frames any bytes with any options, in any portions.
func FuzzFrame(f *testing.F) {
	for i, e := range examples() {
		f.Add([]byte(e.data), uint8(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, seed uint64) {
		all := examples()
		config := all[int(kind)%len(all)].config
		random := rand.New(rand.NewPCG(seed, 1))
		maxLine := 1 + random.IntN(40)
		longest := 2*maxLine + 4 + random.IntN(80)
		span := longest + random.IntN(100)
		whole := newReader(t, config, maxLine, longest, span)
		whole.show(data, true)
		accounted(t, whole, data)

		parts := newReader(t, config, maxLine, longest, span)
		parts.most = 1 + random.IntN(5)
		for shown := 0; shown < len(data); shown += 1 + random.IntN(20) {
			parts.show(data[:shown], false)
			if random.IntN(4) == 0 {
				again := newReader(t, config, maxLine, longest, span)
				again.place, again.lines, again.most = parts.place, parts.lines, parts.most
				parts = again
			}
		}
		parts.show(data, true)
		if diff := cmp.Diff(whole.lines, parts.lines); diff != "" {
			t.Errorf("in portions (-whole +portions):\n%s", diff)
		}
	})
}

// accounted checks that every byte and every physical line is in one line.
func accounted(t *testing.T, r *reader, data []byte) {
	t.Helper()
	size, physical, want := int64(0), 0, 0
	for at := 0; at < len(data); want++ {
		end := r.file.encoding.LineEnd(data[at:], int64(at))
		if end < 0 {
			end = len(data) - at
		}
		at += end
	}
	for i, line := range r.lines {
		size += line.Size
		physical += line.Physical
		if i > 0 && line.Offset <= r.lines[i-1].Offset {
			t.Fatalf("line at %d follows one at %d", line.Offset, r.lines[i-1].Offset)
		}
		if len(line.Text) > r.framer.maxLine {
			t.Fatalf("line of %d bytes", len(line.Text))
		}
	}
	if size != int64(len(data)) || physical != want || r.place != size {
		t.Fatalf("%d bytes in %d physical lines, want %d in %d", size, physical, len(data), want)
	}
}

func TestValidate(t *testing.T) {
	for says, config := range map[string]Config{
		`encoding = "utf-7"`:                    {Encoding: "utf-7"},
		`wrapper = "podman"`:                    {Wrapper: "podman"},
		"give one":                              {Start: "a", Continue: "b"},
		"multiline.start: error parsing regexp": {Start: "("},
		"multiline.continue: error parsing":     {Continue: `\1`},
		"multiline.timeout is 1ns":              {Start: "a", Timeout: 1},
		"multiline.max_lines is 1:":             {Start: "a", MaxLines: 1},
	} {
		if _, err := New(config, 1000); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", config, err, says)
		}
	}
	if !(&Config{Encoding: UTF8, Wrapper: WrapperNone}).Plain() || (&Config{Start: "a"}).Plain() {
		t.Error("plain and not are mixed up")
	}
	if slices.Contains([]bool{(&Config{Encoding: Latin1}).Plain(), (&Config{Wrapper: WrapperAuto}).Plain()}, true) {
		t.Error("an encoding or a wrapper is plain")
	}
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
