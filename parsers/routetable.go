package parsers

import "bytes"

// calls is what a known path means, by method.
type calls struct {
	read      string // event of a reading method
	post      string // event of POST
	operation string // of the one that is model.inference
	anywhere  bool   // keeps its meaning under any prefix a gateway adds
	noise     string // rule for a reading method
}

// routes holds the known paths without leading slash and version segment. A
// path matches at the root or right behind a version segment ("/v1", wherever
// that stands); one marked anywhere also behind other prefixes. Operations are
// those of the OpenTelemetry GenAI conventions where these have one.
var routes = map[string]calls{
	// OpenAI's API, as served by OpenAI, vLLM, SGLang, llama.cpp, LiteLLM and others.
	"chat/completions":      {post: "model.inference", operation: "chat", anywhere: true},
	"completions":           {post: "model.inference", operation: "text_completion"},
	"embeddings":            {post: "model.inference", operation: "embeddings"},
	"responses":             {post: "model.inference", operation: "chat"},
	"moderations":           {post: "model.inference", operation: "moderation"},
	"audio/transcriptions":  {post: "model.inference", operation: "transcription", anywhere: true},
	"audio/translations":    {post: "model.inference", operation: "translation", anywhere: true},
	"audio/speech":          {post: "model.inference", operation: "speech", anywhere: true},
	"images/generations":    {post: "model.inference", operation: "image_generation", anywhere: true},
	"images/edits":          {post: "model.inference", operation: "image_generation", anywhere: true},
	"images/variations":     {post: "model.inference", operation: "image_generation", anywhere: true},
	"realtime":              {read: "model.inference", operation: "realtime"},
	"models":                {read: "model.list"},
	"files":                 {post: "data.upload"},
	"fine_tuning/jobs":      {post: "model.finetune"},
	"messages":              {post: "model.inference", operation: "chat"}, // Anthropic
	"messages/count_tokens": {post: "model.inference", operation: "count_tokens"},

	// Azure AI's model inference API, behind whatever a gateway puts in front.
	"models/chat/completions":  {post: "model.inference", operation: "chat", anywhere: true},
	"models/embeddings":        {post: "model.inference", read: "model.list", operation: "embeddings", anywhere: true},
	"models/images/embeddings": {post: "model.inference", operation: "embeddings", anywhere: true},
	"models/info":              {read: "model.list", anywhere: true},

	// Endpoints of vLLM, SGLang, TGI, TEI, llama.cpp, MLflow and LiteLLM.
	"completion":          {post: "model.inference", operation: "text_completion"},
	"infill":              {post: "model.inference", operation: "text_completion"},
	"generate":            {post: "model.inference", operation: "text_completion"},
	"generate_stream":     {post: "model.inference", operation: "text_completion"},
	"embedding":           {post: "model.inference", operation: "embeddings"},
	"embed":               {post: "model.inference", operation: "embeddings"},
	"encode":              {post: "model.inference", operation: "embeddings"},
	"rerank":              {post: "model.inference", operation: "rerank"},
	"reranking":           {post: "model.inference", operation: "rerank"},
	"score":               {post: "model.inference", operation: "score"},
	"classify":            {post: "model.inference", operation: "classify"},
	"pooling":             {post: "model.inference", operation: "pooling"},
	"tokenize":            {post: "model.inference", operation: "tokenize"},
	"chat_tokenize":       {post: "model.inference", operation: "tokenize"},
	"detokenize":          {post: "model.inference", operation: "detokenize"},
	"apply-template":      {post: "model.inference", operation: "apply_template"},
	"invocations":         {post: "model.inference", operation: "predict"},
	"load_lora_adapter":   {post: "model.load"},
	"unload_lora_adapter": {post: "model.unload"},

	"update_weights":                  {post: "model.load"}, // SGLang: other weights under the same name
	"update_weights_from_disk":        {post: "model.load"},
	"update_weights_from_distributed": {post: "model.load"},
	"update_weights_from_tensor":      {post: "model.load"},
	"update_weights_from_ipc":         {post: "model.load"},

	"sleep":                     {post: "model.unload"}, // vLLM: the weights leave the GPU until wake_up
	"wake_up":                   {post: "model.load"},
	"release_memory_occupation": {post: "model.unload"}, // the same of SGLang
	"resume_memory_occupation":  {post: "model.load"},

	"model/info":      {read: "model.list"},
	"model_info":      {read: "model.list"},
	"get_model_info":  {read: "model.list"},
	"server_info":     {read: "model.list"},
	"get_server_info": {read: "model.list"},
	"info":            {read: "model.list"},
	"props":           {read: "model.list"},
	"version":         {read: "model.list"},

	// Ollama.
	"api/generate":   {post: "model.inference", operation: "text_completion"},
	"api/chat":       {post: "model.inference", operation: "chat"},
	"api/embed":      {post: "model.inference", operation: "embeddings"},
	"api/embeddings": {post: "model.inference", operation: "embeddings"},
	"api/tags":       {read: "model.list"},
	"api/ps":         {read: "model.list"},
	"api/show":       {post: "model.list"},
	"api/version":    {read: "model.list"},
	"api/push":       {post: "model.export"},

	// KServe v2 and TorchServe.
	"repository/index": {post: "model.list"},

	// What load balancers, monitoring and browsers ask.
	"health":           {noise: RuleHealthCheck},
	"-/healthz":        {noise: RuleHealthCheck}, // Ray Serve
	"health/live":      {noise: RuleHealthCheck},
	"health/ready":     {noise: RuleHealthCheck},
	"health/liveness":  {noise: RuleHealthCheck},
	"health/readiness": {noise: RuleHealthCheck},
	"health_generate":  {noise: RuleHealthCheck},
	"healthz":          {noise: RuleHealthCheck},
	"livez":            {noise: RuleHealthCheck},
	"readyz":           {noise: RuleHealthCheck},
	"live":             {noise: RuleHealthCheck},
	"ready":            {noise: RuleHealthCheck},
	"ping":             {noise: RuleHealthCheck},
	"metrics":          {noise: RuleMetricsScrape},
	"docs":             {noise: RuleDocumentation},
	"redoc":            {noise: RuleDocumentation},
	"openapi.json":     {noise: RuleDocumentation},
	"favicon.ico":      {noise: RuleFavicon},
}

