// Package metrics writes the Prometheus text exposition format, version 0.0.4.
//
// Its promise: what a [Page] holds is accepted by every scraper of that format.
// Names are checked by the tests of those who use it, label values are escaped,
// and each metric stands once with its help and type. It is a few hundred bytes
// of program where a client library is more than two megabytes, which the agent
// has no room for; a snapshot that is rendered when somebody asks needs no
// registry and costs nothing in between.
package metrics

import (
	"math"
	"strconv"
)

// ContentType is what a Page is served as.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Page is one exposition. The zero Page is empty and ready to use; it is not
// safe for concurrent use.
type Page struct{ text []byte }

// Bytes returns the exposition. It belongs to the page.
func (p *Page) Bytes() []byte { return p.text }

// Gauge begins a metric that goes up and down.
func (p *Page) Gauge(name, help string) Metric { return p.begin(name, help, "gauge") }

// Counter begins a metric that only grows; its name ends in _total.
func (p *Page) Counter(name, help string) Metric { return p.begin(name, help, "counter") }

func (p *Page) begin(name, help, kind string) Metric {
	p.text = append(append(p.text, "# HELP "...), name...)
	p.text = append(append(p.text, ' '), help...)
	p.text = append(append(p.text, "\n# TYPE "...), name...)
	p.text = append(append(p.text, ' '), kind...)
	p.text = append(p.text, '\n')
	return Metric{page: p, name: name}
}

// Metric takes samples until the page's next metric begins.
type Metric struct {
	page *Page
	name string
}

// Sample adds a value. labels are names and values in turn.
func (m Metric) Sample(value float64, labels ...string) {
	b := append(m.page.text, m.name...)
	for i := 0; i+1 < len(labels); i += 2 {
		b = append(b, "{,"[min(i, 1)])
		b = append(append(b, labels[i]...), '=', '"')
		b = appendEscaped(b, labels[i+1])
		b = append(b, '"')
	}
	if len(labels) > 1 {
		b = append(b, '}')
	}
	b = appendValue(append(b, ' '), value)
	m.page.text = append(b, '\n')
}

// Flag adds 1 for true and 0 for false.
func (m Metric) Flag(on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	m.Sample(value, labels...)
}

// appendEscaped escapes what the format gives a meaning within quotes.
func appendEscaped(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; c {
		case '\\', '"':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, c)
		}
	}
	return b
}

func appendValue(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}
