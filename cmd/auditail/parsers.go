package main

import (
	"fmt"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/azureopenai"
	"github.com/auditail/auditail/parsers/bedrock"
	"github.com/auditail/auditail/parsers/bentoml"
	"github.com/auditail/auditail/parsers/caddy"
	"github.com/auditail/auditail/parsers/combined"
	"github.com/auditail/auditail/parsers/csv"
	"github.com/auditail/auditail/parsers/envoyaigateway"
	"github.com/auditail/auditail/parsers/haproxy"
	"github.com/auditail/auditail/parsers/json"
	"github.com/auditail/auditail/parsers/kong"
	"github.com/auditail/auditail/parsers/kserve"
	"github.com/auditail/auditail/parsers/litellm"
	"github.com/auditail/auditail/parsers/llamacpp"
	"github.com/auditail/auditail/parsers/lmstudio"
	"github.com/auditail/auditail/parsers/logfmt"
	"github.com/auditail/auditail/parsers/mlflow"
	"github.com/auditail/auditail/parsers/nginx"
	"github.com/auditail/auditail/parsers/ollama"
	"github.com/auditail/auditail/parsers/openaiaudit"
	"github.com/auditail/auditail/parsers/rayserve"
	"github.com/auditail/auditail/parsers/regex"
	"github.com/auditail/auditail/parsers/sglang"
	"github.com/auditail/auditail/parsers/syslog"
	"github.com/auditail/auditail/parsers/tensorflowserving"
	"github.com/auditail/auditail/parsers/tgi"
	"github.com/auditail/auditail/parsers/torchserve"
	"github.com/auditail/auditail/parsers/triton"
	"github.com/auditail/auditail/parsers/uvicorn"
	"github.com/auditail/auditail/parsers/vertex"
	"github.com/auditail/auditail/parsers/vllm"
)

// preset is a parser that needs no field map.
type preset struct {
	name    string
	version string // of what it makes of a line, as in source.parser
	new     func(parsers.Config) (parsers.Parser, error)
}

// presets returns the parsers that configurations may name, in the order of
// their names. config.Presets knows the same.
func presets() []preset {
	return []preset{
		{"azure-openai", "1", azureopenai.New},
		{"bedrock", "1", bedrock.New},
		{"bentoml", "1", newBentoML},
		{"caddy", "1", func(c parsers.Config) (parsers.Parser, error) { return caddy.New(c) }},
		{"combined", "1", func(c parsers.Config) (parsers.Parser, error) { return combined.New(combined.Config{Config: c}) }},
		{"envoy-ai-gateway", "1", func(c parsers.Config) (parsers.Parser, error) { return envoyaigateway.New(c) }},
		{"gunicorn", "1", func(c parsers.Config) (parsers.Parser, error) { return uvicorn.NewGunicorn(c) }},
		{"haproxy", "1", func(c parsers.Config) (parsers.Parser, error) { return haproxy.New(haproxy.Config{Config: c}) }},
		{"kong", "1", kong.New},
		{"kserve", "1", func(c parsers.Config) (parsers.Parser, error) { return kserve.New(c) }},
		{"litellm", "1", func(c parsers.Config) (parsers.Parser, error) { return litellm.New(c) }},
		{"llamacpp", "1", func(c parsers.Config) (parsers.Parser, error) { return llamacpp.New(c) }},
		{"lm-studio", "1", func(c parsers.Config) (parsers.Parser, error) { return lmstudio.New(c) }},
		{"mlflow", "1", newMLflow},
		{"nginx", "1", func(c parsers.Config) (parsers.Parser, error) { return nginx.New(nginx.Config{Config: c}) }},
		{"ollama", "1", func(c parsers.Config) (parsers.Parser, error) { return ollama.New(c) }},
		{"openai-audit", "1", openaiaudit.New},
		{"ray-serve", "1", newRayServe},
		{"sglang", "1", func(c parsers.Config) (parsers.Parser, error) { return sglang.New(c) }},
		{"tensorflow-serving", "1", func(c parsers.Config) (parsers.Parser, error) { return tensorflowserving.New(c) }},
		{"tgi", "1", func(c parsers.Config) (parsers.Parser, error) { return tgi.New(c) }},
		{"torchserve", "1", func(c parsers.Config) (parsers.Parser, error) { return torchserve.New(c) }},
		{"triton", "1", func(c parsers.Config) (parsers.Parser, error) { return triton.New(c) }},
		{"uvicorn", "1", func(c parsers.Config) (parsers.Parser, error) { return uvicorn.New(c) }},
		{"vertex", "1", vertex.New},
		{"vllm", "1", func(c parsers.Config) (parsers.Parser, error) { return vllm.New(c) }},
	}
}

