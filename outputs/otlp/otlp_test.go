package otlpoutput_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditail/auditail/outputs"
	otlpoutput "github.com/auditail/auditail/outputs/otlp"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// receiver is a collector in memory that decodes with the published types. The
// first of faults answers the next request, when there is one.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	away   bool
	most   int // records of a request; more are too large
	faults []func() *http.Response
	taken  []*logs.ResourceLogs
	bodies []string // of the records, in order
	tries  int
}

func answer(code int, kind string, body []byte, header ...string) *http.Response {
	r := &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	return r
}

func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	if request.URL.Path != "/base/v1/logs" || request.Header.Get("Content-Type") != "application/x-protobuf" || request.Header.Get("Content-Encoding") != "gzip" {
		r.t.Errorf("request %s with %v", request.URL, request.Header)
	}
	if r.away {
		return nil, errors.New("connection refused")
	}
	resources, bodies, err := exported(request)
	if err != nil {
		return nil, err
	}
	if len(r.faults) > 0 {
		fault := r.faults[0]
		r.faults = r.faults[1:]
		if response := fault(); response != nil {
			return response, nil
		}
		return nil, errors.New("connection reset")
	}
	if r.most > 0 && len(bodies) > r.most {
		return answer(http.StatusRequestEntityTooLarge, "text/plain", nil), nil
	}
	r.taken = append(r.taken, resources...)
	r.bodies = append(r.bodies, bodies...)
	return answer(http.StatusOK, "application/x-protobuf", nil), nil
}

func (r *receiver) output(log io.Writer) *otlpoutput.Output {
	r.t.Helper()
	o, err := otlpoutput.New(otlpoutput.Config{Name: "siem", URL: "https://collector.example.com/base/"},
		otlpoutput.Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Version: "v1", Transport: r})
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// lines are the records of a batch's payload.
func lines(t *testing.T, e *sealtest.Epoch, b seal.Batch) []string {
	t.Helper()
	return strings.Split(strings.TrimSuffix(string(sealtest.Plain(t, e.Files[b.Manifest.PayloadPath])), "\n"), "\n")
}

func sample(t *testing.T, n int) (*sealtest.Epoch, seal.Batch) {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	return e, e.Data(sealtest.Chat(), e.Records(n))
}

// TestFaults: whatever fails in between, each record arrives, in order; once,
// where the answer was not lost.
func TestFaults(t *testing.T) {
	for name, faults := range map[string][]func() *http.Response{
		"none":              nil,
		"connection broken": {func() *http.Response { return nil }, func() *http.Response { return nil }},
		"401":               {func() *http.Response { return answer(401, "text/plain", nil) }},
		"404":               {func() *http.Response { return answer(404, "text/plain", nil) }},
		"429":               {func() *http.Response { return answer(429, "text/plain", nil, "Retry-After", "7200") }},
		"503":               {func() *http.Response { return answer(503, "text/plain", nil, "Retry-After", "5") }},
		"500":               {func() *http.Response { return answer(500, "text/plain", nil) }},
		"redirect": {func() *http.Response {
			return answer(302, "text/plain", nil, "Location", "https://elsewhere.example.com/")
		}},
		"web page": {func() *http.Response { return answer(200, "text/html; charset=utf-8", []byte("<html>")) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, batch := sample(t, 2500)
				r := &receiver{t: t, faults: faults}
				o := r.output(io.Discard)
				receipt, err := o.Ship(t.Context(), batch)
				if err != nil || receipt.Stored != 1 || receipt.Batch != batch.Manifest.Batch {
					t.Fatalf("ship: %+v, %v", receipt, err)
				}
				if want := lines(t, e, batch); !slices.Equal(r.bodies, want) {
					t.Errorf("%d records arrived, want %d, in order", len(r.bodies), len(want))
				}
				trouble := o.Trouble()
				if trouble.Err != nil || trouble.Failures != int64(len(faults)) || trouble.Rejected != 0 {
					t.Errorf("trouble: %+v", trouble)
				}
			})
		})
	}
}

// TestRetryAfter: what the collector asks for is waited for.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, batch := sample(t, 1)
		r := &receiver{t: t, faults: []func() *http.Response{func() *http.Response { return answer(429, "text/plain", nil, "Retry-After", "60") }}}
		began := time.Now()
		if _, err := r.output(io.Discard).Ship(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("tried again after %s", took)
		}
	})
}

// TestTooLarge: a request that is too large is halved until it is not.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, batch := sample(t, 300)
		r := &receiver{t: t, most: 7}
		if _, err := r.output(io.Discard).Ship(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if want := lines(t, e, batch); !slices.Equal(r.bodies, want) {
			t.Errorf("%d records arrived, want %d, in order", len(r.bodies), len(want))
		}
	})
}

// TestRefused: what is refused for good is counted and told, and the others go on.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, batch := sample(t, 2500)
		reason := []byte("\x08\x03\x12\x07no body")
		r := &receiver{t: t, faults: []func() *http.Response{func() *http.Response { return answer(400, "application/x-protobuf", reason) }}}
		o := r.output(io.Discard)
		_, err := o.Ship(t.Context(), batch)
		var named *outputs.ObjectError
		if !errors.Is(err, outputs.ErrPermanent) || !errors.As(err, &named) || named.Kind != seal.PayloadObject || !strings.Contains(err.Error(), "no body") {
			t.Fatalf("ship: %v", err)
		}
		rejected := o.Trouble().Rejected
		if total := int64(len(r.bodies)) + rejected; rejected == 0 || uint64(total) != batch.Manifest.RecordsTo-batch.Manifest.RecordsFrom {
			t.Errorf("%d taken and %d rejected", len(r.bodies), rejected)
		}
	})
}

