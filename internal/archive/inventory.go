package archive

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// inventory is what lies in an archive, taken in one listing before anything is
// checked, so that whatever no check asks for is noticed too.
type inventory struct {
	trust     Trust
	agents    map[string]map[int]*epochFiles // of trusted names
	untrusted map[string]bool                // agent names that the trust file does not know, the first maxStrays
	numbers   budget
	strays    list // files that are no part of an archive
	bytes     int64
	seals     bool // there is a file below seals/
	records   bool
	// doubled tells that a batch has several payload files: two folders of
	// records/ hold the same number.
	doubled bool
}

// epochFiles are the files of an epoch.
type epochFiles struct {
	identity     bool
	manifests    numberSet
	signatures   numberSet
	checkpoints  numberSet
	cosignatures map[string]*numberSet // tree sizes, by the key id of the witness
	hidden       numberSet             // payloads that a delete marker hides
	payloads     numberSet             // by their number, wherever in records/ they lie
	found        numberSet             // payloads that lie where their manifest says
}

// list keeps findings that come in no particular order, up to a bound.
type list struct {
	findings []Finding
	more     map[Level]int // without room
}

// maxStrays bounds the memory that files of foreign names can take.
const maxStrays = 1000

func (l *list) add(f Finding) {
	if len(l.findings) == maxStrays {
		if l.more == nil {
			l.more = make(map[Level]int)
		}
		l.more[f.Level]++
		return
	}
	l.findings = append(l.findings, f)
}

