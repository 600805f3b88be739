package envoyaigateway_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/envoyaigateway"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := envoyaigateway.New(parsers.Config{Location: time.UTC})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkAccess(b *testing.B) { parsertest.Throughput(b, fresh(), "current-gen_ai") }

func BenchmarkGateway(b *testing.B) { parsertest.Gateway(b, fresh(), "current-gen_ai") }
