package file

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

const criTime = "2025-11-07T04:31:25.101000521Z "

// wrapCRI writes lines as a runtime does that splits long ones, each second
// line to the other stream, and puts the next line between the parts of one.
func wrapCRI(lines []string) string {
	var b strings.Builder
	streams := []string{"stdout", "stderr"}
	var rest string // second part of the line before, of the other stream
	for i, line := range lines {
		stream := streams[i%2]
		head, tail := line, ""
		if len(line) > 40 || i%7 == 3 {
			head, tail = line[:len(line)/2], line[len(line)/2:]
			for len(head) > 16<<10 {
				b.WriteString(criTime + stream + " P " + head[:16<<10] + "\n")
				head = head[16<<10:]
			}
			b.WriteString(criTime + stream + " P " + head + "\n")
		} else {
			b.WriteString(criTime + stream + " F " + head + "\n")
		}
		b.WriteString(rest)
		rest = ""
		if tail != "" || head != line {
			rest = criTime + stream + " F " + tail + "\n"
		}
	}
	return b.String() + rest
}

func wrapDocker(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		for half, text := range []string{line[:len(line)/2], line[len(line)/2:]} {
			b.WriteString(`{"log":"`)
			for _, c := range []byte(text) {
				switch {
				case c == '"' || c == '\\':
					b.WriteString(`\` + string(c))
				case c < ' ':
					fmt.Fprintf(&b, `\u%04x`, c)
				default:
					b.WriteByte(c)
				}
			}
			fmt.Fprintf(&b, `%s","stream":"stdout","attrs":{"n":%d},"time":"2026-02-01T10:00:00.1Z"}`+"\n", strings.Repeat(`\n`, half), i)
		}
	}
	return b.String()
}

func wrapSyslog(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("<134>1 2026-11-21T09:03:19+00:00 gpu-box uvicorn 4242 - [a b=\"]\"] \xef\xbb\xbf" + line + "\n")
	}
	return b.String()
}

func wrapNothing(lines []string) string { return strings.Join(lines, "\n") + "\n" }

func TestConformanceFramed(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		wrap   func([]string) string
	}{
		"cri":                     {Config{Wrapper: WrapperCRI}, wrapCRI},
		"docker, recognised":      {Config{Wrapper: WrapperAuto}, wrapDocker},
		"syslog":                  {Config{Wrapper: WrapperSyslog}, wrapSyslog},
		"every line begins one":   {Config{Multiline: Multiline{Start: "^", Timeout: 20 * time.Millisecond}}, wrapNothing},
		"no line continues one":   {Config{Multiline: Multiline{Continue: "^never", Timeout: 20 * time.Millisecond}}, wrapNothing},
		"cri, every line, latest": {Config{Wrapper: WrapperAuto, Multiline: Multiline{Start: "^", Timeout: 20 * time.Millisecond}}, wrapCRI},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inputstest.Test(t, func(t testing.TB) inputstest.Subject {
				dir := t.TempDir()
				config := c.config
				config.Paths = []string{filepath.Join(dir, "*.log")}
				return inputstest.Subject{
					New:  func(t testing.TB) inputs.Input { return newInput(t, config) },
					Feed: func(t testing.TB, lines []string) { appendTo(t, filepath.Join(dir, "x.log"), c.wrap(lines)) },
				}
			})
		})
	}
}

// scanned returns the lines of one scan of a file with the given content.
func scanned(t *testing.T, config Config, data string) []inputstest.Line {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.log")
	appendTo(t, name, data)
	config.Paths = []string{name}
	to := inputstest.NewRecorder(t)
	if err := newInput(t, config).Scan(t.Context(), nil, to); err != nil {
		t.Fatal(err)
	}
	return to.Lines()
}

// same strips what differs between two files with the same content.
func same(lines []inputstest.Line) []inputstest.Line {
	out := slices.Clone(lines)
	for i := range out {
		out[i].Path, out[i].Generation = "", ""
	}
	return out
}

