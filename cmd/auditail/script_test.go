package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
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
		Setup: func(e *testscript.Env) error {
			e.Values[managerKey{}] = &managed{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand":  expand,
			"listen":  listen,
			"manager": manager,
			"told":    told,
			"mode":    mode,
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

type managerKey struct{}

// manager stands for the service manager until the script ends: programs tell it
// at $NOTIFY_SOCKET how they are.
func manager(ts *testscript.TestScript, _ bool, _ []string) {
	// The path of a socket has few bytes, and that of a script's folder many.
	dir, err := os.MkdirTemp("", "notify")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "socket")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("NOTIFY_SOCKET", name)
	ts.Value(managerKey{}).(*managed).conn = l
}

// managed holds what the service manager of a script listens to.
type managed struct{ conn *net.UnixConn }

// told waits for a message to the service manager that matches; with a second
// pattern, no message before it may match that: told PATTERN [NOT-BEFORE].
func told(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	conn, message := ts.Value(managerKey{}).(*managed).conn, make([]byte, 4096)
	ts.Check(conn.SetReadDeadline(time.Now().Add(2 * time.Minute)))
	for {
		n, err := conn.Read(message)
		if err != nil {
			ts.Fatalf("the service manager was not told %s: %v", args[0], err)
		}
		ts.Logf("told: %q", message[:n])
		if want.Match(message[:n]) {
			return
		}
		if len(args) > 1 && regexp.MustCompile("(?m)"+args[1]).Match(message[:n]) {
			ts.Fatalf("the service manager was told %q before %s", message[:n], args[0])
		}
	}
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
