package vertex_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/parsertest"
	"github.com/auditail/auditail/parsers/vertex"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := vertex.New(parsers.Config{Location: time.UTC})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkAudit(b *testing.B) { parsertest.Throughput(b, fresh(), "audit") }

func BenchmarkGateway(b *testing.B) { parsertest.Gateway(b, fresh(), "versions") }
