package config

// Presets returns the names of the parsers that need no field map, sorted. What
// each is made of stands in cmd/auditail, and a test there compares the two.
func Presets() []string {
	return []string{
		"azure-openai",
		"bedrock",
		"bentoml",
		"caddy",
		"combined",
		"envoy-ai-gateway",
		"gunicorn",
		"haproxy",
		"kong",
		"kserve",
		"litellm",
		"llamacpp",
		"lm-studio",
		"mlflow",
		"nginx",
		"ollama",
		"openai-audit",
		"ray-serve",
		"sglang",
		"tensorflow-serving",
		"tgi",
		"torchserve",
		"triton",
		"uvicorn",
		"vertex",
		"vllm",
	}
}

// mappedParsers returns the parsers that have a field map.
func mappedParsers() []string {
	return []string{ParserCSV, ParserJSON, ParserLogfmt, ParserRegex, ParserSyslog}
}

// parserTypes returns every word that the type of a parser can be.
func parserTypes() []string { return append(Presets(), mappedParsers()...) }
