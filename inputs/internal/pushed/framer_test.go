package pushed

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/inputs"
)

type framed struct {
	data string
	cut  inputs.Cut
}

// reference is what a framer must make of a stream.
func reference(stream []byte, maxLine int) []framed {
	var out []framed
	for len(stream) > 0 {
		line, rest, ended := bytes.Cut(stream, []byte{'\n'})
		if ended {
			line = bytes.TrimSuffix(line, []byte{'\r'})
		}
		one := framed{data: string(line)}
		if len(line) > maxLine {
			one = framed{data: string(line[:maxLine]), cut: inputs.Cut{Length: int64(len(line)), SHA256: sha256.Sum256(line)}}
		}
		out = append(out, one)
		stream = rest
	}
	return out
}

func frameAll(t interface{ Fatal(args ...any) }, r io.Reader, maxLine int) []framed {
	f := NewFramer(int64(maxLine))
	var out []framed
	add := func(data []byte, cut *inputs.Cut) {
		one := framed{data: string(data)}
		if cut != nil {
			one.cut = *cut
		}
		out = append(out, one)
	}
	for {
		err := f.Fill(r)
		for {
			data, cut, ok := f.Next()
			if !ok {
				break
			}
			add(data, cut)
		}
		if limit := max(2*idleBuffer, maxLine+2+firstRead); len(f.buf) > limit {
			t.Fatal("the buffer grew to", len(f.buf), "bytes, limit", limit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if data, cut, ok := f.Rest(); ok {
		add(data, cut)
	}
	if _, _, ok := f.Rest(); ok {
		t.Fatal("there is a second rest")
	}
	return out
}

func TestFramerAgainstReference(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "bc", "\n", "\r", "\r\n", "\x00", "0123456789", strings.Repeat("long", 9)})
	rapid.Check(t, func(t *rapid.T) {
		stream := []byte(strings.Join(rapid.SliceOf(piece).Draw(t, "stream"), ""))
		maxLine := rapid.IntRange(1, 40).Draw(t, "max line")
		var r io.Reader = bytes.NewReader(stream)
		if rapid.Bool().Draw(t, "byte by byte") {
			r = iotest.OneByteReader(r)
		}
		if rapid.Bool().Draw(t, "data with the end") {
			r = iotest.DataErrReader(r)
		}
		if got, want := frameAll(t, r, maxLine), reference(stream, maxLine); !slices.Equal(got, want) {
			t.Fatalf("%q with at most %d: got %v, want %v", stream, maxLine, got, want)
		}
	})
}

func TestFramerGrowsToTheLongestLineOnly(t *testing.T) {
	stream := []byte("first\n" + strings.Repeat("x", 3<<20) + "\n" + strings.Repeat("y", 40<<20) + "\r\nlast")
	got, want := frameAll(t, bytes.NewReader(stream), 4<<20), reference(stream, 4<<20)
	if !slices.Equal(got, want) {
		t.Errorf("%d lines of the stream are not the wanted %d", len(got), len(want))
	}
}

func TestFramerSurvivesAReaderThatDoesNothing(t *testing.T) {
	if err := NewFramer(100).Fill(iotest.ErrReader(nil)); !errors.Is(err, errNoProgress) {
		t.Errorf("Fill returned %v", err)
	}
}

func FuzzFramer(f *testing.F) {
	f.Add([]byte("a\nb\r\n\r\rlong long long\nrest\r"), 4)
	f.Fuzz(func(t *testing.T, stream []byte, maxLine int) {
		maxLine = 1 + maxLine&0xff
		if got, want := frameAll(t, bytes.NewReader(stream), maxLine), reference(stream, maxLine); !slices.Equal(got, want) {
			t.Errorf("%q with at most %d: got %v, want %v", stream, maxLine, got, want)
		}
	})
}
