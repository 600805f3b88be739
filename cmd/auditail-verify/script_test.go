package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"auditail-verify": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// Each script finds a sound archive in archive/, another one with an epoch that
// was not closed in twice/, one with the hash of a text in texts/, and trust.vkey
// with the key of all.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"checks": unchecked, "flip": flip},
		Setup: func(env *testscript.Env) error {
			e := sealtest.New(t, sealtest.Config{})
			e.Open()
			e.Data(sealtest.Chat(), e.Records(20))
			e.Heartbeat()
			e.Checkpoint()
			e.Close()
			e.Checkpoint()
			e.Write(filepath.Join(env.WorkDir, "archive"))

			first := sealtest.New(t, sealtest.Config{})
			first.Open()
			first.Data(sealtest.Chat(), first.Records(3))
			first.Checkpoint()
			size, root := first.Head()
			second := first.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: first.Origin, Size: size, Root: root}.String())
			second.Open()
			second.Close()
			second.Checkpoint()
			second.Write(filepath.Join(env.WorkDir, "twice"))
			texts := sealtest.New(t, sealtest.Config{})
			texts.Open()
			texts.Data(sealtest.Chat(), texts.Records(3))
			texts.Data(sealtest.Chat(), [][]byte{texts.Record("model.inference",
				`"model":{"provider":"vllm","basis":"unresolved"},"api":{"operation":"chat"},`+
					`"input":{"mode":"hashed","hmac":"hmac-sha256:2026-11:8c2c32a64a7cf856d1754cfe9cee2f60470eb9e612bdd658b7a193c9887efa06"}`)})
			texts.Checkpoint()
			texts.Write(filepath.Join(env.WorkDir, "texts"))
			env.Setenv("RECORD", recordID(t, e, 1))
			env.Setenv("RECORD2", recordID(t, first, 1))
			other := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
			if err := os.WriteFile(filepath.Join(env.WorkDir, "other.vkey"), []byte(other.Trust()), 0o600); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "trust.vkey"), []byte("# enrolled\n"+e.Trust()), 0o600)
		},
	})
}

// recordID returns the id of the fourth record of a batch.
func recordID(t *testing.T, e *sealtest.Epoch, batch int) string {
	t.Helper()
	lines := bytes.Split(sealtest.Plain(t, e.Files[e.Batches[batch].Manifest.PayloadPath]), []byte("\n"))
	var record struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(lines[3], &record); err != nil {
		t.Fatal(err)
	}
	return record.ID
}

// flip changes one digit in the middle of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	at := len(data) / 2
	for data[at] == '\n' {
		at++
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// unchecked runs auditail-verify and wants exit code 2, nothing on standard
// output and one line like the pattern on standard error.
func unchecked(ts *testscript.TestScript, _ bool, args []string) {
	var stdout, stderr strings.Builder
	for i, arg := range args {
		if _, err := os.Stat(ts.MkAbs(arg)); i > 1 && err == nil {
			args[i] = ts.MkAbs(arg)
		}
	}
	code := run(context.Background(), args[1:], &stdout, &stderr)
	got := strings.ReplaceAll(stderr.String(), ts.MkAbs("")+"/", "")
	if ok, err := regexp.MatchString("^"+args[0]+"\n$", got); code != exitUnchecked || stdout.Len() > 0 || !ok || err != nil {
		ts.Fatalf("exit %d, stdout %q, stderr %q", code, stdout.String(), got)
	}
}
