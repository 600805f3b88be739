package file

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
	f.Add([]byte("\x1f\x8b\x08"), uint8(0))
	f.Add([]byte("\x28\xb5\x2f\xfd"), uint8(1))
	f.Add([]byte("BZh91AY&SY"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		name := filepath.Join(t.TempDir(), "x"+[]string{".gz", ".zst", ".bz2"}[kind%3])
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

func TestPrecedes(t *testing.T) {
	for _, c := range []struct {
		than          string
		thanBorn      int64
		thanModified  int64
		name          string
		born          int64
		modified      int64
		after         bool
		whatItIsAbout string
	}{
		{"x.log.2", 5, 9, "x.log.1", 6, 5, true, "births win over times of change"},
		{"x.log.2", 5, 9, "x.log.3", 4, 12, false, "born before"},
		{"x.log.2", 5, 9, "x.log.3", 6, 12, true, "numbers that count up"},
		{"x.log.2", 0, 9, "x.log.1", 0, 5, true, "without births numbers win over times"},
		{"x.log.2", 5, 9, "x.log.1.gz", 0, 5, true, "and of what is compressed"},
		{"x.log.2", 5, 9, "x.log.3.gz", 20, 7, false, "what is compressed was born later"},
		{"x.log-20251121", 0, 5, "x.log-20251122", 0, 9, true, "dates by time of change"},
		{"x.log-20251121", 0, 5, "x.log-20251120", 0, 3, false, "an older date"},
		{"x.log.1", 1, 5, "x-20251122.log", 9, 9, false, "another scheme"},
		{"x.log", 1, 5, "x-2.log", 9, 9, false, "maybe another program's"},
		{"x.log", 1, 5, "x.log.1", 9, 9, true, "the followed file itself is gone"},
		{"x.log", 1, 5, "y.log.1", 9, 9, false, "another file"},
	} {
		g := &generation{real: "/x.log", name: "/" + c.than, modified: c.thanModified, ident: fileID{born: c.thanBorn}}
		m := found{name: "/" + c.name, st: status{modified: c.modified, id: fileID{born: c.born}}}
		if got := g.precedes(m, nil); got != c.after {
			t.Errorf("%s: %s after %s = %v", c.whatItIsAbout, c.name, c.than, got)
		}
	}
}

// Where numbers grow with age, a lower one is younger, whatever the clock was
// set to when it was born.
func TestClockSetBack(t *testing.T) {
	g := &generation{real: "/x.log", name: "/x.log.3", ident: fileID{born: 100}}
	var shifted, counted []*sibling
	for i := 1; i <= 6; i++ {
		name := fmt.Sprintf("/x.log.%d", i)
		older, younger := int64(100-10*i), int64(100+10*i)
		if i <= 2 { // born after the clock was set back
			older -= 1000
		}
		shifted = append(shifted, &sibling{found: found{name: name, st: status{id: fileID{born: older}}}})
		counted = append(counted, &sibling{found: found{name: name, st: status{id: fileID{born: younger - 30}}}})
	}
	if !g.precedes(shifted[0].found, shifted) {
		t.Error("x.log.1 comes after x.log.3 where numbers are moved on")
	}
	if g.precedes(counted[0].found, counted) {
		t.Error("x.log.1 comes before x.log.3 where numbers count up")
	}
}

func TestShapeOf(t *testing.T) {
	for name, want := range map[string]string{"0.log": "#.log", "app-20251121-07.log": "app-#-#.log", "x": "x", "": ""} {
		if got := shapeOf(name); got != want {
			t.Errorf("shapeOf(%q) = %q, want %q", name, got, want)
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

// A look that is due and has to wait, because the last one took long, is waited for
// and not asked for again and again.
func TestPauseWhileALookIsDue(t *testing.T) {
	now := time.Now()
	f := &follower{
		in: &Input{}, limits: defaultLimits(), now: func() time.Time { return now },
		resting: true, lookDue: true, looked: now, lookTook: 2 * time.Second, glanced: now.Add(-time.Minute),
	}
	if wait := f.pause(); wait != 4*f.lookTook {
		t.Errorf("pauses for %s", wait)
	}
	f.lookDue = false
	if wait := f.pause(); wait != 0 {
		t.Errorf("a glance that is due is not taken for %s", wait)
	}
}
