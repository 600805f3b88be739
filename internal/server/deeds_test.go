package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/internal/enrol"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// deed is something that the server, or an operator's command, is asked to do.
type deed struct {
	// prepare makes what it needs; it runs on a disk without faults.
	prepare func(w *deedWorld)
	// do is what is asked: nil when it was answered with success. Whoever asks does
	// the same again after a failure.
	do func(w *deedWorld) error
	// done tells whether what was asked for is so.
	done func(w *deedWorld) bool
	// returns tells that what was done may be undone by a power cut, when an earlier
	// failure was told: to ask again does it again.
	returns bool
	// holds fails the test when something is so that must never be.
	holds func(w *deedWorld)
}

// deedWorld is what a deed is done in.
type deedWorld struct {
	*fixture
	ctx     context.Context
	journal *journal
	twin    *sealtest.Epoch // another history of the fixture's agent
	other   *sealtest.Epoch // of an agent that is not enrolled
	once    string          // one-time token
	got     string          // token that was answered last
	batch   seal.Batch
}

// deeds are all changes of what the servers know, and of the store from within.
// Uploads have tests of their own.
func deeds() map[string]deed {
	return map[string]deed{
		"enrolment":         enrolment(),
		"one-time token":    oneTimeEnrolment(),
		"revocation":        revocation(),
		"new token":         newTokenDeed(),
		"account":           accountDeed(),
		"account revoked":   accountRevoked(),
		"cosignature":       cosignature(),
		"legal hold":        holdDeed(),
		"legal hold lifted": holdLifted(),
		"retention purge":   purge(),
		"evidence of forks": forkEvidence(),
	}
}

func enrolment() deed {
	return deed{
		do: func(w *deedWorld) (err error) {
			w.got, err = Enrol(w.ctx, w.config, w.deps, w.other.Origin.Log, w.other.PublicKey(), "", "")
			if errors.Is(err, ErrEnrolled) { // the first answer was lost
				w.got, err = NewToken(w.ctx, w.config, w.deps, w.other.Origin.Agent, "")
			}
			return err
		},
		done: func(w *deedWorld) bool { return w.authenticates(w.got) },
	}
}

func oneTimeEnrolment() deed {
	return deed{
		prepare: func(w *deedWorld) {
			var err error
			w.once, err = NewOneTime(w.ctx, w.config, w.deps, OneTime{Expires: w.deps.Now().Add(time.Hour)})
			if err != nil {
				w.t.Fatal(err)
			}
		},
		do: func(w *deedWorld) error {
			got := w.enroll(w.request(w.other))
			if got.status != http.StatusOK {
				return wantRetry(got)
			}
			var answer enrol.Response
			err := json.Unmarshal(got.body, &answer)
			w.got = answer.Token
			return err
		},
		done: func(w *deedWorld) bool { return w.authenticates(w.got) },
		holds: func(w *deedWorld) {
			if w.got == "" {
				return
			}
			thief := sealtest.New(w.t, sealtest.Config{Agent: "gpu-09", Identity: sealtest.Key("thief")})
			if got := w.enroll(w.request(thief)); got.status == http.StatusOK {
				w.t.Fatal("the one-time token was used for two keys")
			}
		},
	}
}

func (w *deedWorld) request(e *sealtest.Epoch) *enrol.Request {
	w.t.Helper()
	r, err := enrol.NewRequest(w.once, e.Origin.Log, e.Identity)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *deedWorld) authenticates(token string) bool {
	w.t.Helper()
	_, err := w.server.registry.authenticate(w.ctx, token)
	if err != nil && !errors.Is(err, errUnknown) {
		w.t.Fatal(err)
	}
	return err == nil
}

func revocation() deed {
	return deed{
		do: func(w *deedWorld) error {
			err := Revoke(w.ctx, w.config, w.deps, w.epoch.Origin.Agent)
			if err != nil && strings.Contains(err.Error(), "was revoked on") {
				return nil
			}
			return err
		},
		done: func(w *deedWorld) bool {
			got := w.do(w.uploads(w.batch)[0])
			if got.status != http.StatusForbidden && got.status != http.StatusOK && got.status != http.StatusCreated {
				w.t.Fatalf("status %d: %s", got.status, got.body)
			}
			return got.status == http.StatusForbidden
		},
	}
}

