package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// payloadAttacks change what is in a payload, or how it is packed.
func payloadAttacks() []attack {
	repack := func(change func([][]byte) [][]byte) func(*root) {
		return func(r *root) {
			m := r.chat[2]
			r.write(m.PayloadPath, compress(r.t, bytes.Join(append(change(r.lines(m)), []byte("\n")), nil)))
		}
	}
	return []attack{
		{name: "a record dropped", do: repack(func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) }), want: []string{"payload-digest", "payload-size"}},
		{name: "a record inserted", do: repack(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[3]) }), want: []string{"payload-digest", "payload-size"}},
		{name: "two records swapped", do: repack(func(l [][]byte) [][]byte {
			l[3], l[4] = l[4], l[3]
			return l
		}), want: []string{"payload-digest", "payload-root"}},
		{name: "a record rewritten to the same length", do: repack(func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[3], []byte(`"status":200`), []byte(`"status":403`), 1)
			return l
		}), want: []string{"payload-digest", "payload-root"}},
		{name: "line ends of another system", do: repack(func(l [][]byte) [][]byte {
			for i := range l {
				l[i] = bytes.Replace(l[i], []byte("\n"), []byte("\r\n"), 1)
			}
			return l
		}), want: []string{"payload-digest", "payload-size"}},
		{name: "the same records packed anew", do: repack(func(l [][]byte) [][]byte { return l }), want: []string{"payload-digest"}},
		{name: "a frame more", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), compress(r.t, []byte("{}\n"))...))
		}, want: []string{"payload-digest", "payload-size"}},
		{name: "something smuggled in a skippable frame", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'e', 'v', 'i', 'l'))
		}, want: []string{"payload-digest"}},
		{name: "bytes behind the last frame", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(name, append(r.read(name), "trailer"...))
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a truncated payload", do: func(r *root) {
			name := r.chat[2].PayloadPath
			data := r.read(name)
			r.write(name, data[:len(data)/2])
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a payload cut between two frames", do: func(r *root) {
			m := r.chat[2]
			lines := append(r.lines(m), []byte("\n"))
			half := len(lines) / 2
			frames := compress(r.t, bytes.Join(lines[:half], nil)) // the second one is gone
			r.write(m.PayloadPath, frames)
		}, want: []string{"payload-digest", "payload-size"}},
		{name: "a payload that is not packed", do: func(r *root) {
			r.write(r.chat[2].PayloadPath, bytes.Join(append(r.lines(r.chat[2]), []byte("\n")), nil))
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "a payload that wants gigabytes to be unpacked", do: func(r *root) {
			name := r.chat[2].PayloadPath
			// A frame header with a window of 2 GiB (RFC 8878, section 3.1.1).
			r.write(name, slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8}, r.read(name)[6:]))
		}, want: []string{"payload-digest", "payload-encoding"}},
		{name: "an empty payload", do: func(r *root) { r.write(r.chat[2].PayloadPath, nil) }, want: []string{"payload-digest", "payload-size"}},
	}
}

