package loghead_test

import (
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/loghead"
	"github.com/auditail/auditail/seal"
)

var origin = seal.Origin{Log: seal.Log{Organization: "audit.example.com/acme", Agent: "gpu-07"}, Epoch: 1}

func TestForm(t *testing.T) {
	for _, head := range []seal.Head{
		{Root: seal.EmptyRoot()}, {Size: 7, Root: seal.LeafHash([]byte("leaf"))}, {Size: 1<<63 - 1}, {Size: 1},
	} {
		got, err := loghead.Parse(origin, loghead.Format(origin, head))
		if err != nil || got != head {
			t.Errorf("%+v: %+v, %v", head, got, err)
		}
	}
	good := loghead.Format(origin, seal.Head{Size: 7, Root: seal.EmptyRoot()})
	other := origin
	other.Epoch = 2
	for what, text := range map[string]string{
		"empty":             "",
		"a page":            "<html>welcome</html>",
		"another log":       loghead.Format(other, seal.Head{Size: 7, Root: seal.EmptyRoot()}),
		"no last LF":        strings.TrimSuffix(good, "\n"),
		"a line more":       good + "\n",
		"CR LF":             strings.ReplaceAll(good, "\n", "\r\n"),
		"leading zero":      strings.Replace(good, "\n7\n", "\n07\n", 1),
		"negative":          strings.Replace(good, "\n7\n", "\n-7\n", 1),
		"too large":         strings.Replace(good, "\n7\n", "\n9223372036854775808\n", 1),
		"no number":         strings.Replace(good, "\n7\n", "\nseven\n", 1),
		"short root":        strings.Replace(good, "47DE", "", 1),
		"zero root":         loghead.Format(origin, seal.Head{Size: 7})[:len(origin.String())+3] + strings.Repeat("A", 43) + "=\n",
		"empty, no root":    loghead.Format(origin, seal.Head{}),
		"empty, other root": loghead.Format(origin, seal.Head{Root: seal.LeafHash(nil)}),
		"far too long":      good + strings.Repeat("x", 1<<20),
	} {
		if head, err := loghead.Parse(origin, text); err == nil {
			t.Errorf("%s: %+v", what, head)
		}
	}
}

func TestPath(t *testing.T) {
	path := loghead.Path(origin)
	agent, epoch, ok := loghead.ParsePath(path)
	if path != "seals/gpu-07/0001/head" || agent != "gpu-07" || epoch != 1 || !ok {
		t.Errorf("%s: %q, %d, %t", path, agent, epoch, ok)
	}
	if _, err := seal.ParsePath(path); err == nil {
		t.Error("it is the path of an object")
	}
	for _, path := range []string{"", "/head", "head", "seals/gpu-07/head", "seals/gpu-07/0000/head", "seals/../0001/head", "seals/gpu-07/0001/checkpoint/head", "seals/gpu-07/0001/", "seals/gpu-07/0001/head/"} {
		if agent, epoch, ok := loghead.ParsePath(path); ok {
			t.Errorf("%q: %q, %d", path, agent, epoch)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(loghead.Format(origin, seal.Head{Size: 7, Root: seal.EmptyRoot()}))
	f.Add(loghead.Format(origin, seal.Head{Size: 7}))
	f.Fuzz(func(t *testing.T, text string) {
		head, err := loghead.Parse(origin, text)
		if err == nil && loghead.Format(origin, head) != text {
			t.Errorf("%q is taken for %+v", text, head)
		}
	})
}
