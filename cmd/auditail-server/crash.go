package main

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/server"
)

// beginRun starts the watcher of crashes for a server whose own folder is dir, and
// says how the run before ended. From then on d writes its log through the
// watcher's door. The caller holds the lock of dir, and calls finish at the end.
func beginRun(d *server.Deps, stderr io.Writer, level slog.Level, dir string) (finish func() error) {
	watcher, unwatched := crash.Watch(stderr, crash.CommandName, "--", dir)
	if unwatched == nil {
		d.Logger = deps(watcher.Stderr(), level).Logger
	} else {
		d.Logger.Warn("a crash would not be written down", "error", unwatched)
	}
	run := crash.Start(d.FS, dir, time.Now(), d.Logger)
	return func() error {
		err := run.Finish()
		if watcher != nil {
			err = errors.Join(err, watcher.Stop())
		}
		return err
	}
}
