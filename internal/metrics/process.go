package metrics

import (
	"bytes"
	"os"
	"runtime"
	rt "runtime/metrics"
	"strconv"
	"time"
)

// Process adds what every exporter tells about its own process, under the names
// that dashboards expect. What the system does not tell is left out.
func Process(p *Page, started time.Time) {
	p.Gauge("process_start_time_seconds", "Start of the process since the Unix epoch, in seconds.").
		Sample(float64(started.UnixNano()) / 1e9)
	if cpu, ok := cpuTime(); ok {
		p.Counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.").Sample(cpu.Seconds())
	}
	if resident, ok := residentBytes(); ok {
		p.Gauge("process_resident_memory_bytes", "Resident memory size, in bytes.").Sample(float64(resident))
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.Gauge("process_open_fds", "Number of open file descriptors.").Sample(float64(len(entries)))
	}
	samples := []rt.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	rt.Read(samples)
	p.Gauge("go_goroutines", "Number of goroutines that currently exist.").Sample(float64(runtime.NumGoroutine()))
	p.Gauge("go_memory_heap_objects_bytes", "Bytes of the heap that objects take.").Sample(float64(samples[0].Value.Uint64()))
	p.Counter("go_gc_cycles_total", "Garbage collections since the start.").Sample(float64(samples[1].Value.Uint64()))
}

// residentBytes reads the second number of /proc/self/statm, which counts pages.
func residentBytes() (int64, bool) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