// storeAttacks are those of whoever holds the folder.
func storeAttacks() []attack {
	link := func(r *root, target, name string) {
		if err := errors.Join(os.RemoveAll(r.path(name)), os.Symlink(target, r.path(name))); err != nil {
			r.t.Fatal(err)
		}
	}
	return []attack{
		{name: "extra files", do: func(r *root) {
			r.write("seals/"+agentID+"/0001/notes.txt", []byte("x"))
			r.write("records/readme", []byte("x"))
			r.write("else", []byte("x"))
			r.write(r.manifest(r.last+9)+".ABCDEFGHIJ.tmp", []byte("x"))
		}, want: []string{"unknown-file"}, notices: []string{"outside-file", "temporary-file"}},
		{name: "a payload in another partition", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, "svc=chat", "svc=tools", 1), r.read(name))
			r.remove(name)
		}, want: []string{"payload-missing", "payload-unnamed"}},
		{name: "a payload in two partitions", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, "env=test", "env=prod", 1), r.read(name))
		}, want: []string{"payload-unnamed"}},
		{name: "a payload that no manifest names", do: func(r *root) {
			name := r.chat[2].PayloadPath
			r.write(strings.Replace(name, fmt.Sprintf("%012d", r.chat[2].Batch), fmt.Sprintf("%012d", r.last+5), 1), r.read(name))
		}, want: []string{"payload-unnamed"}},
		{name: "names in another case", do: func(r *root) {
			r.write("seals/GPU-07/0001/identity.vkey", []byte("x"))
			r.write("seals/gpu-07\u200b/0001/identity.vkey", []byte("x"))
			r.write("seals/"+agentID+"/0001/000000000001.Manifest", []byte("x"))
		}, want: []string{"unknown-file"}},
		{name: "a link in place of a payload", do: func(r *root) {
			link(r, filepath.Join(r.folder, r.chat[2].PayloadPath), r.chat[2].PayloadPath)
		}, want: []string{"not-regular", "unreadable"}},
		{name: "a link in place of a folder", do: func(r *root) {
			if err := os.Rename(r.path("records/env=test"), r.path("elsewhere")); err != nil {
				r.t.Fatal(err)
			}
			link(r, "../elsewhere", "records/env=test")
		}, want: []string{"not-regular"}, notices: []string{"outside-file"}},
		{name: "a pipe in place of a manifest", do: func(r *root) {
			name := r.manifest(r.chat[2].Batch)
			r.remove(name)
			if err := syscall.Mkfifo(r.path(name), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, want: []string{"batch-missing", "not-regular", "payload-unnamed", "sshsig-stray"}, notices: unchecked},
		{name: "a link in place of an agent's seals", do: func(r *root) {
			r.rename("seals/"+agentID, "elsewhere")
			link(r, "../elsewhere", "seals/"+agentID)
		}, want: []string{"log-absent", "not-regular", "payload-unnamed"}, notices: []string{"outside-file"}},
		{name: "numbers that the layout does not have", do: func(r *root) {
			file := r.read(r.manifest(1))
			r.write("seals/"+agentID+"/0000/000000000001.manifest", file)
			r.write("seals/"+agentID+"/00001/000000000001.manifest", file)
			r.write("seals/"+agentID+"/0001/1.manifest", file)
			r.write("seals/"+agentID+"/0001/0000000000001.manifest", file)
			r.write("seals/"+agentID+"/0001/checkpoint/1", file)
		}, want: []string{"unknown-file"}},
		{name: "a folder in place of a manifest", do: func(r *root) {
			name := r.manifest(r.chat[2].Batch)
			file := r.read(name)
			r.remove(name)
			r.write(name+"/"+filepath.Base(name), file)
		}, want: []string{"batch-missing", "payload-unnamed", "sshsig-stray", "unknown-file"}, notices: unchecked},
		{name: "folders without end", do: func(r *root) {
			r.write("records/"+strings.Repeat("a/", 200)+"x", []byte("x"))
		}, want: []string{"not-regular"}},
	}
}

// bombs: 10 GB behind a manifest, signed and not signed, cost neither memory nor
// time.
func bombs(t *testing.T, e *evidence) {
	bomb := bombFile(t, 10<<30)
	for _, claim := range []bool{false, true} {
		t.Run(fmt.Sprintf("claimed %t", claim), func(t *testing.T) {
			r := e.copy(t)
			m := r.chat[2]
			r.write(m.PayloadPath, bomb)
			want := []string{"payload-digest", "payload-size"}
			if claim { // that it is as large as it is, in a manifest that nobody signed
				file := regexp.MustCompile(`(?m)^plain \d+$`).ReplaceAll(r.read(r.manifest(m.Batch)), fmt.Appendf(nil, "plain %d", 10<<30))
				r.write(r.manifest(m.Batch), file)
				want = append([]string{"payload-digest"}, unsigned...)
			}
			command := e.site.command("auditail-verify", "archive", r.dir, "--trust", e.trust, "--json")
			out, peak, err := measured(t, command)
			if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, code := range want {
				if !bytes.Contains(out, fmt.Appendf(nil, `"violation","code":%q`, code)) {
					t.Errorf("no %s in\n%s", code, out)
				}
			}
			t.Logf("%d KiB, %s of CPU time", peak, command.ProcessState.UserTime()+command.ProcessState.SystemTime())
			if peak > 100<<10 {
				t.Errorf("took %d KiB", peak)
			}
		})
	}
}

// bombFile is a zstd file of zeros.
func bombFile(t *testing.T, size int) []byte {
	t.Helper()
	const part = 64 << 20
	one := compress(t, make([]byte, part))
	return bytes.Repeat(one, size/part)
}

// TestSetBack: the state directory of an agent is set back to an earlier day, and
// the agent starts from it. Whatever it does, no archive verifies without a word.
func TestSetBack(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 1000))
	s.once()
	saved := s.path("saved")
	if err := os.CopyFS(saved, os.DirFS(s.path("data"))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, accessLines(1000, 1000))
	s.once()
	size := s.read(s.path("archive")).batches
	if err := errors.Join(os.RemoveAll(s.path("data")), os.Rename(saved, s.path("data")), restrict(s.path("data"))); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, accessLines(2000, 1000))
	s.try("auditail", "run", "--once", "--timeout", "20s", "--config", s.path("auditail.toml")) // says no, or opens an epoch
	out, code := s.try("auditail-verify", "archive", s.path("archive"), "--trust", s.trust(), "--expect-size", fmt.Sprintf("%s/0001=%d", logName, size))
	epochs, err := os.ReadDir(s.path("archive/seals/" + agentID))
	if err != nil {
		t.Fatal(err)
	}
	if (code == 1) != (len(epochs) > 1) || code > 1 {
		t.Errorf("exit %d with %d epochs:\n%s", code, len(epochs), out)
	}
}

// restrict gives files the modes that the agent wants to see.
func restrict(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}