// sorted returns the findings by path, and one that counts those left out.
func (l *list) sorted() []Finding {
	slices.SortFunc(l.findings, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	findings := l.findings
	for _, level := range []Level{Violation, Notice} {
		if n := l.more[level]; n > 0 {
			what := fmt.Sprintf("%d more files that do not belong here are not listed", n)
			findings = append(findings, Finding{Level: level, Code: UnknownFile, Path: ".", What: what})
		}
	}
	return findings
}

func takeInventory(ctx context.Context, source Source, trust Trust) (*inventory, error) {
	inv := &inventory{trust: trust, agents: make(map[string]map[int]*epochFiles), untrusted: make(map[string]bool)}
	outside := make(map[string]bool)
	err := source.List(ctx, func(e Entry) error {
		top, _, _ := strings.Cut(e.Path, "/")
		switch top {
		case "seals":
			inv.seals = true
		case "records":
			inv.records = true
		default:
			if !outside[top] {
				if len(outside) < maxStrays {
					outside[top] = true
				}
				inv.strays.add(Finding{Level: Notice, Code: OutsideFile, Path: top, What: "lies beside seals and records; not looked at"})
			}
			return nil
		}
		inv.take(e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	return inv, nil
}

func (inv *inventory) take(e Entry) {
	stray := func(level Level, code Code, what string) {
		inv.strays.add(Finding{Level: level, Code: code, Path: e.Path, What: what})
	}
	if !e.Regular {
		stray(Violation, NotRegular, "is not a regular file: no archive holds links, pipes or devices")
		return
	}
	name, err := seal.ParsePath(e.Path)
	if err != nil {
		if strings.HasSuffix(e.Path, durable.TempSuffix) {
			stray(Notice, TemporaryFile, "left over by an interrupted write; no part of the archive")
			return
		}
		stray(Violation, UnknownFile, "is no name of an archive: nothing vouches for this file")
		return
	}
	inv.bytes += e.Size
	inv.versions(e, name.Kind)
	if len(inv.trust.logs(name.Agent)) == 0 {
		// Nothing of it will be verified, so that nothing has to be remembered.
		if inv.untrusted[name.Agent] || len(inv.untrusted) < maxStrays {
			inv.untrusted[name.Agent] = true
		} else {
			stray(Violation, KeyUnknown, "belongs to one more agent that the trust file does not name")
		}
		return
	}
	files := inv.epoch(name.Agent, name.Epoch)
	set := &files.payloads
	switch name.Kind {
	case seal.IdentityObject:
		files.identity = true
		return
	case seal.ManifestObject:
		set = &files.manifests
	case seal.SignatureObject:
		set = &files.signatures
	case seal.CheckpointObject:
		set = &files.checkpoints
	case seal.CosignatureObject:
		if set = files.cosigned(name.KeyID); set == nil {
			stray(Violation, UnknownFile, "a cosignature beyond those of 1000 witnesses: nobody has so many")
			return
		}
	case seal.PayloadObject:
	}
	if name.Number == 0 && (name.Kind == seal.CheckpointObject || name.Kind == seal.CosignatureObject) {
		stray(Violation, UnknownFile, "nobody signs the head of an empty log")
		return
	}
	isNew, fits := inv.numbers.add(set, name.Number)
	if !fits {
		stray(Violation, UnknownFile, "the numbers of this archive are so scattered that they are no log's: this file was not looked at")
		return
	}
	if name.Kind == seal.PayloadObject {
		inv.doubled = !isNew || inv.doubled
		if e.Hidden {
			files.hidden.add(name.Number)
		}
	}
}

// versions reports what a store that keeps versions tells of a file.
func (inv *inventory) versions(e Entry, kind seal.ObjectKind) {
	add := func(level Level, code Code, format string, args ...any) {
		inv.strays.add(Finding{Level: level, Code: code, Path: e.Path, What: fmt.Sprintf(format, args...)})
	}
	switch {
	case e.Overwritten:
		add(Violation, VersionsDiffer, "was overwritten: of its %d versions, which are not the same bytes, the oldest was verified", e.Versions)
	case e.Versions > 1:
		add(Notice, VersionsRepeat, "was written %d times with the same bytes", e.Versions)
	}
	if e.Hidden && kind != seal.PayloadObject { // that of a payload depends on its term
		add(Violation, VersionHidden, "was deleted: a delete marker hides it; the version behind it was verified")
	}
}

// cosigned returns the sizes that a witness cosigned, nil when there are too
// many witnesses.
func (f *epochFiles) cosigned(key string) *numberSet {
	set := f.cosignatures[key]
	if set == nil && len(f.cosignatures) < maxStrays {
		if f.cosignatures == nil {
			f.cosignatures = make(map[string]*numberSet)
		}
		set = new(numberSet)
		f.cosignatures[key] = set
	}
	return set
}

func (inv *inventory) epoch(agent string, number int) *epochFiles {
	epochs := inv.agents[agent]
	if epochs == nil {
		epochs = make(map[int]*epochFiles)
		inv.agents[agent] = epochs
	}
	if epochs[number] == nil {
		epochs[number] = new(epochFiles)
	}
	return epochs[number]
}

// sealed returns the epochs of an agent that have a file below seals/, in order.
func (inv *inventory) sealed(agent string) []int {
	var numbers []int
	for number, files := range inv.agents[agent] {
		if files.identity || files.manifests.size > 0 || files.signatures.size > 0 || files.checkpoints.size > 0 || len(files.cosignatures) > 0 {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func (inv *inventory) names() []string { return slices.Sorted(maps.Keys(inv.agents)) }

// unnamed finds the payload files that no manifest vouches for, by listing the
// archive a second time, but only when the first listing says that there are some.
func (v *verifier) unnamed(ctx context.Context) ([]Finding, error) {
	extra := v.inventory.doubled
	for agent := range v.inventory.agents {
		for _, files := range v.inventory.agents[agent] {
			for n, ok := files.payloads.next(0); ok && !extra; n, ok = files.payloads.next(n + 1) {
				extra = !files.found.has(n)
			}
		}
	}
	if !extra {
		return nil, nil
	}
	var found list
	err := v.source.List(ctx, func(e Entry) error {
		name, ok := payloadName(e)
		if !ok || len(v.options.Trust.logs(name.Agent)) == 0 {
			return nil
		}
		switch {
		case !v.inventory.epoch(name.Agent, name.Epoch).found.has(name.Number):
			found.add(Finding{Level: Violation, Code: PayloadUnnamed, Path: e.Path, What: "no manifest names this payload"})
		case v.inventory.doubled && !v.named(ctx, e.Path, name):
			found.add(Finding{Level: Violation, Code: PayloadUnnamed, Path: e.Path, What: "the manifest of this batch names another payload"})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	return found.sorted(), nil
}

func payloadName(e Entry) (seal.ObjectName, bool) {
	name, err := seal.ParsePath(e.Path)
	return name, err == nil && e.Regular && name.Kind == seal.PayloadObject
}

// named tells whether the manifest of a payload's number names its path.
func (v *verifier) named(ctx context.Context, path string, name seal.ObjectName) bool {
	o := seal.Origin{Log: seal.Log{Agent: name.Agent}, Epoch: name.Epoch}
	file, err := v.readSmall(ctx, o.ManifestPath(name.Number))
	if err != nil {
		return false
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		return false
	}
	m, err := seal.ParseText(text)
	return err == nil && m.PayloadPath == path
}
