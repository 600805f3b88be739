package httpoutput_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/loghead"
	httpoutput "github.com/auditail/auditail/outputs/http"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// says answers with a text of a type.
func says(code int, kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		io.WriteString(w, text)
	}
}

// TestHead: whatever the server answers, there is no head but the one that it tells,
// and Ship goes on behind it.
func TestHead(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	first := e.Open()
	held := seal.Head{Size: 1, Root: seal.LeafHash(first.ManifestFile)}
	other := e.Origin
	other.Epoch = 2
	good := loghead.Format(e.Origin, held)
	far := seal.Head{Size: 1 << 40, Root: seal.LeafHash([]byte("x"))}
	const (
		waits       = "waits" // asks again
		unsupported = "never says"
		refused     = "does not say"
	)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string    // when there is no head
		head   seal.Head // else
	}{
		"itself":                {nil, "", held},
		"ahead":                 {says(200, loghead.Type, loghead.Format(e.Origin, far)), "", far},
		"an older copy":         {says(200, loghead.Type, loghead.Format(e.Origin, seal.Head{Root: seal.EmptyRoot()})), "", seal.Head{Root: seal.EmptyRoot()}},
		"no root":               {says(200, loghead.Type, loghead.Format(e.Origin, seal.Head{Size: 9})), "", seal.Head{Size: 9}},
		"of another log":        {says(200, loghead.Type, loghead.Format(other, held)), refused, seal.Head{}},
		"nonsense":              {says(200, loghead.Type, "\x1b[2Jwelcome\n\n\n"), refused, seal.Head{}},
		"empty":                 {says(200, loghead.Type, ""), refused, seal.Head{}},
		"10 GB":                 {endless(200, loghead.Type), refused, seal.Head{}},
		"a page":                {says(200, "text/html", good), unsupported, seal.Head{}},
		"10 GB of a page":       {endless(200, "text/html"), unsupported, seal.Head{}},
		"another type":          {says(200, "text/plain", good), unsupported, seal.Head{}},
		"no content":            {status(204), unsupported, seal.Head{}},
		"part":                  {says(206, loghead.Type, good), unsupported, seal.Head{}},
		"redirect":              {redirect(302), unsupported, seal.Head{}},
		"not found":             {status(404), unsupported, seal.Head{}},
		"gone":                  {status(410), unsupported, seal.Head{}},
		"no such method":        {status(405), unsupported, seal.Head{}},
		"no path of the layout": {problem(422, `{"title":"no"}`), unsupported, seal.Head{}},
		"not implemented":       {status(501), unsupported, seal.Head{}},
		"another's log":         {problem(403, `{"title":"no"}`), refused, seal.Head{}},
		"token":                 {status(401), waits, held},
		"busy":                  {status(429), waits, held},
		"broken":                {endless(500, "text/plain"), waits, held},
		"away":                  {status(502), waits, held},
		"full":                  {status(503), waits, held},
		"hangs":                 {hang, waits, held},
		"trickles":              {trickle, waits, held},
		"hangs up":              {hangUp, waits, held},
		"cut off":               {raw(0, "HTTP/1.1 200 OK\r\nContent-Type: "+loghead.Type+"\r\nContent-Length: 900\r\n\r\n"+good), waits, held},
		"no HTTP":               {raw(0, "SSH-2.0-OpenSSH_9.2\r\n"), waits, held},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, true)
				var log bytes.Buffer
				o := s.start(t, s.config(), httpoutput.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
				defer o.Close()
				if _, err := o.Ship(t.Context(), first); err != nil {
					t.Fatal(err)
				}
				if test.answer != nil {
					s.fail(test.answer)
				}
				if test.want == waits {
					s.fail(test.answer) // the transport repeats the first one that hangs up
				}
				head, err := o.Head(t.Context(), e.Origin.String())
				switch {
				case (err == nil) != (test.want == "" || test.want == waits) || head != test.head:
					t.Errorf("%+v, %v; want %+v", head, err, test.head)
				case errors.Is(err, errors.ErrUnsupported) != (test.want == unsupported):
					t.Errorf("error %v, want one that %s", err, test.want)
				}
				if err != nil && (len(err.Error()) > 1000 || strings.ContainsRune(err.Error(), '\x1b')) {
					t.Errorf("not one clear line: %.2000q", err)
				}
				if test.want == waits {
					checkLog(t, log.String())
				} else if log.Len() > 0 {
					t.Errorf("logged: %s", log.String())
				}
				if _, err := o.Ship(t.Context(), e.Heartbeat()); err != nil {
					t.Errorf("ship: %v", err)
				}
			})
		})
	}
}

// TestHeadOfAServerThatIsAway: it is waited for, it shows as the output's trouble,
// and whoever can not wait ends the question.
func TestHeadOfAServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, true)
		o := s.start(t, s.config(), httpoutput.Deps{})
		defer o.Close()
		s.Away(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.AfterFunc(30*time.Minute, func() {
			if o.Trouble().Err == nil {
				t.Error("the output has no trouble")
			}
		})
		head, err := o.Head(ctx, sealtest.New(t, sealtest.Config{}).Origin.String())
		if !errors.Is(err, context.DeadlineExceeded) || head != (seal.Head{}) {
			t.Errorf("%+v, %v", head, err)
		}
	})
}
