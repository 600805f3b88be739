package otlpoutput_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditail/auditail/outputs"
	otlpoutput "github.com/auditail/auditail/outputs/otlp"
	"github.com/auditail/auditail/outputs/outputstest"
)

func TestConformance(t *testing.T) {
	start := func(t *testing.T, url string, transport http.RoundTripper) outputs.Output {
		t.Helper()
		o, err := otlpoutput.New(otlpoutput.Config{Name: "siem", URL: url},
			otlpoutput.Deps{Log: slog.New(slog.DiscardHandler), Version: "v1", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	outputstest.RunCopies(t, outputstest.CopyKind{
		Refuses: true,
		Start: func(t *testing.T, dial outputstest.Dial) outputs.Output {
			t.Helper()
			return start(t, "http://collector.example.com", &http.Transport{DialContext: dial})
		},
		Serve: serve,
		Distrusted: func(t *testing.T) outputs.Output {
			t.Helper()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Error("a request came")
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.StartTLS()
			t.Cleanup(server.Close)
			return start(t, server.URL, nil)
		},
	})
}

// serve is a collector on one connection.
func serve(t *testing.T, c net.Conn, r *outputstest.Receiver) {
	from := bufio.NewReader(c)
	for {
		request, err := http.ReadRequest(from)
		if err != nil {
			return // the output has ended the connection
		}
		_, lines, err := exported(request)
		if err != nil {
			t.Error(err)
			return
		}
		status := "200 OK"
		if r.Refused() {
			status = "400 Bad Request"
		} else if err := r.Take(lines...); err != nil {
			return
		}
		talk := r.Answer()
		if _, err := fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n", status, talk); err != nil {
			return
		}
		if outputstest.Talk(c, talk) != nil {
			return
		}
	}
}

// exported returns what a request holds, decoded with the published types, and the
// bodies of its records.
func exported(request *http.Request) (resources []*logs.ResourceLogs, bodies []string, err error) {
	z, err := gzip.NewReader(request.Body)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return nil, nil, err
	}
	var export collector.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		return nil, nil, fmt.Errorf("not an ExportLogsServiceRequest: %w", err)
	}
	for _, resource := range export.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				bodies = append(bodies, record.Body.GetStringValue())
			}
		}
	}
	return export.ResourceLogs, bodies, nil
}
