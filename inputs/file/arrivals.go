package file

import (
	"context"

	"github.com/auditail/auditail/inputs"
)

// arrivals tells of the files that came under a name, by the events of their
// directory, whether they went before anybody could open them. What stood in
// such a file nobody can say; that it was there is known.
//
// Events come late: what is opened when the creation of a file is heard of may
// already be the next file of that name. It shows when the next creation leads
// to the same file.
type arrivals map[string]arrival

// arrival is the newest file that came under a name.
type arrival struct {
	id      fileID // of what was opened when it came; zero: it was gone
	written bool
	removed bool
}

// maxArrivals bounds how many names are remembered.
const maxArrivals = 4096

// came notes a new file under a name. It returns true when the one before it
// was written to and never opened.
func (a arrivals) came(name string, id fileID) (vanished bool) {
	before, known := a[name]
	if known {
		unopened := before.id == fileID{} && !before.removed || before.id == id && id.born != 0
		vanished = before.written && unopened
	} else if len(a) >= maxArrivals {
		return false
	}
	a[name] = arrival{id: id}
	return vanished
}

// wrote notes that the file of a name was written to.
func (a arrivals) wrote(name string) {
	if now, known := a[name]; known && !now.written {
		now.written = true
		a[name] = now
	}
}

// went notes that the file of a name was deleted. It returns true when it was
// written to and never opened.
func (a arrivals) went(name string) (vanished bool) {
	now, known := a[name]
	if !known || now.removed {
		return false
	}
	now.removed = true
	a[name] = now
	return now.written && now.id == fileID{}
}

// left forgets a name whose file has another name now, or can not be opened.
func (a arrivals) left(name string) { delete(a, name) }

// reportVanished writes down that a file was deleted before it could be opened.
// A look may have opened one that no event could: then its generation knows.
func (f *follower) reportVanished(ctx context.Context, names []string) {
	for _, name := range names {
		if f.openedByLook(name) {
			continue
		}
		f.log.WarnContext(ctx, "file was deleted before it could be opened", "path", name)
		f.chunk.Gaps = append(f.chunk.Gaps, inputs.Gap{Generation: newGenerationID(), Path: name, Cause: inputs.CauseRemoved})
	}
}

// openedByLook tells whether a look found a file of this name that no event
// led to: the events of a busy machine come long after what they tell of. Each
// such file answers for one event.
func (f *follower) openedByLook(name string) bool {
	for _, g := range f.generations {
		if g.path == name && !g.announced {
			g.announced = true
			return true
		}
	}
	return false
}