// TestFramedKilledAnywhere kills the agent between two bytes of joined,
// interleaved lines, and again where the next line begins.
func TestFramedKilledAnywhere(t *testing.T) {
	data := wrapCRI([]string{
		"Traceback (most recent call last) that is long enough to be split", "one", "  File", "two and more than forty bytes of it, so it is split",
		"Error: x", "three", "four", " five that belongs to four and is split too by the runtime", "six",
	})
	config := Config{Wrapper: WrapperAuto, Multiline: Multiline{Continue: `^\s`, Timeout: time.Hour}}
	want := same(scanned(t, config, data))
	if len(want) != 7 {
		t.Fatalf("%d lines: %+v", len(want), want)
	}
	for at := 1; at < len(data); at += 23 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, killed)
			s.config = config
			s.config.Paths = []string{s.log}
			appendTo(t, s.log, data[:at])
			s.start()
			s.to.Wait(30*time.Millisecond, func() bool { return false })
			s.restart(func() { appendTo(t, s.log, data[at:]) })
			s.to.Wait(30*time.Millisecond, func() bool { return s.to.Count() == len(want) })
			s.running.Kill(s.to)
			if err := newInput(t, s.config).Scan(t.Context(), s.to.Resume(), s.to); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, same(s.to.Lines())); diff != "" {
				t.Errorf("killed at %d (-want +got):\n%s", at, diff)
			}
		})
	}
}

// TestFramedRotation rotates wrapped and joined lines at 50,000 a second.
func TestFramedRotation(t *testing.T) {
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Wrapper = WrapperCRI
		s.start()
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		s.openWriter()
		for i := range 300 {
			<-ticker.C
			var lines []string
			for n := range 50 {
				lines = append(lines, fmt.Sprintf("%06d %s", i*50+n, strings.Repeat("x", n)))
			}
			s.expect(lines...)
			s.file.WriteString(wrapCRI(lines))
			switch i % 100 {
			case 50:
				s.rotate()
			case 80:
				s.restart(s.rotate)
			}
		}
		s.finish()
		s.noGaps()
	})
}

func TestJoinTimesOut(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Wrapper = WrapperCRI
	s.config.Multiline = Multiline{Start: `^\S`, Timeout: 60 * time.Millisecond}
	appendTo(t, s.log, criTime+"stdout P of which no end comes\n"+criTime+"stderr F held back\n"+criTime+"stderr F  by it\n")
	s.start()
	s.to.WaitLines(2)
	appendTo(t, s.log, criTime+"stdout F the end\n")
	s.to.WaitLines(3)
	s.running.Stop()
	var got []string
	for _, line := range s.to.Lines() {
		got = append(got, fmt.Sprintf("%q %d %v", line.Data, line.Physical, line.Partial))
	}
	want := []string{`"of which no end comes" 1 true`, `"held back\n by it" 2 false`, `"the end" 1 false`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestOneStreamTimesOut: lines that come all the time on one stream do not
// keep the other one's waiting.
func TestOneStreamTimesOut(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Wrapper = WrapperCRI
	s.config.Multiline = Multiline{Start: `^\S`, Timeout: 100 * time.Millisecond}
	appendTo(t, s.log, criTime+"stdout P open\n")
	s.start()
	for i := 0; !slices.Contains(s.to.Data(), "open"); i++ {
		if i == 3000 {
			t.Fatal("the open line never ended")
		}
		appendTo(t, s.log, fmt.Sprintf("%sstderr F %d\n", criTime, i))
		s.to.Wait(5*time.Millisecond, func() bool { return false })
	}
	s.running.Stop()
}

// TestJoinEndsWithItsFile: a rotated file is over before the timeout is.
func TestJoinEndsWithItsFile(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Multiline = Multiline{Continue: `^\s`, Timeout: time.Hour}
		appendTo(t, s.log, "a\nb\n  c\n  d without an end")
		s.start()
		s.to.WaitLines(1)
		s.restart(s.rotate)
		s.file.WriteString("e\nf\n")
		s.expect("a", "b\n  c\n  d without an end", "e")
		s.finish()
		s.noGaps()
	})
}

// TestFileDecidesOnce: what the lines of a file are is known from its head, also
// after a restart in the middle of it.
func TestFileDecidesOnce(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Wrapper, s.config.Encoding = WrapperAuto, EncodingUTF16
		big := func(text string) string {
			b := []byte(wide(text))
			for i := 0; i < len(b); i += 2 {
				b[i], b[i+1] = b[i+1], b[i]
			}
			return string(b)
		}
		appendTo(t, s.log, "\xfe\xff"+big(criTime+"stdout F one\n"))
		s.start()
		s.to.WaitLines(1)
		s.restart(func() { appendTo(t, s.log, big("plain\n"+criTime+"stdout F two\n")) })
		s.expect("one", "plain", "two")
		s.finish()
		s.noGaps()
	})
}

