package azureopenai

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// call is what an operation means.
type call struct{ event, operation string }

// calls names the operations of the data plane by how they begin, the longer
// before the shorter; their verb stands behind.
var calls = []struct {
	name string
	call call
}{
	{"chatcompletions_create", call{"model.inference", "chat"}},
	{"extensionschatcompletions_create", call{"model.inference", "chat"}},
	{"chatcompletions", call{"model.inference", "chat"}},
	{"responses_create", call{"model.inference", "chat"}},
	{"create_response", call{"model.inference", "chat"}},
	{"completions_create", call{"model.inference", "text_completion"}},
	{"embeddings_create", call{"model.inference", "embeddings"}},
	{"imagegenerations_", call{"model.inference", "image_generation"}},
	{"images_", call{"model.inference", "image_generation"}},
	{"imageedits_", call{"model.inference", "image_generation"}},
	{"transcriptions_create", call{"model.inference", "transcription"}},
	{"translations_create", call{"model.inference", "translation"}},
	{"speech_create", call{"model.inference", "speech"}},
	{"realtime", call{"model.inference", "realtime"}},
	{"create_run", call{"ai_agent.run", ""}},
	{"create_thread_and_run", call{"ai_agent.run", ""}},
	{"create_message", call{"data.upload", ""}},
	{"create_thread", call{"data.modify", ""}},
	{"create_fine_tuning_job", call{"model.finetune", ""}},
	{"finetunes_create", call{"model.finetune", ""}},
	{"finetuning", call{"model.finetune", ""}},
	{"files_upload", call{"data.upload", ""}},
	{"files_import", call{"data.upload", ""}},
	{"files_create", call{"data.upload", ""}},
	{"files_delete", call{"data.delete", ""}},
	{"models_", call{"model.list", ""}},
	{"listmodels", call{"model.list", ""}},
	{"deployments_list", call{"model.list", ""}},
	{"deployments_get", call{"model.list", ""}},
	{"deployments_", call{"admin.config", ""}},
	{"listkey", call{"auth.key", ""}},
	{"regeneratekey", call{"auth.key", ""}},
}

// callOf finds an operation. What is not in the table reads, deletes or modifies
// by its verb.
func callOf(name []byte) call {
	for i := range calls {
		if hasFold(name, calls[i].name) {
			return calls[i].call
		}
	}
	switch {
	case hasVerb(name, "get"), hasVerb(name, "list"), hasVerb(name, "retrieve"):
		return call{event: "data.access"}
	case hasVerb(name, "delete"), hasVerb(name, "cancel"):
		return call{event: "data.delete"}
	default:
		return call{event: "data.modify"}
	}
}

// hasVerb tells whether a name begins or ends with a verb: "Get_Thread", "Files_Get".
func hasVerb(name []byte, verb string) bool {
	return hasFold(name, verb) || len(name) > len(verb) && hasFold(name[len(name)-len(verb):], verb)
}

// hasFold compares a beginning without regard to the case of letters.
func hasFold(name []byte, lower string) bool {
	if len(name) < len(lower) {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// management fills what an event of the activity log is about
// ("MICROSOFT.COGNITIVESERVICES/ACCOUNTS/DEPLOYMENTS/WRITE"). It reports false for
// resources that have nothing to do with models.
func management(m *fieldmap.Map, r *audit.Record) bool {
	operation, result := m.Slot(slotOperation), m.Slot(slotResult)
	if !hasFold(operation, "microsoft.cognitiveservices/") && !hasFold(operation, "microsoft.apimanagement/") &&
		!hasFold(operation, "microsoft.machinelearningservices/") {
		return false
	}
	path, verb := cutLast(operation)
	if hasFold(verb, "action") && len(verb) == len("action") {
		path, verb = cutLast(path)
	}
	_, what := cutLast(path)
	switch {
	case hasFold(verb, "listkeys"), hasFold(verb, "regeneratekey"):
		r.SetString(audit.Event, "auth.key")
	case hasFold(verb, "read"), hasFold(verb, "list"):
		r.SetString(audit.Event, "data.access")
	default:
		r.SetString(audit.Event, "admin.config")
		r.SetText(audit.ChangeWhat, what)
	}
	switch {
	case hasFold(result, "succ"), hasFold(result, "accept"):
		r.SetString(audit.Outcome, "success")
	case hasFold(result, "fail"):
		r.SetString(audit.Outcome, "failed")
		_, why, _ := bytes.Cut(m.Slot(slotSignature), []byte(".")) // "Failed.Forbidden"
		switch string(why) {
		case "Forbidden", "Unauthorized":
			r.SetString(audit.Outcome, "denied")
			r.SetText(audit.Reason, why)
		}
	}
	return true
}

func cutLast(path []byte) (head, last []byte) {
	at := bytes.LastIndexByte(path, '/')
	if at < 0 {
		return nil, path
	}
	return path[:at], path[at+1:]
}
