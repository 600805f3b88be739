package keyed_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/agent/capture/keyed"
)

func TestKeys(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	made := keyed.New(now)
	if made.ID != "2026-11" || len(made.Secret) != 32 {
		t.Errorf("%+v", made)
	}
	keys := keyed.Keys{made}
	keys = keys.Rotate(now)
	keys = keys.Rotate(now)
	keys = keys.Rotate(now.AddDate(0, 1, 0))
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	if strings.Join(ids, " ") != "2026-11 2026-11.2 2026-11.3 2026-12" || keys.Current().ID != "2026-12" {
		t.Error(ids)
	}
	parsed, err := keyed.Parse(append([]byte("# capture keys\n\n"), keys.Marshal()...))
	if err != nil || !bytes.Equal(parsed.Marshal(), keys.Marshal()) {
		t.Errorf("%v, %v", parsed, err)
	}
	if k, ok := parsed.Find("2026-11.2"); !ok || !bytes.Equal(k.Secret, keys[1].Secret) {
		t.Error("a key is not found by its id")
	}
	if parsed, err := keyed.Parse(bytes.TrimSpace(made.Marshal())); err != nil || len(parsed) != 1 {
		t.Errorf("one key without LF: %v", err)
	}
	for _, bad := range []string{
		"", "# nothing\n", "2026-11", "2026-11:", "2026-11:!!hunter2", "2026-11:c2hvcnQ=", "Bad Id:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"a:MDEyMzQ1Njc4OWFiY2RlZg==\na:MDEyMzQ1Njc4OWFiY2RlZg==", "a:MDEyMzQ1Njc4OWFiY2RlZg==\nhunter2",
	} {
		if _, err := keyed.Parse([]byte(bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestID(t *testing.T) {
	hash := string(keyed.NewHasher(keyed.Key{ID: "2026-11", Secret: []byte("0123456789abcdef")}).Hash(nil, []byte("a")))
	for hash, want := range map[string]string{
		hash:                     "2026-11",
		"hmac-sha256:2026-11:00": "",
		"alice":                  "",
		"hmac-sha256:":           "",
		"sha256:" + hash[20:]:    "",
	} {
		if got := keyed.ID(hash); got != want {
			t.Errorf("%q: %q", hash, got)
		}
	}
}