// TestFileThatWasOver grows again: its lines wait for their ends as before.
func TestFileThatWasOver(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Multiline = Multiline{Continue: `^\s`, Timeout: time.Hour}
	in := newInput(t, Config{Paths: []string{s.log}, Multiline: s.config.Multiline})
	in.limits.grace = 2 * time.Second
	s.openWriter()
	s.file.WriteString("first\na\n  b")
	s.running = inputstest.Start(t, in, s.to)
	s.to.WaitLines(1) // it is open
	s.rename(s.log, s.log+".1")
	s.to.WaitLines(2)
	s.file.WriteString("c\n d")
	s.to.Wait(100*time.Millisecond, func() bool { return false })
	s.file.WriteString("e\n")
	s.to.WaitLines(3)
	s.running.Stop()
	if got := s.to.Data(); !slices.Equal(got, []string{"first", "a\n  b", "c\n de"}) {
		t.Errorf("lines %q", got)
	}
}

func TestHalfCharacters(t *testing.T) {
	long := &longLine{encoding: EncodingUTF16LE, scanned: 100}
	for _, c := range []struct {
		place int64
		final bool
		want  int
	}{{100, false, 2}, {101, false, 3}, {100, true, 3}} {
		if got := len(long.whole([]byte("a\x00b"), c.place, c.final)); got != c.want {
			t.Errorf("%d bytes are whole at %d, final %v, want %d", got, c.place, c.final, c.want)
		}
	}
	g := &generation{size: 101, limit: math.MaxInt64, long: long, looked: 101}
	if g.ready() {
		t.Error("half a character is something to read")
	}
	if g.size = 102; !g.ready() {
		t.Error("a character is nothing to read")
	}
	for _, c := range []struct {
		encoding Encoding
		feed     string
	}{{EncodingUTF16LE, "\n\x00"}, {EncodingUTF16BE, "\x00\n"}, {EncodingUTF8, ".\n"}} {
		for rest := leastRoom - 3; rest < leastRoom+3; rest++ {
			data := c.feed + strings.Repeat("x", rest)
			end, err := lastLineEnd(strings.NewReader(data), int64(len(data)), c.encoding)
			if err != nil || end != 2 {
				t.Errorf("%s: the last line before %d bytes ends at %d, %v", c.encoding, rest, end, err)
			}
		}
	}
}

// TestLongJoin joins far more than a chunk holds.
func TestLongJoin(t *testing.T) {
	part := strings.Repeat("x", 16<<10)
	line := strings.Repeat(criTime+"stdout P "+part+"\n", 200) + criTime + "stdout F end\n"
	data := strings.Repeat(line, 3) + criTime + "stderr F other\n"
	lines := scanned(t, Config{Wrapper: WrapperAuto}, data)
	if len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines[:3] {
		if l.Data != strings.Repeat(part, 200)+"end" || l.Physical != 201 || l.Size != int64(len(line)) || l.Partial {
			t.Errorf("line of %d bytes, %d parts, partial %v", len(l.Data), l.Physical, l.Partial)
		}
	}
	if lines = scanned(t, Config{Wrapper: WrapperAuto, MaxLine: 1 << 20}, data); len(lines) != 3*4+1 || !lines[0].Partial || len(lines[0].Data) != 1<<20 {
		t.Errorf("%d lines, the first of %d bytes, partial %v", len(lines), len(lines[0].Data), lines[0].Partial)
	}
}

