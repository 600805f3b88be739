package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/version"
)

// maxListed bounds the listing of data_dir.
const maxListed = 10_000

// profileTime is how long one answer of the agent may take; a profile of the
// processor takes five seconds.
const profileTime = 20 * time.Second

func newDiagnose() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diagnose", Short: "Collect what is needed to find out what is wrong", Args: cobra.NoArgs,
		Long: `Writes a bundle (tar.gz): the effective configuration with secrets as references,
status, metrics, profiles and the newest lines of the running agent's own log, a
listing of data_dir, the health of the buffer, the stacks of crashes, version and
facts of the host.

Nothing that was read from logs is taken: no record, no batch, no key. What is in
the bundle, and what could not be had, is listed on standard output and in
CONTENTS. Of a stopped agent it has all but what only a running one knows.`,
		Example: `  auditail diagnose
  auditail diagnose --output /tmp/gpu-07.tar.gz`,
	}
	path := configFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "", "file to write, which must not exist (default auditail-diagnose-TIME.tar.gz)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now().UTC()
		if *output == "" {
			*output = "auditail-diagnose-" + now.Format("20060102T150405Z") + ".tar.gz"
		}
		b := &bundle{now: now}
		b.collect(cmd.Context(), *path)
		data, err := b.pack()
		if err != nil {
			return err
		}
		err = durable.CreateFile(durable.OS{}, *output, data, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already and stays as it is: name another --output", *output)
		}
		if err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s holds the above\n", b.contents.String(), *output)
		return err
	}
	return cmd
}

// bundle is what was collected.
type bundle struct {
	now      time.Time
	files    []bundled
	contents strings.Builder
}

type bundled struct {
	name string
	data []byte
}

// add takes a file into the bundle, or notes why it is not in it.
func (b *bundle) add(name, what string, data []byte, err error) {
	if err != nil {
		fmt.Fprintf(&b.contents, "not taken  %-18s %s: %s\n", name, what, oneSentence(err))
		return
	}
	fmt.Fprintf(&b.contents, "taken      %-18s %s, %d bytes\n", name, what, len(data))
	b.files = append(b.files, bundled{name, data})
}

func (b *bundle) collect(ctx context.Context, path string) {
	b.add("version.txt", "program and build", buildFacts(), nil)
	b.add("host.txt", "system, memory, limits", hostFacts(), nil)
	cfg, err := config.Load(path)
	if err != nil {
		b.add("config-error.txt", "why "+path+" is refused, secrets masked", []byte(err.Error()+"\n"), nil)
		b.running(ctx, admin.NewClient(config.Socket(path))) // which runs with what the file was before
		return
	}
	var text bytes.Buffer
	err = showConfig(&text, cfg, false)
	b.add("config.toml", "effective configuration, secrets as references", text.Bytes(), err)
	listing, err := listData(cfg.Agent.DataDir)
	b.add("data_dir.txt", "names, sizes, times and modes below "+cfg.Agent.DataDir, listing, err)
	health, err := bufferFacts(filepath.Join(cfg.Agent.DataDir, "buffer"))
	b.add("buffer.txt", "health of the buffer", health, err)
	b.crashes(cfg.Agent.DataDir)
	b.running(ctx, admin.NewClient(cfg.Admin.Socket))
}

// crashes takes the stacks of runs that a defect ended.
func (b *bundle) crashes(dir string) {
	files, err := crash.Files(durable.OS{}, dir)
	if err != nil {
		b.add("crash.txt", "stacks of crashes", nil, err)
	}
	for _, name := range files {
		data, err := durable.ReadFile(durable.OS{}, name, 2<<20)
		b.add(filepath.Base(name), "stack of a crash", data, err)
	}
}

// running asks the agent what only a running one knows.
func (b *bundle) running(ctx context.Context, client *admin.Client) {
	for _, part := range []struct{ name, path, what string }{
		{"status.json", "/status", "status"},
		{"metrics.txt", "/metrics", "metrics"},
		{"log.jsonl", "/log", "newest lines of the agent's own log"},
		{"goroutine.pprof", "/profile/goroutine", "profile of goroutines"},
		{"heap.pprof", "/profile/heap", "profile of memory"},
		{"cpu.pprof", "/profile/cpu", "profile of the processor, five seconds"},
	} {
		ask, cancel := context.WithTimeout(ctx, profileTime)
		data, err := client.Raw(ask, part.path)
		cancel()
		b.add(part.name, part.what, data, err)
		if errors.Is(err, admin.ErrNotRunning) {
			return // the other answers would be the same
		}
	}
}

// pack makes the archive.
func (b *bundle) pack() ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	for _, f := range append([]bundled{{"CONTENTS", []byte(b.contents.String())}}, b.files...) {
		header := &tar.Header{Name: "auditail-diagnose/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: b.now.Truncate(time.Second)}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := errors.Join(archive.Close(), compressed.Close()); err != nil {
		return nil, fmt.Errorf("pack the bundle: %w", err)
	}
	return out.Bytes(), nil
}

func buildFacts() []byte {
	text := fmt.Sprintf("auditail %s\n%s %s/%s\n", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		text += info.String()
	}
	return []byte(text)
}

// hostFacts takes a few lines of what the kernel says of itself and of this process.
func hostFacts() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d processors, user %d\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), os.Getuid())
	for _, name := range []string{"/etc/os-release", "/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/self/limits", "/proc/self/mounts", "/proc/pressure/io", "/proc/sys/fs/inotify/max_user_watches", "/proc/sys/fs/inotify/max_user_instances"} {
		data, err := durable.ReadFile(durable.OS{}, name, 64<<10)
		if err != nil {
			continue // of another system
		}
		fmt.Fprintf(&b, "\n== %s\n%s", name, data)
	}
	return []byte(b.String())
}

// listData lists what lies in data_dir, without a look into any file.
func listData(dir string) ([]byte, error) {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	listed := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintf(w, "%s\t\t\t%v\n", path, err)
			return nil
		}
		if listed++; listed > maxListed {
			fmt.Fprintf(w, "…\t\t\tmore than %d entries\n", maxListed)
			return fs.SkipAll
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // it went away while it was listed
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		return nil
	})
	err = errors.Join(err, w.Flush())
	return out.Bytes(), err
}

func bufferFacts(dir string) ([]byte, error) {
	report, err := buffer.Inspect(durable.OS{}, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no buffer yet")
	}
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%d segments with %d frames\n", report.Segments, report.Frames)
	for _, damaged := range report.Damaged {
		text = fmt.Appendf(text, "damaged: %s\n", damaged)
	}
	return text, nil
}
