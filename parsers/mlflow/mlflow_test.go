package mlflow_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/mlflow"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/uvicorn"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	config := parsers.Config{Location: time.UTC}
	server, err := uvicorn.New(config)
	if err != nil {
		panic(err)
	}
	p, err := mlflow.New(mlflow.Config{Config: config, Server: server})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkEvent(b *testing.B) { parsertest.Throughput(b, fresh(), "registry-webhook") }

func BenchmarkServer(b *testing.B) { parsertest.Throughput(b, fresh(), "server") }