func newTokenDeed() deed {
	return deed{
		do: func(w *deedWorld) (err error) {
			w.got, err = NewToken(w.ctx, w.config, w.deps, w.epoch.Origin.Agent, "")
			return err
		},
		done: func(w *deedWorld) bool { return w.authenticates(w.got) },
		holds: func(w *deedWorld) {
			if w.got != "" && w.authenticates(w.got) == w.authenticates(w.token) {
				w.t.Fatal("not one of the old and the new token is good")
			}
		},
	}
}

func accountDeed() deed {
	return deed{
		do: func(w *deedWorld) (err error) {
			w.got, err = AddAccount(w.ctx, w.config, w.deps, "auditor", Auditor, time.Time{})
			return err
		},
		done: func(w *deedWorld) bool { return w.reads(w.got) },
	}
}

func (w *deedWorld) reads(token string) bool {
	w.t.Helper()
	_, err := w.server.account(w.ctx, token, w.deps.Now())
	if err != nil && !errors.Is(err, errUnknown) {
		w.t.Fatal(err)
	}
	return err == nil
}

func accountRevoked() deed {
	return deed{
		prepare: func(w *deedWorld) { w.got = w.account("auditor", Auditor, time.Time{}) },
		do:      func(w *deedWorld) error { return RevokeAccount(w.ctx, w.config, w.deps, "auditor") },
		done:    func(w *deedWorld) bool { return !w.reads(w.got) },
	}
}

// cosignature: what was answered lies in the archive, and no other history of the
// same log is cosigned ever after.
func cosignature() deed {
	ask := func(w *deedWorld, e *sealtest.Epoch) answer {
		c := e.Checkpoint()
		got := w.witness(addCheckpoint(w.t, e, 0, c))
		if got.status == http.StatusConflict && string(got.body) == strconv.FormatUint(c.Size, 10)+"\n" {
			got = w.witness(addCheckpoint(w.t, e, c.Size, c)) // the first answer was lost
		}
		return got
	}
	return deed{
		do: func(w *deedWorld) error {
			if got := ask(w, w.epoch); got.status != http.StatusOK {
				return wantRetry(got)
			}
			return nil
		},
		done: func(w *deedWorld) bool {
			c := w.epoch.Checkpoint()
			for _, path := range []string{c.Path(), c.Origin.CosignaturePath(c.Size, w.server.witness.WitnessKey)} {
				if ok, err := w.server.store.exists(w.ctx, path); err != nil {
					w.t.Fatal(err)
				} else if !ok {
					return false
				}
			}
			_, last, err := w.server.cosignedHead(w.ctx, witnessCell(c.Origin))
			if err != nil {
				w.t.Fatal(err)
			}
			return last.Size == c.Size && last.Root == c.Root
		},
		holds: func(w *deedWorld) {
			if got := ask(w, w.twin); got.status == http.StatusOK {
				w.t.Fatal("another history was cosigned")
			}
		},
	}
}

var letter = Hold{Name: "case-17", Reason: "a letter"} //nolint:gochecknoglobals // a constant

func holdDeed() deed {
	return deed{
		prepare: expired,
		do: func(w *deedWorld) error {
			err := SetHold(w.ctx, w.config, w.deps, letter)
			if err != nil && strings.Contains(err.Error(), "there is a hold") {
				return nil
			}
			return err
		},
		done: func(w *deedWorld) bool { return w.held() == 1 },
	}
}

func holdLifted() deed {
	return deed{
		prepare: func(w *deedWorld) {
			expired(w)
			if err := SetHold(w.ctx, w.config, w.deps, letter); err != nil {
				w.t.Fatal(err)
			}
		},
		do: func(w *deedWorld) error {
			err := LiftHold(w.ctx, w.config, w.deps, letter.Name)
			if err != nil && strings.Contains(err.Error(), "there is no hold") {
				return nil
			}
			return err
		},
		done: func(w *deedWorld) bool { return w.held() == 0 },
	}
}