func wide(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

// TestWideFile follows a file of two bytes a character as it grows by one.
func TestWideFile(t *testing.T) {
	s := newScene(t, without)
	s.config.Encoding, s.config.MaxLine = EncodingUTF16, 1000
	long := wide(strings.Repeat("ä\u0a0d", 3000))
	data := "\xff\xfe" + wide("ä\r\n\u0a0d 😀\n") + long + wide("\r\n\nend\n") + "x"
	s.start()
	for at := range len(data) {
		if at < 40 || at > len(data)-30 || at%1501 == 0 {
			appendTo(t, s.log, data[:at+1][int(size(t, s.log)):])
			s.to.Wait(2*time.Millisecond, func() bool { return false })
		}
	}
	s.to.WaitLines(5)
	s.running.Stop()
	want := []string{"ä", "\u0a0d 😀", strings.Repeat("ä\u0a0d", 200), "", "end"}
	if diff := cmp.Diff(want, s.to.Data()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	cut := s.to.Lines()[2].Cut
	if cut == nil || cut.Length != int64(len(long)) || cut.SHA256 != sha256.Sum256([]byte(long)) {
		t.Errorf("cut %+v of %d bytes", cut, len(long))
	}
	if err := newInput(t, s.config).Scan(t.Context(), s.to.Resume(), s.to); err != nil {
		t.Fatal(err)
	}
	if got := s.to.Data(); got[len(got)-1] != "\ufffd" {
		t.Errorf("the half character became %q", got[len(got)-1])
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestStartEndFramed skips whole lines of a file with two bytes a character.
func TestStartEndFramed(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Encoding, s.config.Start = EncodingUTF16, StartEnd
	skipped := "\xfe\xff\x00a\x00\n" + strings.Repeat("\n\n\x0a\x00", 30_000) + "\x00\n"
	appendTo(t, s.log, skipped+"\x00b")
	s.start()
	s.to.Wait(10*time.Second, func() bool { return len(s.to.Gaps()) > 0 })
	appendTo(t, s.log, "\x00\n")
	s.to.WaitLines(1)
	s.running.Stop()
	if got := s.to.Data(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("lines %q", got)
	}
	if gap := s.to.Gaps()[0]; gap.To != int64(len(skipped)) {
		t.Errorf("skipped up to %d, want %d", gap.To, len(skipped))
	}
}

// TestJoinGoesOnInCopy: the first parts of a line were read, not handed over,
// and lie in the copy by now.
func TestJoinGoesOnInCopy(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Multiline = Multiline{Continue: `^\s`, Timeout: time.Hour}
		appendTo(t, s.log, strings.Repeat("line\n", 100)+"a\n  b\n")
		s.start()
		s.to.WaitLines(100)
		s.restart(func() {
			s.copyTo(s.log + ".1")
			s.truncate()
		})
		appendTo(t, s.log, "c\n  d\ne\n")
		for range 100 {
			s.expect("line")
		}
		s.expect("a\n  b", "c\n  d")
		s.finish()
	})
}

// BenchmarkScanFramed reads 50 MB from the page cache.
func BenchmarkScanFramed(b *testing.B) {
	text := strings.Repeat("x", 150)
	for name, c := range map[string]struct {
		config Config
		line   string
	}{
		"cri":       {Config{Wrapper: WrapperCRI}, criTime + "stdout F " + text + "\n"},
		"docker":    {Config{Wrapper: WrapperDocker}, `{"log":"` + text + `\"x\"\n","stream":"stdout","time":"2026-02-01T10:00:00.1Z"}` + "\n"},
		"syslog":    {Config{Wrapper: WrapperSyslog}, "2026-11-21T09:03:19+00:00 gpu-box uvicorn[4242]: " + text + "\n"},
		"multiline": {Config{Multiline: Multiline{Start: `^\d{4}-`}}, "2026-" + text + "\n at x\n"},
		"utf-16":    {Config{Encoding: EncodingUTF16LE}, wide(text + "\n")},
	} {
		b.Run(name, func(b *testing.B) {
			name := filepath.Join(b.TempDir(), "x.log")
			count := 50_000_000 / len(c.line)
			if err := os.WriteFile(name, bytes.Repeat([]byte(c.line), count), 0o600); err != nil {
				b.Fatal(err)
			}
			config := c.config
			config.Name, config.Paths = "bench", []string{name}
			in, err := New(config, Deps{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(count * len(c.line)))
			b.ReportAllocs()
			for b.Loop() {
				to := &nowhere{}
				if err := in.Scan(b.Context(), nil, to); err != nil {
					b.Fatal(err)
				}
				if to.lines != count {
					b.Fatalf("%d lines of %d", to.lines, count)
				}
			}
		})
	}
}
