package file

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

var liveWorkers = flag.Int("model.workers", 1, "how many times TestModelLive runs beside itself")

// liveModel is the model under an input that runs all the time: what happens
// to the files meets events, polls and looks at any moment.
type liveModel struct {
	model
	outer   *testing.T
	running *inputstest.Running
}

func (m *liveModel) start() {
	in, err := New(Config{Name: "model", Paths: []string{m.path(live + "*")}, Multiline: m.multiline}, Deps{Logger: m.story.logger()})
	m.check(err)
	in.limits = quick()
	in.limits.maxLines = 25 // several chunks a file
	// A short copy is taken for a file of its own when its original is not
	// truncated for so long: the model must not be slower than that.
	in.limits.grace = defaultLimits().grace
	m.to.Before(func(_ int, c inputs.Chunk) error {
		for i, l := range c.Lines {
			if i == 0 || l.Generation != c.Lines[i-1].Generation {
				m.story.tell("chunk: generation %s from %d: %.20q", l.Generation, l.Offset, l.Data)
			}
		}
		return nil
	})
	m.running = inputstest.Start(m.outer, in, m.to)
}

// caughtUp waits until everything that stands in a file is durable.
func (m *liveModel) caughtUp(rt *rapid.T) {
	var missing string
	there := func() bool {
		durable := map[string]bool{}
		for _, line := range m.to.Data() {
			durable[line] = true
		}
		for name, lines := range m.files {
			for _, line := range lines {
				if !durable[line] {
					missing = fmt.Sprintf("%q in %s", line, name)
					return false
				}
			}
		}
		return true
	}
	if !m.to.Wait(time.Minute, there) {
		rt.Fatalf("%s is never read, after\n%s", missing, m.story)
	}
	for _, lines := range m.files {
		for _, line := range lines {
			m.read[line] = true
		}
	}
}

// atAnyMoment lets the input come as far as it comes in a random time.
func (m *liveModel) atAnyMoment(rt *rapid.T) {
	within := time.Duration(rapid.IntRange(0, 60).Draw(rt, "ms")) * time.Millisecond
	m.to.Wait(within, func() bool { return false })
}

// stopped lets things happen while the input is down.
func (m *liveModel) stopped(rt *rapid.T, actions map[string]func(*rapid.T)) {
	if rapid.Bool().Draw(rt, "kill -9") {
		m.running.Kill(m.to)
	} else {
		m.running.Stop()
	}
	m.story.tell("stopped")
	for range rapid.IntRange(0, 3).Draw(rt, "meanwhile") {
		m.act(rt, actions)
	}
	m.start()
}

func (m *liveModel) act(rt *rapid.T, actions map[string]func(*rapid.T)) {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(actions))).Draw(rt, "action")
	m.story.tell("%s begins", name)
	actions[name](rt)
	m.story.tell("%s done, %v", name, m.sizes())
}

// sizes is what the files are and how many lines each has.
func (m *liveModel) sizes() []string {
	var out []string
	for name, lines := range m.files {
		st, err := statPath(m.path(name))
		m.check(err)
		out = append(out, fmt.Sprintf("%s: inode %d, %d lines", name, st.id.inode, len(lines)))
	}
	slices.Sort(out)
	return out
}

// TestModelLive compares an input that follows, is stopped and is killed to the
// reference, over random sequences of what is done to a log.
func TestModelLive(t *testing.T) {
	t.Parallel()
	for worker := range *liveWorkers {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) { testLive(t, rt) })
		})
	}
}

func testLive(t *testing.T, rt *rapid.T) {
	m := &liveModel{outer: t, model: model{
		t: rt, dir: t.TempDir(), to: inputstest.NewRecorder(t),
		dated:     rapid.Bool().Draw(rt, "dated"),
		multiline: rapid.SampledFrom([]Multiline{{}, {Continue: "^never"}}).Draw(rt, "multiline"),
		files:     map[string][]string{}, fate: map[string]bool{}, read: map[string]bool{}, story: &story{},
	}}
	done := map[string]func(*rapid.T){
		"append": m.append, "rename": m.rename, "copytruncate": m.copyTruncate, "pack": m.pack,
		"remove a rotated file": m.removeRotated, "remove the log": m.removeLive, "truncate": m.truncate, "edit": m.edit,
	}
	all := map[string]func(*rapid.T){
		"catch up": m.caughtUp, "wait": m.atAnyMoment,
		"stop": func(rt *rapid.T) { m.stopped(rt, done) },
	}
	maps.Copy(all, done)
	m.append(rt)
	m.start()
	defer func() { m.running.Stop() }()
	m.caughtUp(rt) // what is rotated away before the first look is in nobody's glob
	for range rapid.IntRange(1, 20).Draw(rt, "steps") {
		m.act(rt, all)
		m.invariant(rt)
	}
	m.caughtUp(rt)
	m.atAnyMoment(rt)
	m.invariant(rt)
	for line, must := range m.fate {
		if must && !m.read[line] {
			rt.Fatalf("%q was neither destroyed nor read, after\n%s", line, m.story)
		}
	}
}