// expired lets the term of the payload pass.
func expired(w *deedWorld) {
	w.deps.Now = func() time.Time { return w.batch.Manifest.KeepUntil.Add(time.Hour) }
}

// held is how many payloads a purge would leave for a hold.
func (w *deedWorld) held() int {
	w.t.Helper()
	done, err := ApplyRetention(w.ctx, w.config, w.deps, true)
	if err != nil {
		w.t.Fatal(err)
	}
	return done.Held
}

func purge() deed {
	return deed{
		prepare: expired,
		do: func(w *deedWorld) error {
			_, err := ApplyRetention(w.ctx, w.config, w.deps, false)
			return err
		},
		// A payload that is back is purged, and recorded, by the next run.
		returns: true,
		done: func(w *deedWorld) bool {
			ok, err := w.server.store.exists(w.ctx, w.batch.Manifest.PayloadPath)
			if err != nil {
				w.t.Fatal(err)
			}
			if !ok && w.journal.count("store.purge", "expired") == 0 {
				w.t.Fatal("a payload went and nothing says so")
			}
			return !ok
		},
		holds: func(w *deedWorld) { // seals never go
			for path := range w.epoch.Files {
				if ok, err := w.server.store.exists(w.ctx, path); strings.HasPrefix(path, "seals/") && (err != nil || !ok) {
					w.t.Fatalf("%s: %v, %v", path, ok, err)
				}
			}
		},
	}
}

// forkEvidence: a fork is answered as one whether or not the evidence could be kept,
// and the copy in the store stays.
func forkEvidence() deed {
	second := func(w *deedWorld) request {
		uploads := w.uploads(w.twin.Batches[1])
		i := slices.IndexFunc(uploads, func(r request) bool { return strings.HasSuffix(r.path, ".manifest") })
		return uploads[i]
	}
	return deed{
		do: func(w *deedWorld) error {
			if got := w.do(second(w)); got.status != http.StatusConflict {
				return wantRetry(got)
			}
			return nil
		},
		done: func(w *deedWorld) bool {
			path := second(w).path
			have, _, err := w.server.store.read(w.ctx, path)
			if err != nil || string(have) != string(w.epoch.Files[path]) {
				w.t.Fatalf("the stored manifest is another one: %v", err)
			}
			return true
		},
	}
}

// wantRetry is the error of a refusal that is worth another try; any other one is no
// answer to a fault of the server.
func wantRetry(a answer) error {
	if a.status != http.StatusServiceUnavailable && a.status != http.StatusInsufficientStorage || a.header.Get("Retry-After") == "" {
		panic(fmt.Sprintf("status %d: %s", a.status, a.body))
	}
	return fmt.Errorf("status %d: %s", a.status, a.body)
}

// newDeedWorld is a server over a disk that can break, with a stored log.
func newDeedWorld(t *testing.T, d deed) (*deedWorld, *faulty.FS) {
	t.Helper()
	disk := faulty.New()
	if err := disk.MkdirAll("/srv/audit", storeDirMode); err != nil {
		t.Fatal(err)
	}
	w := &deedWorld{fixture: newFixtureAt(t, disk, "/srv/audit"), ctx: t.Context(), journal: new(journal)}
	w.prepared(d)
	return w, disk
}

// prepared stores a log and makes what a deed needs.
func (w *deedWorld) prepared(d deed) {
	w.t.Helper()
	w.other = sealtest.New(w.t, sealtest.Config{Agent: "gpu-08"})
	w.twin = sealtest.New(w.t, sealtest.Config{})
	w.twin.Open()
	w.twin.Heartbeat()
	w.twin.Close()
	w.ship(w.epoch.Open())
	w.batch = w.epoch.Data(sealtest.Chat(), w.epoch.Records(1))
	w.ship(w.batch, w.epoch.Heartbeat())
	w.deps.Journal = w.journal
	if d.prepare != nil {
		d.prepare(w)
	}
	w.start()
}

