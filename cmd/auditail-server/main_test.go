package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/certtest"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestMain(m *testing.M) {
	server := func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){
		"auditail-server": server,
		// The server with a defect in one goroutine, which comes out when the file
		// "defect" is made.
		"auditail-server-defect": func() {
			if os.Args[1] == "run" {
				go defect("defect")
			}
			server()
		},
	})
}

func defect(trigger string) {
	for {
		if _, err := os.Stat(trigger); err == nil {
			fmt.Println(os.Args[len(os.Args)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values["t"] = t
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vkey": vkey, "listening": listening, "take": take, "get": get, "records": records, "read": read, "certificate": certificate,
		},
	})
}

// vkey FILE ORGANIZATION AGENT [SEED] writes the verifier key of an agent.
func vkey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: vkey FILE ORGANIZATION AGENT [SEED]")
	}
	log := seal.Log{Organization: args[1], Agent: args[2]}
	public, ok := sealtest.Key(strings.Join(args[1:], " ")).Public().(ed25519.PublicKey)
	if !ok {
		ts.Fatalf("not an Ed25519 key")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("# the key of "+args[2]+"\n\n"+seal.VKey(log.String(), public)+"\n"), 0o600))
}

// certificate NAME HOST… writes NAME.pem and NAME.key of an authority of its own.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: certificate NAME HOST…")
	}
	t, ok := ts.Value("t").(testing.TB)
	if !ok {
		ts.Fatalf("no test")
	}
	certtest.New(t, "authority").Issue(t, args[0], certtest.For(args[1:]...)).Write(t, ts.MkAbs("."), args[0])
}

// take VARIABLE takes a free port until the script ends and names its address.
func take(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: take VARIABLE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// listening FILE VARIABLE waits until a server that runs in the background says
// in its log, FILE, where it listens.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listening FILE VARIABLE")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		log, err := os.ReadFile(ts.MkAbs(args[0]))
		if _, rest, ok := strings.Cut(string(log), "url="); err == nil && ok {
			url, _, _ := strings.Cut(rest, " ")
			ts.Setenv(args[1], url)
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("the server does not listen: %s", fmt.Sprint(string(log), err))
		}
	}
}

// get URL TOKEN STATUS wants an answer.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: get URL TOKEN STATUS")
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[0], nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(args[1]))
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	body, err := io.ReadAll(answer.Body)
	ts.Check(errors.Join(err, answer.Body.Close()))
	if strconv.Itoa(answer.StatusCode) != args[2] {
		ts.Fatalf("status %d, want %s: %s", answer.StatusCode, args[2], body)
	}
	ts.Logf("%s", body)
}

// records DIR TRUST FILE verifies an archive and writes its record lines to FILE.
func records(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: records DIR TRUST FILE")
	}
	keys, err := os.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer keys.Close()
	trust, _, err := archive.ParseTrust(keys)
	ts.Check(err)
	root := ts.MkAbs(args[0])
	source, err := archive.OpenDir(root)
	ts.Check(err)
	defer source.Close()
	_, err = archive.Verify(context.Background(), source, archive.Options{Trust: trust, Found: func(f archive.Finding) {
		if f.Level == archive.Violation {
			ts.Fatalf("%v", f)
		}
	}})
	ts.Check(err)
	var lines []byte
	decoder, err := zstd.NewReader(nil)
	ts.Check(err)
	ts.Check(filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, seal.PayloadSuffix) {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			lines, err = decoder.DecodeAll(data, lines)
		}
		return err
	}))
	for line := range bytes.Lines(lines) {
		ts.Check(audit.Validate(bytes.TrimSuffix(line, []byte("\n"))))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), lines, 0o600))
}

// read FILE VARIABLE sets a variable to what a file holds.
func read(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: read FILE VARIABLE")
	}
	ts.Setenv(args[1], strings.TrimSpace(ts.ReadFile(args[0])))
}
