// Package sampling holds the parameters of a request that a record has a home
// for, as model servers written in Python log them.
package sampling

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/state"
)

// Number is a parameter that is a whole number.
type Number uint8

// The whole numbers.
const (
	N Number = iota
	TopK
	MaxTokens
	Seed
	Stop // how many stop strings
	numbers
)

// Settings are the parameters of one request. The zero value has none.
type Settings struct {
	temperature, topP string // JSON numbers; empty: not set
	number            [numbers]int64
	has               [numbers]bool
}

// Set sets a whole number.
func (s *Settings) Set(which Number, n int64) { s.number[which], s.has[which] = n, true }

// Get returns a whole number, 0 when it is not set.
func (s *Settings) Get(which Number) int64 { return s.number[which] }

// Learn takes the parameter of a name, if it is one that a record keeps and the
// value is one that Python prints for it.
func (s *Settings) Learn(name, value []byte) {
	which := numbers
	switch string(name) {
	case "temperature":
		if pyrepr.IsNumber(value) {
			s.temperature = string(value)
		}
	case "top_p":
		if pyrepr.IsNumber(value) {
			s.topP = string(value)
		}
	case "stop":
		if n, ok := pyrepr.CountElements(value); ok {
			s.Set(Stop, n)
		} else if pyrepr.IsString(value) {
			s.Set(Stop, 1)
		}
	case "n":
		which = N
	case "top_k":
		which = TopK
	case "max_tokens", "max_new_tokens", "max_completion_tokens":
		which = MaxTokens
	case "seed", "sampling_seed":
		which = Seed
	}
	if n, ok := pyrepr.Integer(value); ok && which < numbers {
		s.Set(which, n)
	}
}

// LearnAll takes the parameters of "Name(key=value, …)" or "{'key': value, …}".
func (s *Settings) LearnAll(params []byte) {
	for b := pyrepr.Arguments(params); ; {
		key, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			return
		}
		s.Learn(key, value)
		b = rest
	}
}

// Fill fills params.* of a record.
func (s *Settings) Fill(r *audit.Record) {
	if s.temperature != "" {
		r.SetJSON(audit.ParamsTemperature, []byte(s.temperature))
	}
	if s.topP != "" {
		r.SetJSON(audit.ParamsTopP, []byte(s.topP))
	}
	for which, field := range [numbers]audit.Field{
		N:         audit.ParamsN,
		TopK:      audit.ParamsTopK,
		MaxTokens: audit.ParamsMaxTokens,
		Seed:      audit.ParamsSeed,
		Stop:      audit.ParamsStop,
	} {
		if s.has[which] {
			r.SetInt(field, s.number[which])
		}
	}
}

// Encode appends the settings to a snapshot.
func (s *Settings) Encode(e *state.Encoder) {
	e.Text(s.temperature)
	e.Text(s.topP)
	e.Flags(s.has[:]...)
	for i, n := range s.number {
		if s.has[i] {
			e.Number(n)
		}
	}
}

// Decode reads what Encode wrote.
func (s *Settings) Decode(d *state.Decoder) {
	s.temperature, s.topP = d.Text(), d.Text()
	d.Flags(&s.has[N], &s.has[TopK], &s.has[MaxTokens], &s.has[Seed], &s.has[Stop])
	for i := range s.number {
		if s.has[i] {
			s.number[i] = d.Number()
		}
	}
	if !isNumber(s.temperature) || !isNumber(s.topP) {
		d.Fail()
	}
}

func isNumber(text string) bool { return text == "" || pyrepr.IsNumber([]byte(text)) }