// check wants the deed to be done, and what must hold to hold.
func (w *deedWorld) check(d deed, at string) {
	w.t.Helper()
	if !d.done(w) {
		w.t.Fatalf("%s: it was answered with success and is not done", at)
	}
	if d.holds != nil {
		d.holds(w)
	}
}

// TestDeedsInPowerCuts cuts the power behind each change of the disk in the middle
// of each deed: what was answered is done, what was not can be asked for again.
func TestDeedsInPowerCuts(t *testing.T) {
	for name, d := range deeds() {
		t.Run(name, func(t *testing.T) {
			w, disk := newDeedWorld(t, d)
			var images []*faulty.Image
			disk.Observe(func(_ faulty.Operation, image *faulty.Image) { images = append(images, image) })
			if err := d.do(w); err != nil {
				t.Fatal(err)
			}
			disk.Observe(nil)
			if len(images) == 0 {
				t.Fatal("nothing was changed")
			}
			answered := disk.Image()
			got := w.got
			for i, image := range append(images, answered) {
				for loss, taken := range losses() {
					at := fmt.Sprintf("change %d of %d, loss %s", i, len(images), loss)
					w.deps.FS = image.PowerCut(rand.New(rand.NewPCG(6, uint64(i))), taken)
					w.start()
					w.got = got
					if image == answered {
						w.check(d, at)
					}
					if err := d.do(w); err != nil {
						t.Fatalf("%s: asked again: %v", at, err)
					}
					w.check(d, at+", asked again")
				}
			}
		})
	}
}

// diskFaults are the ways in which one operation of the disk fails, and the status
// that an agent is answered then.
func diskFaults() map[string]diskFault {
	return map[string]diskFault{
		"disk full":                  {faulty.Fault{Kinds: faulty.Changing, Err: syscall.ENOSPC}, http.StatusInsufficientStorage},
		"quota":                      {faulty.Fault{Kinds: faulty.Create | faulty.Write, Err: syscall.EDQUOT}, http.StatusInsufficientStorage},
		"disk broken":                {faulty.Fault{Err: syscall.EIO}, http.StatusServiceUnavailable},
		"done and reported as error": {faulty.Fault{Kinds: faulty.Changing, Err: syscall.EIO, Done: true}, http.StatusServiceUnavailable},
		"sync that loses":            {faulty.Fault{Kinds: faulty.Sync, Err: syscall.EIO, Lose: true}, http.StatusServiceUnavailable},
	}
}

type diskFault struct {
	fault  faulty.Fault
	status int
}

// TestDeedsOnABadDisk lets each operation of each deed fail once. Who asks is told,
// or it is done; asked again it is done; and then it stays so through a power cut.
func TestDeedsOnABadDisk(t *testing.T) {
	for name, d := range deeds() {
		for what, one := range diskFaults() {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				failed := 0
				for offset, reached := 0, true; reached; offset++ {
					at := fmt.Sprintf("operation %d", offset)
					w, disk := newDeedWorld(t, d)
					one.fault.From = disk.Operations() + 1 + offset
					disk.Inject(one.fault)
					err := d.do(w)
					reached = disk.Operations() >= one.fault.From
					disk.Heal()
					if err != nil {
						failed++
						if err := d.do(w); err != nil {
							t.Fatalf("%s: asked again: %v", at, err)
						}
					}
					w.check(d, at)
					w.deps.FS = disk.Image().PowerCut(rand.New(rand.NewPCG(7, 0)), faulty.All)
					w.start()
					if err != nil && d.returns {
						if err := d.do(w); err != nil {
							t.Fatalf("%s, power cut: asked again: %v", at, err)
						}
					}
					w.check(d, at+", power cut")
				}
				if failed == 0 && one.fault.Kinds == 0 {
					t.Error("no failure was seen")
				}
			})
		}
	}
}
