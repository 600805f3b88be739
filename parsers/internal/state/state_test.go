package state_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/state"
)

var refs = []parsers.Ref{
	{Generation: "g", Path: "/a", Offset: 0, Size: 10, Lines: 1},
	{Generation: "g", Path: "/a", Offset: 10, Size: 12, Lines: 3},
	{Generation: "h", Path: "/a", Offset: 0, Size: 1 << 40, Lines: 1},
}

func encoded() []byte {
	var e state.Encoder
	e.Number(-7)
	e.Text("text")
	e.Data([]byte{0, 1})
	e.Data(nil)
	e.Time(time.Unix(1, 2))
	e.Flags(true, false, true)
	e.Refs(refs[:1])
	e.Refs(refs[1:])
	return e.Bytes
}

// A secret that a log wrote into a path or a name is not written to the disk.
func TestSecrets(t *testing.T) {
	secret := "sk-" + "test-alice"
	var e state.Encoder
	e.Text("before")
	e.Text("/v1/keys/" + secret)
	e.Text("behind")
	if bytes.Contains(e.Bytes, []byte(secret)) {
		t.Errorf("%q", e.Bytes)
	}
	d := state.NewDecoder(e.Bytes)
	if before, text, behind := d.Text(), d.Text(), d.Text(); before != "before" || text != "/v1/keys/[KEY]" || behind != "behind" || !d.Done() {
		t.Errorf("%q, %q, %q", before, text, behind)
	}
}

func TestRoundTrip(t *testing.T) {
	d := state.NewDecoder(encoded())
	if n := d.Number(); n != -7 {
		t.Errorf("number %d", n)
	}
	if s := d.Text(); s != "text" {
		t.Errorf("text %q", s)
	}
	if b := d.Data(); !bytes.Equal(b, []byte{0, 1}) {
		t.Errorf("data %q", b)
	}
	if b := d.Data(); b != nil {
		t.Errorf("no data: %q", b)
	}
	if at := d.Time(); !at.Equal(time.Unix(1, 2)) {
		t.Errorf("time %v", at)
	}
	var flags [3]bool
	d.Flags(&flags[0], &flags[1], &flags[2])
	if flags != [3]bool{true, false, true} {
		t.Errorf("flags %v", flags)
	}
	if got := append(d.Refs(1), d.Refs(2)...); !slices.Equal(got, refs) {
		t.Errorf("refs %v", got)
	}
	if !d.Done() || d.Failed() {
		t.Error("not done")
	}
}

// FuzzDecoder: any bytes are read without a panic, a fault lasts, and what
// decodes does not take more memory than the bytes justify.
func FuzzDecoder(f *testing.F) {
	f.Add(encoded())
	f.Add([]byte{0x80})
	f.Add([]byte{8, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := state.NewDecoder(b)
		d.Number()
		size := len(d.Text()) + len(d.Data()) + len(d.Data())
		d.Time()
		var flag bool
		d.Flags(&flag)
		count := len(d.Refs(1 << 20))
		if size > len(b) || count > len(b) {
			t.Fatalf("%d bytes became a text of %d and %d refs", len(b), size, count)
		}
		if d.Failed() && (d.Done() || d.Number() != 0 || d.Text() != "" || d.Refs(1) != nil) {
			t.Fatal("reads on after a fault")
		}
	})
}

// TestTimes: any year that a log can have, and no time at all, come back.
func TestTimes(t *testing.T) {
	times := []time.Time{
		{},
		time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(1677, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	}
	var e state.Encoder
	for _, at := range times {
		e.Time(at)
	}
	d := state.NewDecoder(e.Bytes)
	for _, want := range times {
		if at := d.Time(); !at.Equal(want) || at.IsZero() != want.IsZero() {
			t.Errorf("%v came back as %v", want, at)
		}
	}
	if !d.Done() {
		t.Error("something is left")
	}
	e = state.Encoder{}
	e.Number(1 << 60)
	e.Number(0)
	if d = state.NewDecoder(e.Bytes); !d.Time().IsZero() || !d.Failed() {
		t.Error("no year is that late")
	}
}
