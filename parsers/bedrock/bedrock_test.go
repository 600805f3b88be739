package bedrock_test

import (
	"flag"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/bedrock"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := bedrock.New(parsers.Config{Location: time.UTC})
	if err != nil {
		panic(err)
	}
	return p
}

func TestSamples(t *testing.T) { parsertest.Samples(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

func BenchmarkInvocation(b *testing.B) { parsertest.Throughput(b, fresh(), "model-invocation") }

func BenchmarkGateway(b *testing.B) { parsertest.Gateway(b, fresh(), "versions") }