// TestPartialSuccess: a collector's "taken, but for 3" is counted and not sent again.
func TestPartialSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, batch := sample(t, 10)
		body, err := proto.Marshal(&collector.ExportLogsServiceResponse{
			PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 3, ErrorMessage: "too old\n"},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{t: t, faults: []func() *http.Response{func() *http.Response { return answer(200, "application/x-protobuf", body) }}}
		var log bytes.Buffer
		o := r.output(&log)
		if _, err := o.Ship(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if got := o.Trouble().Rejected; got != 3 || r.tries != 1 {
			t.Errorf("rejected %d in %d tries", got, r.tries)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "too old") {
			t.Errorf("log:\n%s", text)
		}
	})
}

// TestMapping: the examples of the schema, as the published types read them.
func TestMapping(t *testing.T) {
	examples, err := os.ReadFile("../../audit/testdata/examples.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	batch := e.Data(sealtest.Chat(), bytes.Split(bytes.TrimSpace(examples), []byte("\n")))
	r := &receiver{t: t}
	if _, err := r.output(io.Discard).Ship(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	first := r.taken[0].ScopeLogs[0].LogRecords[0]
	if at, _ := time.Parse(time.RFC3339Nano, "2026-11-20T09:14:03.218441+01:00"); first.TimeUnixNano != uint64(at.UnixNano()) {
		t.Errorf("time %d", first.TimeUnixNano)
	}
	if hex.EncodeToString(first.TraceId) != "4bf92f3577b34da6a3ce929d0e0e4736" || first.EventName != "model.inference" || first.SeverityNumber != 9 {
		t.Errorf("trace %x, event %s, severity %d", first.TraceId, first.EventName, first.SeverityNumber)
	}
	attributes := make(map[string]*common.AnyValue)
	for _, a := range first.Attributes {
		if attributes[a.Key] != nil {
			t.Errorf("attribute %s is there twice", a.Key)
		}
		attributes[a.Key] = a.Value
	}
	for name, want := range map[string]string{
		"log.record.uid": "7kjc3fexjgarskvnickqka6zh7", "user.id": "okta|00u8x1", "client.address": "10.20.4.17",
		"gen_ai.request.model": "llama-3-8b", "gen_ai.provider.name": "vllm", "gen_ai.conversation.id": "conv_88",
		"http.request.method": "POST", "url.path": "/v1/chat/completions",
		"auditail.model.ref": "m_3a3f1cab5ce91b8b80915180739de267", "auditail.outcome": "success", "auditail.model.basis": "digest",
	} {
		if got := attributes[name].GetStringValue(); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := attributes["http.response.status_code"].GetIntValue(); got != 200 {
		t.Errorf("http.response.status_code is %d", got)
	}
	if got := attributes["gen_ai.response.finish_reasons"].GetArrayValue().GetValues(); len(got) != 1 || got[0].GetStringValue() != "stop" {
		t.Errorf("gen_ai.response.finish_reasons is %v", got)
	}
	if !attributes["auditail.actor.verified"].GetBoolValue() || attributes["user.roles"].GetArrayValue().GetValues()[0].GetStringValue() != "legal" {
		t.Error("actor.verified or user.roles is wrong")
	}
	resource := make(map[string]string)
	for _, a := range r.taken[0].Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	if resource["host.name"] != "gpu-07.fra" || resource["deployment.environment.name"] != "prod" || resource["service.instance.id"] == "" {
		t.Errorf("resource %v", resource)
	}
}

// TestForeignIDs: what is no trace or span id of W3C Trace Context is an attribute.
func TestForeignIDs(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	batch := e.Data(sealtest.Chat(), [][]byte{
		[]byte(`{"id":"a","event":"e","time":"2026-11-20T09:14:03Z","session":{"span_id":"7","trace_id":"059b3ddb-494c-429c-a4b7-3af8b48dd792"}}`),
	})
	r := &receiver{t: t}
	if _, err := r.output(io.Discard).Ship(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	record := r.taken[0].ScopeLogs[0].LogRecords[0]
	got := make(map[string]string)
	for _, a := range record.Attributes {
		got[a.Key] = a.Value.GetStringValue()
	}
	want := map[string]string{"log.record.uid": "a", "auditail.session.span_id": "7", "auditail.session.trace_id": "059b3ddb-494c-429c-a4b7-3af8b48dd792"}
	if !maps.Equal(got, want) || len(record.TraceId)+len(record.SpanId) != 0 {
		t.Errorf("attributes %v, trace %x, span %x", got, record.TraceId, record.SpanId)
	}
}

// TestProbe: a mistake is one sentence.
func TestProbe(t *testing.T) {
	r := &receiver{t: t}
	if err := r.output(io.Discard).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	r.faults = []func() *http.Response{func() *http.Response { return answer(404, "text/plain", nil) }}
	if err := r.output(io.Discard).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "404 Not Found; is this the url") {
		t.Errorf("probe: %v", err)
	}
}
