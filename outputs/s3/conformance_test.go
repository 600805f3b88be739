package s3output_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/outputstest"
	s3output "github.com/auditail/auditail/outputs/s3"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestConformance(t *testing.T) {
	outputstest.Run(t, func(*testing.T) outputstest.Destination { return newMemory() })
}

// memory is as much of S3 as the output uses, in this process: a synctest bubble
// can not wait for a real server. It checks what a real one would refuse.
type memory struct {
	mu     sync.Mutex
	files  map[string][]byte
	order  []string
	probes map[string]http.Header
	broken []outputstest.Fault
	away   bool
	cut    []int64             // bytes after which the next uploads are cut
	faults []http.RoundTripper // what the next uploads meet
}

func newMemory() *memory {
	return &memory{files: make(map[string][]byte), probes: make(map[string]http.Header)}
}

func (m *memory) Start(t *testing.T) outputs.Output {
	t.Helper()
	return m.startWith(t, s3output.Deps{})
}

func (m *memory) startWith(t *testing.T, d s3output.Deps) outputs.Output {
	t.Helper()
	d.Agent, d.Version, d.Transport = "gpu-07", "0.1.0", roundTripper(m.roundTrip)
	o, err := s3output.New(t.Context(), s3output.Config{
		Name: "worm", SealTerm: year, Config: bucket.Config{
			Endpoint: "http://127.0.0.1:1", Region: "eu-central-1", Bucket: evidence, Prefix: "v1",
			AccessKey: "AKIA", SecretKey: func() ([]byte, error) { return []byte("secret"), nil },
		},
	}, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (m *memory) Files(*testing.T) map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.files)
}

func (m *memory) Order() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.order)
}

func (m *memory) Plant(_ *testing.T, path string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = content
}

func (m *memory) Break(f outputstest.Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = append(m.broken, f)
}

func (m *memory) Away(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memory) roundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if fault := m.nextFault(r); fault != nil {
		return fault.RoundTrip(r)
	}
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		m.mu.Lock()
		from := io.Reader(r.Body)
		var cut bool
		if path := strings.HasPrefix(r.URL.Path, "/"+evidence+"/v1/"); path && len(m.cut) > 0 {
			from, cut, m.cut = io.LimitReader(r.Body, m.cut[0]), true, m.cut[1:]
		}
		m.mu.Unlock()
		var err error
		if body, err = io.ReadAll(from); err != nil {
			return nil, err
		}
		if cut {
			return nil, io.ErrUnexpectedEOF
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := httptest.NewRecorder()
	key := strings.TrimPrefix(r.URL.Path, "/"+evidence+"/")
	path, inArchive := strings.CutPrefix(key, "v1/")
	switch {
	case m.away:
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case r.Method == http.MethodPut && inArchive:
		return m.put(w, r, path, body)
	case r.Method == http.MethodPut:
		m.putProbe(w, r, key)
	case r.Method == http.MethodDelete:
		refuse(w, http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodHead:
		maps.Copy(w.Header(), m.probes[key])
		w.WriteHeader(http.StatusOK)
	default:
		m.get(w, r, key)
	}
	return answer(w, r), nil
}

// nextFault takes the fault that an upload into the archive meets.
func (m *memory) nextFault(r *http.Request) (fault http.RoundTripper) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/"+evidence+"/v1/") && len(m.faults) > 0 {
		fault, m.faults = m.faults[0], m.faults[1:]
	}
	return fault
}

func answer(w *httptest.ResponseRecorder, r *http.Request) *http.Response {
	response := w.Result()
	response.Request = r
	return response
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (m *memory) put(w *httptest.ResponseRecorder, r *http.Request, path string, body []byte) (*http.Response, error) {
	var fault *outputstest.Fault
	if len(m.broken) > 0 {
		fault, m.broken = &m.broken[0], m.broken[1:]
	}
	if fault != nil && *fault == outputstest.Lost {
		return nil, io.ErrUnexpectedEOF
	}
	digest := sha256.Sum256(body)
	_, taken := m.files[path]
	switch {
	case r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(digest[:]),
		r.Header.Get("X-Amz-Content-Sha256") != fmt.Sprintf("%x", digest), r.ContentLength != int64(len(body)):
		refuse(w, http.StatusBadRequest, "BadDigest")
	case r.Header.Get("If-None-Match") != "*" || r.Header.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE":
		refuse(w, http.StatusBadRequest, "InvalidRequest")
	case taken:
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		m.files[path] = body
		m.order = append(m.order, path)
		if fault != nil {
			return nil, io.ErrUnexpectedEOF // stored, and not said
		}
		w.WriteHeader(http.StatusOK)
	}
	return answer(w, r), nil
}

func (m *memory) putProbe(w http.ResponseWriter, r *http.Request, key string) {
	if m.probes[key] != nil {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	m.probes[key] = http.Header{
		"X-Amz-Object-Lock-Mode":              r.Header["X-Amz-Object-Lock-Mode"],
		"X-Amz-Object-Lock-Retain-Until-Date": r.Header["X-Amz-Object-Lock-Retain-Until-Date"],
	}
	w.Header().Set("X-Amz-Version-Id", "v1")
	w.WriteHeader(http.StatusOK)
}

func (m *memory) get(w http.ResponseWriter, r *http.Request, key string) {
	query := r.URL.Query()
	switch {
	case query.Has("versioning"):
		io.WriteString(w, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	case query.Has("object-lock"):
		io.WriteString(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
	case query.Get("list-type") == "2":
		m.list(w, query.Get("prefix"), query.Get("start-after"))
	case m.probes[key] != nil:
		w.WriteHeader(http.StatusOK)
	default:
		content, ok := m.files[strings.TrimPrefix(key, "v1/")]
		if !ok {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
	}
}

func (m *memory) list(w io.Writer, prefix, after string) {
	type item struct{ Key string }
	var page struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []item
	}
	for _, path := range slices.Sorted(maps.Keys(m.files)) {
		if key := "v1/" + path; strings.HasPrefix(key, prefix) && key > after && len(page.Contents) < 2 {
			page.Contents = append(page.Contents, item{key})
		}
	}
	text, err := xml.Marshal(page)
	if err != nil {
		panic(err)
	}
	w.Write(text)
}

// TestCutEverywhere: the connection is cut at every 1,000th byte of a payload.
func TestCutEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		o := m.Start(t)
		defer o.Close()
		e := sealtest.New(t, sealtest.Config{})
		e.Open()
		b := e.Data(sealtest.Chat(), e.Records(3000))
		size := b.Objects[0].Size
		if size < 20_000 {
			t.Fatalf("the payload has only %d bytes", size)
		}
		for at := int64(0); at <= size; at += 1000 {
			m.cut = append(m.cut, at)
		}
		if _, err := o.Ship(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.files[b.Objects[0].Path], e.Files[b.Objects[0].Path]) || len(m.cut) > 0 {
			t.Errorf("other bytes are stored than were sealed, or %d cuts were never made", len(m.cut))
		}
	})
}
