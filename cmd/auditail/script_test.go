package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	auditail := func() { os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
	testscript.Main(m, map[string]func(){
		"auditail": auditail,
		// The agent with a defect in one goroutine, which comes out when the file
		// "defect" is made.
		"auditail-defect": func() {
			if os.Args[1] == "run" {
				go defect("defect")
			}
			auditail()
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

// Each script runs in a folder of its own; $WORK stands in configurations too.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand": expand,
			"listen": listen,
			"mode":   mode,
		},
	})
}

// expand replaces $VARIABLES in files.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
	}
}

// listen takes a loopback port until the script ends and names it $PORT.
func listen(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("PORT", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

// mode checks the permissions of files that match a glob: mode 0600 'keys/*'.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	matches, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(matches) == 0 {
		ts.Fatalf("no file matches %s", args[1])
	}
	for _, name := range matches {
		info, err := os.Stat(name)
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}
