package file

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func FuzzToken(f *testing.F) {
	g := &generation{
		path: "/var/log/x.log", real: "/var/log/pods/0.log", ident: fileID{device: 7, inode: 9}, offset: 3000, shift: 10,
		size: 4000, sure: 4000, modified: 12, head: sampleOf([]byte("head")), anchor: sampleOf([]byte("anchor")), loss: 5, over: true,
	}
	good, err := g.token()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1,"path_bytes":"/w==","offset":1,"head":"0:00000000000000000000000000000000","anchor":"0:00000000000000000000000000000000"}`))
	f.Add([]byte(`{"v":1,"offset":-1}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := resumedGeneration("0123456789abcdef", data)
		if err != nil {
			return
		}
		if g.place() < 0 || g.anchor.length > g.place() || g.anchor.length > sampleSize || g.head.length > sampleSize || g.path == "" {
			t.Fatalf("accepted %+v", g)
		}
		again, err := g.token()
		if err != nil {
			t.Fatal(err)
		}
		second, err := resumedGeneration(g.id, again)
		if err != nil {
			t.Fatalf("token %s of an accepted token: %v", again, err)
		}
		third, err := second.token()
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s became %s, %v", again, third, err)
		}
		// No content matches by accident, and no length makes it read beyond.
		if _, _, err := g.copied(bytes.NewReader([]byte("content")), 7, make([]byte, sampleSize)); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08"), true)
	f.Add([]byte("\x28\xb5\x2f\xfd"), false)
	f.Fuzz(func(t *testing.T, data []byte, gz bool) {
		name := filepath.Join(t.TempDir(), "x.zst")
		if gz {
			name = filepath.Join(filepath.Dir(name), "x.gz")
		}
		appendTo(t, name, string(data))
		p, err := openSource(name)
		if err != nil {
			return
		}
		defer p.close()
		if st, err := p.stat(); err != nil || st.size < 0 {
			return
		}
		var buffer [512]byte
		if n, err := p.ReadAt(buffer[:], 3); n < 0 || n > len(buffer) || n > 0 && err != nil {
			t.Errorf("ReadAt returned %d, %v", n, err)
		}
	})
}

func TestTokenKeepsNamesThatAreNotUTF8(t *testing.T) {
	g := &generation{path: "/var/log/\xff.log", real: "/var/log/\xff.log", loss: -1, limit: math.MaxInt64}
	data, err := g.token()
	if err != nil {
		t.Fatal(err)
	}
	got, err := resumedGeneration("x", data)
	if err != nil || got.path != g.path || got.real != g.real || got.loss != -1 {
		t.Errorf("%s became %+v, %v", data, got, err)
	}
}

func TestRotationOf(t *testing.T) {
	for _, c := range []struct {
		base, name, stamp string
		infix             bool
	}{
		{"x.log", "x.log.1", ".1", false},
		{"x.log", "x.log.12.gz", ".12", false},
		{"x.log", "x.log-20251121", "-20251121", false},
		{"x.log", "x-20251121.log", "-20251121", true},
		{"x.log", "x-2025-11-21T13-20-35.000.log", "-2025-11-21T13-20-35.000", true},
		{"x.log", "x.log.old", ".old", false},
		{"x.log", "x.log~", "~", false},
		{"messages", "messages.1", ".1", false},
		{"x.log", "x.log", "", false},
		{"x.log", "x-worker.log", "", false},
		{"x.log", "xy.log", "", false},
		{"x.log", "x.logrotate", "", false},
		{"x.log", "y.log.1", "", false},
	} {
		if got := rotationOf(c.base, c.name); got.stamp != c.stamp || got.infix != c.infix {
			t.Errorf("rotationOf(%q, %q) = %+v, want %q, %v", c.base, c.name, got, c.stamp, c.infix)
		}
	}
}

func TestRotationAfter(t *testing.T) {
	for _, c := range []struct {
		name          string
		modified      int64
		than          string
		thanModified  int64
		after         bool
		whatItIsAbout string
	}{
		{"x.log.1", 5, "x.log.2", 9, true, "numbers win over times"},
		{"x.log.3", 9, "x.log.2", 5, false, "a higher number is older"},
		{"x.log-20251122", 9, "x.log-20251121", 5, true, "dates by time of change"},
		{"x.log-20251120", 3, "x.log-20251121", 5, false, "an older date"},
		{"x-20251122.log", 9, "x.log.1", 5, false, "another scheme"},
		{"x-2.log", 9, "x.log", 5, false, "maybe another program's"},
		{"x.log.1", 9, "x.log", 5, true, "the followed file itself is gone"},
		{"y.log.1", 9, "x.log", 5, false, "another file"},
	} {
		got := rotationOf("x.log", c.name).after(c.modified, rotationOf("x.log", c.than), c.thanModified)
		if got != c.after {
			t.Errorf("%s: %s after %s = %v", c.whatItIsAbout, c.name, c.than, got)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"/a/**/*.log", "/a/x.log", true},
		{"/a/**/*.log", "/a/b/c/x.log", true},
		{"/a/**/*.log", "/b/x.log", false},
		{"/a/*/x.log", "/a/b/c/x.log", false},
		{"/a/**/b/**/c", "/a/b/x/b/y/c", true},
		{"/a/[xy].log", "/a/y.log", true},
	} {
		if got := matchPath(strings.Split(c.glob, "/"), strings.Split(c.name, "/")); got != c.want {
			t.Errorf("%s matches %s: %v", c.glob, c.name, got)
		}
	}
}

func TestConfigErrorsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Paths: []string{"/x"}}, "name is missing"},
		{Config{Name: "n"}, "paths is empty"},
		{Config{Name: "n", Paths: []string{"/x/["}}, `paths: "/x/[": is no valid pattern`},
		{Config{Name: "n", Paths: []string{"/x/a**"}}, `"**" must be a whole component`},
		{Config{Name: "n", Paths: []string{"/x"}, Start: "middle"}, `start = "middle": must be "beginning" or "end"`},
		{Config{Name: "n", Paths: []string{"/x"}, MaxLine: 5}, "max_line is 5 bytes: must be from 256 bytes to 1 GiB"},
		{Config{Name: "n", Paths: []string{"/x"}, CloseAfter: -1}, "close_after is -1ns: must not be negative"},
	} {
		if err := c.config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
	good := Config{Name: "n", Paths: []string{"/x/**/*.log"}, Exclude: []string{"*.gz"}, Start: StartEnd}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMarksAreBounded(t *testing.T) {
	g := &generation{}
	for i := range int64(10_000) {
		g.offset = i * 100
		g.anchor = sample{length: 10}
		g.remember()
	}
	if len(g.marks) > maxMarks || !slices.IsSortedFunc(g.marks, func(a, b mark) int { return int(a.place - b.place) }) {
		t.Errorf("%d marks", len(g.marks))
	}
	if newest := g.marks[len(g.marks)-1].place; newest != 9999*100 {
		t.Errorf("the newest mark is at %d", newest)
	}
}