// entries says how a file's lines are joined for a preset whose entries take several,
// unless the configuration says it. No start: they are not.
func entries(preset string) (start string, maxLines int) {
	if preset == "lm-studio" {
		return lmstudio.Start, lmstudio.MaxLines
	}
	return "", 0
}

// newParser returns the parser and its name with version, as records carry it.
func newParser(in *config.Input, policy *capture.Policy, ids *keyed.KeyIDs) (parsers.Parser, string, error) {
	common := parsers.Config{Name: in.Name, Provider: in.Provider, Location: in.Location, Capture: policy.Hold, KeyID: ids.Append}
	from := &in.Parser
	fields, set := fieldMap(from)
	switch from.Type {
	case config.ParserCSV:
		var separator byte
		if from.Separator != "" {
			separator = from.Separator[0]
		}
		p, err := csv.New(csv.Config{
			Config: common, Columns: from.Columns, Separator: separator, Fields: fields, Set: set, TimeLayout: from.TimeLayout,
		})
		return p, "csv/1", err
	case config.ParserJSON:
		p, err := json.New(json.Config{Config: common, Fields: fields, Set: set, TimeLayout: from.TimeLayout})
		return p, "json/1", err
	case config.ParserLogfmt:
		p, err := logfmt.New(logfmt.Config{Config: common, Fields: fields, Set: set, TimeLayout: from.TimeLayout})
		return p, "logfmt/1", err
	case config.ParserRegex:
		p, err := regex.New(regex.Config{
			Config: common, Patterns: from.Patterns, Fields: fields, Set: set, TimeLayout: from.TimeLayout,
		})
		return p, "regex/1", err
	case config.ParserSyslog:
		p, err := syslog.New(syslog.Config{Config: common, Fields: fields, Set: set, TimeLayout: from.TimeLayout})
		return p, "syslog/1", err
	}
	if from.Format != "" {
		p, err := nginx.New(nginx.Config{Config: common, Format: from.Format})
		return p, "nginx/1", err
	}
	for _, known := range presets() {
		if known.name == from.Type {
			p, err := known.new(common)
			return p, known.name + "/" + known.version, err
		}
	}
	return nil, "", fmt.Errorf("unknown parser %q", from.Type)
}

// fieldMap is the field map of a parser that has one.
func fieldMap(from *config.Parser) (fields []parsers.Mapping, set []parsers.Constant) {
	for _, f := range from.Fields {
		fields = append(fields, parsers.Mapping{Field: f.Field, Path: f.From, Layout: f.Layout, Values: f.Values})
	}
	for _, s := range from.Set {
		set = append(set, parsers.Constant{Field: s.Field, Value: s.Value})
	}
	return fields, set
}

// newRayServe returns a parser that also reads the lines of vLLM inside a replica.
func newRayServe(c parsers.Config) (parsers.Parser, error) {
	engine, err := vllm.New(c)
	if err != nil {
		return nil, err
	}
	return rayserve.New(rayserve.Config{Config: c, Engine: engine})
}

// newBentoML returns a parser that also reads the lines of vLLM inside a service.
func newBentoML(c parsers.Config) (parsers.Parser, error) {
	engine, err := vllm.New(c)
	if err != nil {
		return nil, err
	}
	return bentoml.New(bentoml.Config{Config: c, Engine: engine})
}

// newMLflow returns a parser that also reads the lines of the HTTP server inside MLflow.
func newMLflow(c parsers.Config) (parsers.Parser, error) {
	server, err := uvicorn.New(c)
	if err != nil {
		return nil, err
	}
	return mlflow.New(mlflow.Config{Config: c, Server: server})
}
