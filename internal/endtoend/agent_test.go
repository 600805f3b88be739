package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const accessInput = `
[[inputs.file]]
name = "access"
paths = ["DIR/logs/access.log"]
parser = "combined"
service = "chat"
provider = "vllm"
`

// accessLines makes lines whose user is their number.
func accessLines(from, n int) []byte {
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "10.0.%d.%d - u%07d [21/Nov/2026:09:06:34 +0000] \"POST /v1/chat/completions HTTP/1.1\" 200 %d \"-\" \"openai-python/1.99.2\"\n", i>>8&255, i&255, i, i)
	}
	return b.Bytes()
}

func appendTo(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := appendFile(name, data); err != nil {
		t.Fatal(err)
	}
}

func appendFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// wantLines checks that the archive holds the records of lines 0 to n-1, each once.
func wantLines(t *testing.T, c contents, n int) {
	t.Helper()
	seen := make([]int, n)
	for _, r := range c.records {
		var i int
		if _, err := fmt.Sscanf(text(r, "actor.id"), "u%07d", &i); err == nil {
			seen[i]++
		}
	}
	lost, repeated := 0, 0
	for _, times := range seen {
		switch {
		case times == 0:
			lost++
		case times > 1:
			repeated += times - 1
		}
	}
	if lost != 0 || repeated != 0 || c.repeated() != 0 {
		t.Errorf("lost %d, repeated %d by line and %d by id or place", lost, repeated, c.repeated())
	}
	if c.lines.Read != uint64(n) || c.lines.Recorded != uint64(n) {
		t.Errorf("manifests count %+v, want %d read and recorded", c.lines, n)
	}
}

// Promises 1 and 2: kill -9 at random moments of a backlog loses and repeats nothing.
func TestKilledInABacklog(t *testing.T) {
	const lines, kills = 200_000, 20
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_size = \"1MiB\"\n")
	appendTo(t, s.path("logs/access.log"), accessLines(0, lines))
	random := rand.New(rand.NewPCG(20, 26))
	for range kills {
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		<-time.After(time.Duration(20+random.IntN(180)) * time.Millisecond)
		p.kill()
	}
	s.once()
	wantLines(t, s.read(s.path("archive")), lines)
	t.Log(s.verify(s.path("archive")))
}

