package main

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// TestCountRecords: each record of a request counts once.
func TestCountRecords(t *testing.T) {
	scope := func(n int) *logs.ScopeLogs { return &logs.ScopeLogs{LogRecords: make([]*logs.LogRecord, n)} }
	request := &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{
		{ScopeLogs: []*logs.ScopeLogs{scope(3), scope(1)}}, {}, {ScopeLogs: []*logs.ScopeLogs{scope(2)}},
	}}
	for _, resource := range request.ResourceLogs {
		for _, s := range resource.ScopeLogs {
			for i := range s.LogRecords {
				s.LogRecords[i] = &logs.LogRecord{EventName: "e"}
			}
		}
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	if _, err := z.Write(encoded); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines atomic.Int64
	var counting sync.WaitGroup
	counting.Go(func() { countRecords(listener, &lines) })
	answer, err := http.Post("http://"+listener.Addr().String()+"/v1/logs", "application/x-protobuf", &body)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if lines.Load() != 6 || answer.StatusCode != http.StatusOK {
		t.Errorf("%d records counted, want 6; status %d", lines.Load(), answer.StatusCode)
	}
	listener.Close()
	counting.Wait()
}
