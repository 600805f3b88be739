package uvicorn_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// TestSplitAccess: client, method, target and status of each form; "" for what
// is no access line.
func TestSplitAccess(t *testing.T) {
	for message, want := range map[string]string{
		`10.20.0.14:41022 - "GET /v1/models HTTP/1.1" 200 OK`:                      "10.20.0.14|GET|/v1/models|200",
		`10.20.0.14:41022 - "GET /v1/models HTTP/1.1" 200`:                         "10.20.0.14|GET|/v1/models|200",
		`10.20.0.14:0 - "GET /v1/models?after=x%20y HTTP/2" 404 Not Found`:         "10.20.0.14|GET|/v1/models?after=x%20y|404",
		`::1:36536 - "GET / HTTP/1.0" 500 Internal Server Error`:                   "::1|GET|/|500",
		`('127.0.0.1', 52682) - "POST /v1/completions HTTP/1.1" 200`:               "127.0.0.1|POST|/v1/completions|200",
		`('::1', 52682) - "POST /v1/completions HTTP/1.1" 200`:                     "::1|POST|/v1/completions|200",
		` - "GET / HTTP/1.1" 200 OK`:                                               "|GET|/|200",
		`- "GET / HTTP/1.1" 200 OK`:                                                "|GET|/|200",
		`None - "GET / HTTP/1.1" 200`:                                              "|GET|/|200",
		`1.2.3.4:5 - "GET / HTTP/1.1" 299 `:                                        "1.2.3.4|GET|/|299",
		`1.2.3.4:5 - "GET / HTTP/1.1" 418 I'm a Teapot`:                            "1.2.3.4|GET|/|418",
		`1.2.3.4:5 - "GET / HTTP/1.1" 203 Non-Authoritative Information`:           "1.2.3.4|GET|/|203",
		`1.2.3.4:5 - "WebSocket /v1/realtime?model=x" [accepted]`:                  "1.2.3.4||/v1/realtime?model=x|-1",
		`1.2.3.4:5 - "WebSocket /v1/realtime" 403`:                                 "1.2.3.4||/v1/realtime|403",
		`('1.2.3.4', 5) - "WebSocket /ws" [accepted]`:                              "1.2.3.4||/ws|-1",
		`1.2.3.4:5 - "GET /?q="HTTP/1.1" HTTP/1.1" 200 OK`:                         "1.2.3.4|GET|/?q=\"HTTP/1.1\"|200",
		`1.2.3.4:5 - "GET / HTTP/1.1" 200 OK:0 - "POST /v1/x HTTP/1.1" 401 Denied`: "", // forged X-Forwarded-For
		`evil"-:0 - "POST /v1/x HTTP/1.1" 401 Denied`:                              `evil"-|POST|/v1/x|401`,
		`1.2.3.4:5 - "GET / HTTP/1.1" [accepted]`:                                  "",
		`1.2.3.4:5 - "GET /ws" [accepted]`:                                         "",
		`1.2.3.4:5 - "GET / HTTP/1.1" 20`:                                          "",
		`1.2.3.4:5 - "GET / HTTP/1.1" 2000`:                                        "",
		`1.2.3.4:5 - "GET / HTTP/1.1" 200 OK; more`:                                "",
		`1.2.3.4:5 - "GET / HTTP/1.1" 200 OK - 12.3ms`:                             "",
		`1.2.3.4:5 - "GET /a b HTTP/1.1" 200 OK`:                                   "",
		`1.2.3.4:5 - "get / HTTP/1.1" 200 OK`:                                      "",
		`1.2.3.4:5 - "GET / HTTP/x" 200 OK`:                                        "",
		`1.2.3.4:5 - "GET HTTP/1.1" 200 OK`:                                        "",
		`1.2.3.4:5 "GET / HTTP/1.1" 200 OK`:                                        "",
		`1.2.3.4:5- "GET / HTTP/1.1" 200 OK`:                                       "",
		`the user said 1.2.3.4:5 - "GET / HTTP/1.1" 200 OK`:                        "",
		`('1.2.3.4', x) - "GET / HTTP/1.1" 200 OK`:                                 "",
		`"" 200 OK`: "",
		`" 200 OK`:  "",
		``:          "",
	} {
		got := ""
		if a, ok := uvicorn.SplitAccess([]byte(message)); ok {
			got = fmt.Sprintf("%s|%s|%s|%d", a.Client, a.Method, a.Target, a.Status)
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", message, got, want)
		}
	}
}

func TestNoise(t *testing.T) {
	for message, want := range map[string]string{
		"Started server process [22742]":                                   uvicorn.RuleServer,
		"Uvicorn running on http://127.0.0.1:18101 (Press CTRL+C to quit)": uvicorn.RuleServer,
		"Application shutdown complete.":                                   uvicorn.RuleServer,
		"Exception in ASGI application":                                    "traceback",
		"127.0.0.1:50732 - HTTP connection made":                           uvicorn.RuleTrace,
		"HTTP connection lost":                                             uvicorn.RuleTrace,
		"127.0.0.1:50732 - ASGI [2] Started scope={'type': 'http', …}":     uvicorn.RuleTrace,
		"ASGI [1] Completed":                                               uvicorn.RuleTrace,
		"ASGI [x] Completed":                                               "",
		"Shutting down the world":                                          "",
		"Started server process [":                                         "",
		"Invalid HTTP request received.":                                   "",
		"Child process [7] died":                                           "",
		"Application startup failed. Exiting.":                             "",
		`1.2.3.4:5 - "GET / HTTP/1.1" 200 OK`:                              "",
		"":                                                                 "",
	} {
		if rule, ok := uvicorn.Noise([]byte(message)); rule != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", message, rule, want)
		}
	}
}

// FuzzSplitAccess: what is split can be put together again.
func FuzzSplitAccess(f *testing.F) {
	f.Add([]byte(`10.20.0.14:41022 - "GET /v1/models HTTP/1.1" 200 OK`))
	f.Add([]byte(`('127.0.0.1', 1) - "WebSocket /ws" [accepted]`))
	f.Add([]byte(` - "GET / HTTP/1.1" 299 `))
	f.Fuzz(func(t *testing.T, message []byte) {
		a, ok := uvicorn.SplitAccess(message)
		if !ok {
			return
		}
		method, protocol, status := string(a.Method), " HTTP/", fmt.Sprintf(" %03d", a.Status)
		if a.WebSocket {
			method, protocol = "WebSocket", ""
		}
		if a.Status == parsers.NoStatus {
			status = " [accepted]"
		}
		want := fmt.Sprintf(`- "%s %s%s`, method, a.Target, protocol)
		if !bytes.Contains(message, []byte(want)) || !bytes.Contains(message, []byte(`"`+status)) || !bytes.Contains(message, a.Client) {
			t.Errorf("%q: %+v", message, a)
		}
		if bytes.ContainsAny(a.Target, " ") || bytes.ContainsAny(a.Client, " ") {
			t.Errorf("%q: %+v holds a space", message, a)
		}
	})
}

func BenchmarkSplitAccess(b *testing.B) {
	message := []byte(`10.20.0.14:41022 - "POST /v1/chat/completions HTTP/1.1" 200 OK`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := uvicorn.SplitAccess(message); !ok {
			b.Fatal("not split")
		}
	}
}
