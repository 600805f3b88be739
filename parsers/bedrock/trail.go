package bedrock

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// trail fills what an event of CloudTrail is about.
func trail(m *fieldmap.Map, r *audit.Record) {
	name := m.Slot(slotEventName)
	switch string(name) {
	case "InvokeModel", "InvokeModelWithResponseStream", "InvokeModelWithBidirectionalStream":
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, operationOf(m, name))
	case "Converse", "ConverseStream":
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "chat")
	case "CountTokens":
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "count_tokens")
	case "InvokeAgent", "InvokeInlineAgent", "InvokeFlow":
		r.SetString(audit.Event, "ai_agent.run")
	case "Retrieve", "RetrieveAndGenerate", "RetrieveAndGenerateStream", "Rerank":
		r.SetString(audit.Event, "data.access")
	case "CreateModelCustomizationJob":
		r.SetString(audit.Event, "model.finetune")
	case "ListFoundationModels", "GetFoundationModel", "ListCustomModels", "GetCustomModel", "ListInferenceProfiles",
		"GetFoundationModelAvailability", "ListImportedModels":
		r.SetString(audit.Event, "model.list")
	default:
		if string(m.Slot(slotReadOnly)) == "true" || hasAny(name, "List", "Get", "BatchGet") {
			r.SetString(audit.Event, "data.access")
			break
		}
		// Among them DeleteModelInvocationLoggingConfiguration, which ends the other log.
		r.SetString(audit.Event, "admin.config")
		r.SetText(audit.ChangeWhat, name)
	}
	m.AddExtra("event_name", name)
}

func hasAny(b []byte, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if bytes.HasPrefix(b, []byte(prefix)) {
			return true
		}
	}
	return false
}
