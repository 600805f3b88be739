package file

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/inputs"
)

// failure is why a path could not be read, and when that was tried last.
type failure struct {
	err error
	at  time.Time
}

// A failure that was not met again for so long is over: the file became readable, or
// is not there any more. What is tried again is tried every second.
const failureOver = 10 * time.Second

// mostFailing bounds what Lag tells.
const mostFailing = 100

func (f *follower) fails(path string, err error) { f.failures[path] = failure{err, f.now()} }

// tellFailures brings what Lag says of files that can not be read up to date.
func (f *follower) tellFailures(now time.Time) {
	var list []inputs.Unreadable
	for path, failed := range f.failures {
		switch {
		case !f.scan && now.Sub(failed.at).Abs() > failureOver: // also of a clock that was set
			delete(f.failures, path)
		case errors.Is(failed.err, fs.ErrNotExist): // it is gone, not unreadable
		default:
			reason := failed.err
			if at := new(fs.PathError); errors.As(reason, &at) {
				reason = at.Err
			}
			list = append(list, inputs.Unreadable{Path: path, Reason: reason.Error()})
		}
	}
	slices.SortFunc(list, func(a, b inputs.Unreadable) int { return strings.Compare(a.Path, b.Path) })
	list = list[:min(len(list), mostFailing)]
	f.in.failing.Store(&list)
}
