package tensorflowserving_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/tensorflowserving"
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
	p, err := tensorflowserving.New(parsers.Config{Name: "tensorflow-serving", Location: berlin})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) { parsertest.Logs(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

const (
	loaded  = "2020-11-25 07:15:06.101010: I tensorflow_serving/core/loader_harness.cc:87] Successfully loaded servable version {name: tracking version: 1}\n"
	request = "2023-05-08 15:57:12.000000: I tensorflow_serving/model_servers/http_server.cc:166] Processing HTTP request: POST /v1/models/half_plus_two/versions/123:predict body: 27 bytes.\n"
)

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, fresh(), loaded+request) }

func BenchmarkLoaded(b *testing.B) { parsertest.Benchmark(b, fresh(), loaded) }

func BenchmarkRequest(b *testing.B) { parsertest.Benchmark(b, fresh(), request) }