// operations of the custom methods ("name:method") of Google's APIs and TensorFlow Serving.
var customMethods = map[string]string{
	"predict":               "predict",
	"rawPredict":            "predict",
	"streamRawPredict":      "predict",
	"classify":              "classify",
	"regress":               "predict",
	"explain":               "explain",
	"generateContent":       "generate_content",
	"streamGenerateContent": "generate_content",
	"countTokens":           "count_tokens",
	"embedContent":          "embeddings",
	"batchEmbedContents":    "embeddings",
}

// operations of the last segment of "models/NAME/…" (KServe v2) and "model/NAME/…" (Bedrock).
var modelCalls = map[string]string{
	"infer":                       "predict",
	"infer_stream":                "predict",
	"generate":                    "text_completion",
	"generate_stream":             "text_completion",
	"invoke":                      "predict",
	"invoke-with-response-stream": "predict",
	"invocations":                 "predict", // SageMaker, MLflow
	"converse":                    "chat",
	"converse-stream":             "chat",
}

// classify finds the route of a clean path ("/a/b", no trailing slash).
func classify(v verb, path []byte) Route {
	if len(path) < 2 {
		return fallback(v)
	}
	rest, version, atRoot := path[1:], []byte(nil), true
	for {
		if segment, tail, more := bytes.Cut(rest, []byte("/")); more && isVersion(segment) {
			version, rest, atRoot = segment, tail, true
		}
		if r, ok := lookup(v, rest, atRoot); ok {
			r.Version = version
			return r
		}
		if r, ok := named(v, rest, version); ok {
			r.Version, r.known = version, true
			return r
		}
		_, tail, more := bytes.Cut(rest, []byte("/"))
		if !more {
			break
		}
		rest, atRoot = tail, false
	}
	r := fallback(v)
	r.Version = version
	return r
}

// lookup finds a whole path in the table.
func lookup(v verb, path []byte, atRoot bool) (Route, bool) {
	c, ok := routes[string(path)]
	if !ok || !atRoot && !c.anywhere {
		return Route{}, false
	}
	r := fallback(v)
	r.known = true
	event := ""
	switch v {
	case reads:
		event = c.read
		r.noise = c.noise
	case posts:
		event = c.post
	case unsaid:
		r.noise = c.noise
		if event = c.post; event == "" {
			event = c.read
		}
	default: // no known path has a meaning of its own for other methods
	}
	if event != "" {
		r.Event = event
	}
	if r.Event == "model.inference" {
		r.Operation = c.operation
	}
	return r, true
}

