package vertex

import "bytes"

// call is what a method means.
type call struct {
	event, operation string
	stream           bool
}

// calls holds the methods whose meaning their verb does not tell, by the last part
// of the name, without "Stream" in front.
var calls = map[string]call{
	"GenerateContent":     {event: "model.inference", operation: "generate_content"},
	"BidiGenerateContent": {event: "model.inference", operation: "generate_content", stream: true},
	"ChatCompletions":     {event: "model.inference", operation: "chat"},
	"EmbedContent":        {event: "model.inference", operation: "embeddings"},
	"CountTokens":         {event: "model.inference", operation: "count_tokens"},
	"ComputeTokens":       {event: "model.inference", operation: "count_tokens"},
	"Predict":             {event: "model.inference", operation: "predict"},
	"RawPredict":          {event: "model.inference", operation: "predict"},
	"DirectPredict":       {event: "model.inference", operation: "predict"},
	"DirectRawPredict":    {event: "model.inference", operation: "predict"},
	"PredictLongRunning":  {event: "model.inference", operation: "predict"},
	"Explain":             {event: "model.inference", operation: "predict"},
	"InvokePrediction":    {event: "model.inference", operation: "predict"},

	"QueryReasoningEngine":  {event: "ai_agent.run"},
	"RetrieveContexts":      {event: "data.access"},
	"FetchPredictOperation": {event: "data.access"},

	"ListModels": {event: "model.list"}, "GetModel": {event: "model.list"}, "ListModelVersions": {event: "model.list"},
	"GetPublisherModel": {event: "model.list"}, "ListPublisherModels": {event: "model.list"},
	"ListEndpoints": {event: "model.list"}, "GetEndpoint": {event: "model.list"},

	"DeployModel":   {event: "model.deploy"},
	"UndeployModel": {event: "model.unload"},
	"UploadModel":   {event: "data.upload"},
	"CopyModel":     {event: "data.upload"},
	"ExportModel":   {event: "model.export"},

	"CreateTuningJob": {event: "model.finetune"}, "CreateTrainingPipeline": {event: "model.finetune"}, "CreateCustomJob": {event: "model.finetune"},

	"ImportData": {event: "data.upload"}, "ExportData": {event: "data.export"}, "UploadRagFile": {event: "data.upload"},
	"ImportRagFiles": {event: "data.upload"}, "DeleteDataset": {event: "data.delete"}, "DeleteModel": {event: "data.delete"},
	"DeleteModelVersion": {event: "data.delete"}, "DeleteRagFile": {event: "data.delete"},

	"SetIamPolicy": {event: "auth.elevate"},
}

// callOf finds a method: "google.cloud.aiplatform.v1.PredictionService.GenerateContent",
// or "generateContent" in request-response logging. What is not in the table reads
// or changes the configuration, by its verb.
func callOf(method []byte) call {
	name := method[bytes.LastIndexByte(method, '.')+1:]
	var buffer [64]byte
	if len(name) > 0 && len(name) <= len(buffer) && name[0] >= 'a' && name[0] <= 'z' {
		name = append(buffer[:0], name...)
		name[0] -= 'a' - 'A'
	}
	if c, ok := calls[string(name)]; ok {
		return c
	}
	for _, prefix := range [...]string{"Streaming", "ServerStreaming", "Stream"} {
		rest, ok := bytes.CutPrefix(name, []byte(prefix))
		if !ok {
			continue
		}
		if len(rest) > 0 && rest[0] >= 'a' && rest[0] <= 'z' && len(rest) <= len(buffer) { // streamrawPredict
			rest = append(buffer[:0], rest...)
			rest[0] -= 'a' - 'A'
		}
		if c, ok := calls[string(rest)]; ok {
			c.stream = true
			return c
		}
	}
	for _, verb := range [...]string{"Get", "List", "Search", "Read", "Query", "Fetch", "Find", "Batch"} {
		if bytes.HasPrefix(name, []byte(verb)) {
			return call{event: "data.access"}
		}
	}
	return call{event: "admin.config"}
}

// versionOf returns the version of the API in a method's name.
func versionOf(method []byte) []byte {
	_, rest, _ := bytes.Cut(method, []byte("aiplatform."))
	version, _, ok := bytes.Cut(rest, []byte("."))
	if !ok || len(version) < 2 || version[0] != 'v' || version[1] < '0' || version[1] > '9' {
		return nil
	}
	return version
}