// Promise 1 across rotations: while it runs, and while it is dead.
func TestRotationsAndKills(t *testing.T) {
	const rounds, perRound = 12, 2_000
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
	log := s.path("logs/access.log")
	// The file is known before it rotates; what was rotated away before the
	// first start is in nobody's glob.
	appendTo(t, log, accessLines(0, 1))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	await(t, "the first line", func() bool { return s.arrived() == 1 })
	for i := range rounds {
		appendTo(t, log, accessLines(1+i*perRound, perRound/2))
		if i%3 == 1 {
			p.kill()
		}
		for n := i; n > 0; n-- { // access.log.1 is the newest
			from := fmt.Sprintf("%s.%d", log, n-1)
			if n == 1 {
				from = log
			}
			if err := os.Rename(from, fmt.Sprintf("%s.%d", log, n)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		appendTo(t, log, accessLines(1+i*perRound+perRound/2, perRound/2))
		if i%3 == 1 {
			p = s.start("auditail", "run", "--config", s.path("auditail.toml"))
		}
	}
	p.logged("msg=running").terminate(10 * time.Second)
	s.once()
	wantLines(t, s.read(s.path("archive")), 1+rounds*perRound)
	s.verify(s.path("archive"))
}

// A line is durable and shipped soon after it was written, and SIGTERM ends the
// log with close within 10 s.
func TestFollowsAndStops(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	for i := range 5 {
		appendTo(t, s.path("logs/access.log"), accessLines(i*10, 10))
		await(t, "the lines in the archive", func() bool { return s.arrived() == uint64(i*10+10) })
	}
	p.terminate(10 * time.Second)
	c := s.read(s.path("archive"))
	wantLines(t, c, 50)
	last := s.manifest(filepath.Join(s.path("archive"), "seals", agentID, "0001", fmt.Sprintf("%012d.manifest", c.batches-1)))
	if last.Kind != "close" {
		t.Errorf("the log ends with kind %s", last.Kind)
	}
	s.verify(s.path("archive"), "--strict", "--expect-size", fmt.Sprint(c.batches))
}

// Two agents on one data_dir would seal two logs under one name.
func TestSecondAgentIsRefused(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	await(t, "the first agent", func() bool {
		_, err := os.Stat(s.path("data/buffer/seal.json"))
		return err == nil
	})
	out, code := s.try("auditail", "run", "--config", s.path("auditail.toml"))
	if code != 1 || !strings.Contains(out, "another auditail runs with data_dir") {
		t.Errorf("exit %d: %s", code, out)
	}
	p.terminate(10 * time.Second)
}

// The archive verifies with tools that know nothing of auditail.
func TestStockTools(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	appendTo(t, s.path("logs/access.log"), accessLines(0, 1000))
	s.once()
	appendTo(t, s.path("logs/access.log"), accessLines(1000, 1000))
	s.once()
	s.write("signers", s.run("auditail", "keys", "show", "--config", s.path("auditail.toml"), "--format", "allowed-signers"))
	script := `cd archive
find seals -name '*.manifest' -print0 | xargs -0 sha256sum -c --quiet
for m in seals/*/*/*.manifest; do
	ssh-keygen -q -Y verify -f ../signers -I ` + logName + ` -n auditail-manifest -s $m.sig < $m
done
find records -name '*.zst' -print0 | xargs -0 zstd -dcq > ../records.ndjson
`
	stock := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	stock.Dir = s.dir
	if out, err := stock.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	records, err := os.ReadFile(s.path("records.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := bytes.Count(records, []byte("\n")), len(s.read(s.path("archive")).records); got != want {
		t.Errorf("zstd finds %d records, want %d", got, want)
	}
	// And they find a changed byte.
	payload, err := filepath.Glob(s.path("archive/records/*/svc=chat/*/*/*/*.zst"))
	if err != nil || len(payload) == 0 {
		t.Fatal(payload, err)
	}
	flip(t, payload[0])
	stock = exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	stock.Dir = s.dir
	if out, err := stock.CombinedOutput(); err == nil || !strings.Contains(string(out), "FAILED") {
		t.Errorf("a changed byte passes: %v\n%s", err, out)
	}
}

func flip(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Promise 6, on an archive that a killed and restarted agent made.
func TestTamperingShows(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_size = \"64KiB\"\n")
	appendTo(t, s.path("logs/access.log"), accessLines(0, 20_000))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	await(t, "a first batch", func() bool {
		_, err := os.Stat(s.path("archive/seals/" + agentID + "/0001/000000000003.manifest.sig"))
		return err == nil
	})
	p.kill()
	s.once()
	trust := s.trust()
	size := s.read(s.path("archive")).batches
	s.verify(s.path("archive"), "--expect-size", fmt.Sprint(size))
	other := newSite(t, accessInput, directoryOutput)
	appendTo(t, other.path("logs/access.log"), accessLines(0, 20_000))
	other.once()

	seals := "seals/" + agentID + "/0001/"
	number := func(n int) string { return fmt.Sprintf("%s%012d.manifest", seals, n) }
	payload := func(root string, n int) string {
		return filepath.Join(root, filepath.FromSlash(s.manifest(filepath.Join(s.path("archive"), number(n))).PayloadPath))
	}
	attacks := map[string]func(t *testing.T, root string){
		"byte of a payload":   func(t *testing.T, root string) { flip(t, payload(root, 3)) },
		"byte of a manifest":  func(t *testing.T, root string) { flip(t, filepath.Join(root, number(3))) },
		"byte of a signature": func(t *testing.T, root string) { flip(t, filepath.Join(root, number(3)+".sig")) },
		"batch dropped": func(t *testing.T, root string) {
			remove(t, payload(root, 3), filepath.Join(root, number(3)), filepath.Join(root, number(3)+".sig"))
		},
		"payload dropped": func(t *testing.T, root string) { remove(t, payload(root, 3)) },
		"batches swapped": func(t *testing.T, root string) {
			swap(t, filepath.Join(root, number(3)), filepath.Join(root, number(4)))
			swap(t, filepath.Join(root, number(3)+".sig"), filepath.Join(root, number(4)+".sig"))
			swap(t, payload(root, 3), payload(root, 4))
		},
		"tail cut": func(t *testing.T, root string) {
			remove(t, filepath.Join(root, number(size-1)), filepath.Join(root, number(size-1)+".sig"))
			checkpoints, err := filepath.Glob(filepath.Join(root, seals, "checkpoint", "*"))
			if err != nil {
				t.Fatal(err)
			}
			remove(t, checkpoints[len(checkpoints)-1])
		},
		"signed with another key": func(t *testing.T, root string) {
			if err := os.RemoveAll(root); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(root, os.DirFS(other.path("archive"))); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "archive")
			if err := os.CopyFS(root, os.DirFS(s.path("archive"))); err != nil {
				t.Fatal(err)
			}
			attack(t, root)
			out, code := s.try("auditail-verify", "archive", root, "--trust", trust, "--expect-size", fmt.Sprint(size))
			if code != 1 || !strings.Contains(out, "violation") {
				t.Errorf("exit %d:\n%s", code, out)
			}
		})
	}
}

func remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	for _, step := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// Promise 12: a flipped bit in the buffer costs nothing while the source is still
// there, also under another name: what was read since is read again. Only when the
// source is gone is what the frame held a signed gap. Either way it is recorded,
// and the archive verifies.
func TestDamagedBuffer(t *testing.T) {
	const rounds, perRound = 10, 100
	for name, change := range map[string]func(log string) error{
		"the log is there": func(string) error { return nil },
		"it was rotated":   func(log string) error { return os.Rename(log, log+".1") },
		"it is gone":       os.Remove,
		"it was replaced":  func(log string) error { return os.WriteFile(log, accessLines(rounds*perRound, 1), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, accessInput, directoryOutput)
			segments, log := s.path("data/buffer/segments"), s.path("logs/access.log")
			p := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
			var ends []int64 // of the segment, behind each round
			for i := range rounds {
				before := folderSize(t, segments)
				appendTo(t, log, accessLines(i*perRound, perRound))
				await(t, "a commit", func() bool { return folderSize(t, segments) > before })
				ends = append(ends, folderSize(t, segments))
			}
			p.kill()
			flipAt(t, filepath.Join(segments, newestSegment(t, s)), (ends[4]+ends[5])/2)
			if err := change(log); err != nil {
				t.Fatal(err)
			}
			s.once()
			out := s.verify(s.path("archive"))
			c := s.read(s.path("archive"))
			there, told := 0, 0
			for _, r := range c.records {
				if strings.HasPrefix(text(r, "actor.id"), "u") {
					there++
				}
				if text(r, "alert.rule") == "auditail.buffer-damaged" {
					told++
				}
			}
			if told != 1 {
				t.Errorf("the damage is in %d records", told)
			}
			if kept, err := filepath.Glob(s.path("data/buffer/quarantine/*.damaged")); err != nil || len(kept) != 1 {
				t.Errorf("in quarantine: %q, %v", kept, err)
			}
			if name == "the log is there" || name == "it was rotated" {
				wantLines(t, c, rounds*perRound)
				if strings.Contains(out, "signed gap") {
					t.Errorf("a gap:\n%s", out)
				}
				return
			}
			if !strings.Contains(out, "signed gap") || !strings.Contains(out, "buffer_damaged") {
				t.Errorf("no gap:\n%s", out)
			}
			if there > rounds*perRound || there < (rounds-2)*perRound || c.repeated() != 0 {
				t.Errorf("%d of %d records are there, %d repeated", there, rounds*perRound, c.repeated())
			}
		})
	}
}

func folderSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

func flipAt(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
