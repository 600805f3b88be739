package litellm

import "bytes"

// call is what a call type means. Without an event, the route decides.
type call struct{ event, operation string }

// calls holds LiteLLM's call types without the "a" that begins the asynchronous
// ones. Operations are those of the OpenTelemetry GenAI conventions where these
// have one.
var calls = map[string]call{
	"completion":              {"model.inference", "chat"},
	"anthropic_messages":      {"model.inference", "chat"},
	"responses":               {"model.inference", "chat"},
	"interactions":            {"model.inference", "chat"},
	"text_completion":         {"model.inference", "text_completion"},
	"generate_content":        {"model.inference", "generate_content"},
	"generate_content_stream": {"model.inference", "generate_content"},
	"embedding":               {"model.inference", "embeddings"},
	"moderation":              {"model.inference", "moderation"},
	"rerank":                  {"model.inference", "rerank"},
	"transcription":           {"model.inference", "transcription"},
	"speech":                  {"model.inference", "speech"},
	"image_generation":        {"model.inference", "image_generation"},
	"image_edit":              {"model.inference", "image_generation"},
	"image_variation":         {"model.inference", "image_generation"},
	"create_video":            {"model.inference", "video_generation"},
	"video_remix":             {"model.inference", "video_generation"},
	"realtime":                {"model.inference", "realtime"},
	"ocr":                     {"model.inference", "ocr"},
	"count_tokens":            {"model.inference", "count_tokens"},
	"send_message":            {"ai_agent.run", "invoke_agent"}, // A2A

	"call_mcp_tool":  {"tool.call", "execute_tool"},
	"list_mcp_tools": {"data.access", ""},

	"vector_store_search":      {"data.access", "retrieval"},
	"search":                   {"data.access", "retrieval"},
	"vector_store_create":      {"data.upload", ""},
	"vector_store_file_create": {"data.upload", ""},
	"create_file":              {"data.upload", ""},
	"file_delete":              {"data.delete", ""},
	"delete_responses":         {"data.delete", ""},
	"create_batch":             {"model.inference", "batch"},
	"create_fine_tuning_job":   {"model.finetune", ""},
}

func callOf(callType []byte) call {
	callType = bytes.TrimPrefix(callType, []byte("_"))
	if c, ok := calls[string(callType)]; ok {
		return c
	}
	if len(callType) > 1 && callType[0] == 'a' {
		return calls[string(callType[1:])]
	}
	return call{}
}
