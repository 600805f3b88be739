package torchserve_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/torchserve"
)

var _ = flag.Bool("update", false, "write the golden files anew")

// berlin is a zone whose offset changes with the season.
var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

func fresh() parsers.Parser {
	p, err := torchserve.New(parsers.Config{Name: "torchserve", Location: berlin})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) { parsertest.Logs(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

// FuzzRestore: bytes that are taken for a state are one.
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

const (
	access = `2024-04-15T21:36:12,719 - /127.0.0.1:40592 "POST /predictions/xgb_iris HTTP/1.1" 200 7` + "\n"
	metric = "2024-04-15T21:36:12,706 - %s.ms:0.9|#ModelName:xgb_iris,Level:Model|#hostname:node-a,requestID:%d,timestamp:1713216970\n"
)

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, fresh(), access) }

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, fresh(), access) }

// BenchmarkMetrics joins the two metrics of a request.
func BenchmarkMetrics(b *testing.B) {
	parsertest.Benchmark(b, fresh(), fmt.Sprintf(metric, "HandlerTime", 1)+fmt.Sprintf(metric, "PredictionTime", 1))
}

// TestFlush: a request whose second metric does not come leaves by Flush, and however
// many there are, none is lost.
func TestFlush(t *testing.T) {
	p := fresh().(*torchserve.Parser)
	line := parsertest.Lines("torchserve", []byte("x"))[0]
	records := 0
	for i := range 600 {
		line.Data = fmt.Appendf(nil, strings.TrimSuffix(metric, "\n"), "HandlerTime", i)
		drafts, _ := parsertest.Parse(t, p, line)
		if records += len(drafts); p.Held() > 256 {
			t.Fatalf("%d lines held", p.Held())
		}
	}
	if drafts, _ := p.Flush(line.Seen.Add(time.Second), nil); len(drafts) != 0 {
		t.Errorf("%d records after a second", len(drafts))
	}
	drafts, _ := p.Flush(line.Seen.Add(4*time.Second), nil)
	if records += len(drafts); records != 600 || p.Held() != 0 {
		t.Errorf("%d records of 600 requests, %d lines left", records, p.Held())
	}
}
