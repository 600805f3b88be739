package parsertest

import (
	"bytes"
	"testing"

	"github.com/auditail/auditail/parsers"
)

// gatewayLine is about how long the line is that a gateway writes of one call
// when it logs headers, timings and TLS, but no content.
const gatewayLine = 1200

// Gateway measures, as [Throughput] does, the lines of a log in testdata that
// become records, brought to the same length for every parser of JSON, so that
// their figures compare. What is missing is filled with members such as gateways
// log, which no parser keeps; longer lines are left out.
func Gateway(b *testing.B, p parsers.Parser, name string) {
	b.Helper()
	var lines []parsers.Line
	for _, line := range Lines(name, []byte(read(b, name))) {
		if _, outcome := Parse(b, p, line); outcome.Verdict != parsers.Recorded || len(line.Data) > gatewayLine+gatewayLine/8 {
			continue
		}
		line.Data = widened(line.Data)
		if _, outcome := Parse(b, p, line); outcome.Verdict != parsers.Recorded {
			b.Fatalf("not recorded any more: %s", line.Data)
		}
		lines = append(lines, line)
	}
	throughput(b, p, lines)
}

// widened adds members to an object until it is as long as a gateway's line.
func widened(object []byte) []byte {
	wide := bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}"))
	wide = append(bytes.Clone(wide), `,"x_request":{"first":true`...)
	for _, member := range []string{
		`"accept":"*/*"`, `"accept-encoding":"gzip, deflate, br, zstd"`, `"content-type":"application/json"`, `"content-length":"2417"`,
		`"connection":"keep-alive"`, `"x-stainless-arch":"x64"`, `"x-stainless-async":"false"`, `"x-stainless-lang":"python"`,
		`"x-stainless-os":"Linux"`, `"x-stainless-package-version":"1.99.2"`, `"x-stainless-retry-count":"0"`, `"x-stainless-runtime":"CPython"`,
		`"x-stainless-runtime-version":"3.12.11"`, `"x-forwarded-proto":"https"`, `"x-forwarded-port":"443"`, `"x-envoy-attempt-count":1`,
		`"tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"llm.example.com"}`,
		`"timings":{"queue":0.000412,"connect":0.001731,"tls":0.004205,"first_byte":0.213377,"total":3.180021}`,
		`"upstream":[{"address":"10.20.4.17:8000","status":200,"bytes":2210,"weight":100,"healthy":true,"zone":"eu-central-1a"}]`,
		`"cache-control":"no-store, max-age=0"`, `"strict-transport-security":"max-age=31536000; includeSubDomains"`,
		`"server-timing":"gateway;dur=3.1, model;dur=3176.4"`, `"alt-svc":"h3=\":443\"; ma=2592000"`, `"via":"1.1 gateway"`,
	} {
		if len(wide) < gatewayLine-2 {
			wide = append(append(wide, ','), member...)
		}
	}
	return append(wide, "}}"...)
}