// named finds the routes that have a model's name in the path.
func named(v verb, path, version []byte) (Route, bool) {
	collection, rest, more := bytes.Cut(path, []byte("/"))
	if !more || len(rest) == 0 {
		return Route{}, false
	}
	mayPost := v == posts || v == unsaid
	switch string(collection) {
	case "models", "endpoints":
		return modelResource(v, rest, version), true
	case "model": // Bedrock
		name, call := cutLast(rest)
		if operation, ok := modelCalls[string(call)]; ok && mayPost {
			return Route{Event: "model.inference", Operation: operation, Model: name}, true
		}
	case "gateway", "serving-endpoints": // MLflow's gateway, Databricks
		if name, call := cutLast(rest); string(call) == "invocations" && mayPost {
			return Route{Event: "model.inference", Operation: modelCalls["invocations"], Model: name}, true
		}
	case "predictions", "explanations": // TorchServe
		if mayPost || v == puts {
			name, revision, _ := bytes.Cut(rest, []byte("/"))
			operation := "predict"
			if string(collection) == "explanations" {
				operation = "explain"
			}
			return Route{Event: "model.inference", Operation: operation, Model: name, Revision: revision}, true
		}
	case "wfpredict": // a workflow of TorchServe: several models
		if mayPost {
			return Route{Event: "model.inference", Operation: "predict"}, true
		}
	case "deployments", "engines": // Azure OpenAI: deployments/NAME/chat/completions
		name, call, _ := bytes.Cut(rest, []byte("/"))
		if r, ok := lookup(v, call, true); ok {
			r.Model = name
			return r, true
		}
	case "repository": // KServe v2: repository/models/NAME/load
		if name, ok := bytes.CutPrefix(rest, []byte("models/")); ok && mayPost {
			name, call := cutLast(name)
			switch string(call) {
			case "load":
				return Route{Event: "model.load", Model: name}, true
			case "unload":
				return Route{Event: "model.unload", Model: name}, true
			}
		}
	}
	return Route{}, false
}

// modelResource reads what follows "models/": a name (which may contain
// slashes), perhaps a version, perhaps what is asked of it.
func modelResource(v verb, rest, version []byte) Route {
	mayPost := v == posts || v == unsaid
	if at := bytes.LastIndexByte(rest, ':'); at > 0 && mayPost {
		if operation, ok := customMethods[string(rest[at+1:])]; ok {
			r := Route{Event: "model.inference", Operation: operation}
			r.Model, r.Revision = cutRevision(rest[:at])
			return r
		}
	}
	name, call := cutLast(rest)
	if operation, ok := modelCalls[string(call)]; ok && mayPost {
		r := Route{Event: "model.inference", Operation: operation}
		r.Model, r.Revision = cutRevision(name)
		return r
	}
	r := fallback(v)
	rest, _ = bytes.CutSuffix(rest, []byte("/trace/setting")) // of Triton
	switch {
	case v == reads || v == unsaid:
		r.Event = "model.list"
		switch string(call) {
		case "ready":
			r.noise = RuleHealthCheck
			rest = name
		case "metadata", "config", "stats":
			rest = name
		}
	case v == deletes && version == nil: // TorchServe's management API
		r.Event = "model.unload"
	}
	r.Model, r.Revision = cutRevision(rest)
	return r
}

// cutRevision splits "name/versions/3" and "name/labels/stable".
func cutRevision(rest []byte) (name, revision []byte) {
	for _, mark := range [...]string{"/versions/", "/labels/"} {
		if at := bytes.LastIndex(rest, []byte(mark)); at > 0 {
			return rest[:at], rest[at+len(mark):]
		}
	}
	return rest, nil
}

// cutLast splits off the last segment; without a slash all is name.
func cutLast(path []byte) (head, last []byte) {
	at := bytes.LastIndexByte(path, '/')
	if at < 0 {
		return path, nil
	}
	return path[:at], path[at+1:]
}

// isVersion accepts "v1", "v1beta", "v1beta1".
func isVersion(segment []byte) bool {
	if len(segment) < 2 || len(segment) > 12 || segment[0] != 'v' || segment[1] < '0' || segment[1] > '9' {
		return false
	}
	for _, c := range segment[1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
