package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"auditail-server": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vkey": vkey, "listening": listening, "take": take,
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
