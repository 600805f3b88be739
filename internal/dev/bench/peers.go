package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditail/auditail/internal/dev/generate"
)

// peer is another log shipper that can read a file and send its lines to a port. None
// of them normalises, signs or syncs: what is compared is the price of shipping a log.
type peer struct {
	name, program string
	// config returns the configuration for a log, a folder of its own and a port.
	config func(log, dir, port string) string
	args   func(config, dir string) []string
	// count counts the lines that come, until the listener is closed.
	count func(listener net.Listener, lines *atomic.Int64)
}

func peers() []peer {
	return []peer{
		{
			name: "rsyslog, queue in memory", program: "rsyslogd",
			config: func(log, dir, port string) string { return rsyslogConfig(log, dir, port, "LinkedList") },
			args:   rsyslogArgs, count: countLines,
		},
		{
			name: "rsyslog, queue on disk", program: "rsyslogd",
			config: func(log, dir, port string) string { return rsyslogConfig(log, dir, port, "Disk") },
			args:   rsyslogArgs, count: countLines,
		},
		{
			name: "OpenTelemetry Collector, queue in memory", program: "otelcol-contrib",
			config: func(log, dir, port string) string { return collectorConfig(log, dir, port, "") },
			args:   collectorArgs, count: countRecords,
		},
		{
			name: "OpenTelemetry Collector, queue on disk", program: "otelcol-contrib",
			config: func(log, dir, port string) string { return collectorConfig(log, dir, port, "storage: file_storage") },
			args:   collectorArgs, count: countRecords,
		},
	}
}

func rsyslogArgs(config, dir string) []string {
	return []string{"-n", "-f", config, "-i", filepath.Join(dir, "pid")}
}

func rsyslogConfig(log, dir, port, queue string) string {
	return fmt.Sprintf(`global(workDirectory="%s" maxMessageSize="64k")
module(load="imfile" mode="inotify")
template(name="line" type="string" string="%%msg%%\n")
input(type="imfile" File="%s" Tag="log" ruleset="ship")
ruleset(name="ship") {
  action(type="omfwd" target="127.0.0.1" port="%s" protocol="tcp" template="line" action.resumeRetryCount="-1"
    queue.type="%s" queue.filename="ship" queue.size="500000" queue.maxDiskSpace="20g")
}
`, dir, log, port, queue)
}

func collectorArgs(config, _ string) []string { return []string{"--config", config} }

// collectorConfig keeps what it has read in a file, and waits where the queue is full.
func collectorConfig(log, dir, port, queue string) string {
	return fmt.Sprintf(`receivers:
  file_log: {include: ["%s"], start_at: beginning, storage: file_storage, retry_on_failure: {enabled: true}}
extensions:
  file_storage: {directory: "%s"}
exporters:
  otlp_http: {endpoint: "http://127.0.0.1:%s", sending_queue: {block_on_overflow: true, %s}}
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines: {logs: {receivers: [file_log], exporters: [otlp_http]}}
`, log, dir, port, queue)
}

// peers runs the agent and what else is installed over the same logs in turn.
func (b *bench) peers(ctx context.Context) error {
	for _, w := range generate.Workloads()[:2] {
		r, err := b.measure(ctx, w, b.agents[0])
		if err != nil {
			return err
		}
		own := float64(r.cpu.Nanoseconds()) / float64(r.lines)
		say("peers: %s: auditail %.2f µs of CPU a line, peak %.1f MiB, lost %d", w.Name, own/1e3, mebibytes(r.peak.resident), r.lost)
		for _, peer := range peers() {
			program, err := exec.LookPath(peer.program)
			if err != nil {
				say("peers: %s is not installed", peer.name)
				continue
			}
			r, err := b.measurePeer(ctx, w, peer, program)
			if err != nil {
				return fmt.Errorf("%s: %w", peer.name, err)
			}
			other := float64(r.cpu.Nanoseconds()) / float64(r.lines)
			say("peers: %s: %s %.2f µs, peak %.1f MiB, lost %d: auditail takes %.2f times as much",
				w.Name, peer.name, other/1e3, mebibytes(r.peak.resident), r.lost, own/other)
		}
	}
	return nil
}

// peerQuiet is how long nothing comes from a peer that has sent all it will.
const peerQuiet = 5 * time.Second

func (b *bench) measurePeer(ctx context.Context, w generate.Workload, peer peer, program string) (r result, err error) {
	if err := b.clear(); err != nil {
		return r, err
	}
	log, config, dir := filepath.Join(b.dir, "input.log"), filepath.Join(b.dir, "config"), filepath.Join(b.dir, "work")
	if r.bytes, err = w.File(log, b.lines); err != nil {
		return r, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	var lines atomic.Int64
	go peer.count(listener, &lines)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return r, err
	}
	text := peer.config(log, dir, port)
	if err := errors.Join(os.Mkdir(dir, 0o750), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return r, err
	}
	p, err := startProcess(ctx, exec.CommandContext(ctx, program, peer.args(config, dir)...)) //nolint:gosec // a log shipper that is installed
	if err != nil {
		return r, err
	}
	for had, since := int64(0), time.Now(); had < int64(b.lines) && time.Since(since) < peerQuiet; time.Sleep(10 * time.Millisecond) {
		if n := lines.Load(); n > had {
			had, since = n, time.Now()
		}
	}
	r.lines, r.lost = b.lines, b.lines-int(lines.Load())
	r.cpu, err = p.cpu()
	p.kill()
	r.peak = p.peak()
	if err == nil && lines.Load() == 0 {
		err = fmt.Errorf("no line came\n%s", p.stderr.String())
	}
	return r, err
}

// countLines counts what comes over all connections.
func countLines(listener net.Listener, lines *atomic.Int64) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			in := bufio.NewReaderSize(conn, 1<<20)
			for {
				_, err := in.ReadSlice('\n')
				if err == nil {
					lines.Add(1)
				} else if !errors.Is(err, bufio.ErrBufferFull) {
					_ = conn.Close() // the peer is gone
					return
				}
			}
		}()
	}
}

// countRecords counts the records of OTLP/HTTP requests.
func countRecords(listener net.Listener, lines *atomic.Int64) {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body, err := io.ReadAll(z)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		// ExportLogsServiceRequest: resource_logs, scope_logs, log_records.
		lines.Add(countFields(body, 1, 2, 2))
		w.Header().Set("Content-Type", "application/x-protobuf")
	})}
	_ = server.Serve(listener) // ends when the listener is closed
}

// countFields counts the messages at a path of field numbers.
func countFields(message []byte, path ...protowire.Number) (n int64) {
	if len(path) == 0 {
		return 1
	}
	for len(message) > 0 {
		id, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return n
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(id, kind, message); size < 0 {
			return n
		}
		if id == path[0] && kind == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(message)
			n += countFields(inner, path[1:]...)
		}
		message = message[size:]
	}
	return n
}
