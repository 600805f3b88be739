package file

import (
	"strings"
	"testing"

	"github.com/auditail/auditail/inputs/inputstest"
)

func TestScan(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	s.write(500)
	s.file.WriteString("no line end")
	appendTo(t, s.path("y.log"), strings.Join(s.want, "\n"))
	s.expect(s.want...)
	s.expect("no line end")
	scan := func() {
		t.Helper()
		if err := newInput(t, s.config).Scan(t.Context(), s.to.Resume(), s.to); err != nil {
			t.Fatal(err)
		}
	}
	scan()
	s.to.Same(s.want)
	scan()
	s.to.Same(s.want)
	s.file.WriteString("\n") // ends the line that was counted already
	s.expect("")
	s.write(100)
	s.rotate()
	s.write(100)
	s.rotate()
	s.write(100)
	scan()
	s.to.Same(s.want)
	s.noGaps()
}

func TestLag(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.write(20_000)
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	first := true
	s.to.Before(inputBlock(&first, entered, release))
	in := newInput(t, s.config)
	s.running = inputstest.Start(t, in, s.to)
	<-entered
	lag := in.Lag()
	if lag.Sources != 1 || lag.Bytes <= 0 {
		t.Errorf("lag %+v while the first chunk waits", lag)
	}
	close(release)
	s.caughtUp()
	if lag := in.Lag(); lag.Bytes != 0 {
		t.Errorf("lag %+v after everything was read", lag)
	}
	s.running.Stop()
}
