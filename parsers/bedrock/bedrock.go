// Package bedrock reads what Amazon Bedrock logs of its use: model invocation logs
// (schemaVersion 1.0), as they come from CloudWatch Logs or S3, and the events of
// CloudTrail whose source is one of Bedrock's endpoints; one JSON object a line.
package bedrock

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// provider is the name of OpenTelemetry's conventions.
const provider = "aws.bedrock"

// The slots, in the order of slots.
const (
	slotSchema = iota
	slotEventSource
	slotEventName
	slotOperation
	slotModel
	slotError
	slotARN
	slotIdentityType
	slotInput
	slotOutput
	slotMessages
	slotPrompt
	slotText
	slotStop
	slotGuardrail
	slotReadOnly
)

func slots() [][]string {
	return fieldmap.Paths("schemaType", "eventSource", "eventName", "operation", "modelId", "errorCode", "identity/arn", "userIdentity/type",
		"input/inputBodyJson", "output/outputBodyJson",
		"input/inputBodyJson/messages", "input/inputBodyJson/prompt", "input/inputBodyJson/inputText",
		"output/outputBodyJson/stopReason", "output/outputBodyJson/amazon-bedrock-guardrailAction", "readOnly")
}

func fields() []fieldmap.Mapping {
	from := fieldmap.From
	return []fieldmap.Mapping{
		from("time", "timestamp", "eventTime"),
		from("tenant", "accountId", "recipientAccountId", "userIdentity/accountId"),
		from("actor.id", "identity/arn", "userIdentity/arn", "userIdentity/principalId"),
		from("actor.mfa", "userIdentity/sessionContext/attributes/mfaAuthenticated"),
		from("client.ip", "sourceIPAddress"),
		from("client.user_agent", "userAgent"),
		from("session.request_id", "requestId", "requestID"),
		from("session.response_id", "output/outputBodyJson/id", "output/outputBodyJson/0/message/id"),
		from("reason", "errorCode"),
		from("api.status", "status"),
		from("model.name", "modelId", "requestParameters/modelId", "requestParameters/modelIdentifier"),
		from("model.served", "output/outputBodyJson/model", "output/outputBodyJson/0/message/model"),

		from("params.max_tokens", "input/inputBodyJson/max_tokens", "input/inputBodyJson/inferenceConfig/maxTokens",
			"input/inputBodyJson/max_gen_len", "input/inputBodyJson/max_tokens_to_sample", "input/inputBodyJson/maxTokens",
			"input/inputBodyJson/textGenerationConfig/maxTokenCount", "input/inputBodyJson/inferenceConfig/max_new_tokens"),
		from("params.temperature", "input/inputBodyJson/temperature", "input/inputBodyJson/inferenceConfig/temperature",
			"input/inputBodyJson/textGenerationConfig/temperature"),
		from("params.top_p", "input/inputBodyJson/top_p", "input/inputBodyJson/inferenceConfig/topP", "input/inputBodyJson/topP",
			"input/inputBodyJson/textGenerationConfig/topP", "input/inputBodyJson/p"),
		from("params.top_k", "input/inputBodyJson/top_k", "input/inputBodyJson/k"),
		from("params.seed", "input/inputBodyJson/seed"),

		from("usage.input_tokens", "input/inputTokenCount", "output/outputBodyJson/usage/inputTokens",
			"output/outputBodyJson/usage/input_tokens", "output/outputBodyJson/inputTextTokenCount"),
		from("usage.output_tokens", "output/outputTokenCount", "output/outputBodyJson/usage/outputTokens",
			"output/outputBodyJson/usage/output_tokens"),
		from("usage.cached_tokens", "input/cacheReadInputTokenCount", "output/outputBodyJson/usage/cacheReadInputTokens",
			"output/outputBodyJson/usage/cacheReadInputTokenCount", "output/outputBodyJson/usage/cache_read_input_tokens"),
		from("usage.duration_ms", "output/outputBodyJson/metrics/latencyMs"),
		from("input", "input/inputBodyJson"),
		from("output.finish", "output/outputBodyJson/stopReason", "output/outputBodyJson/stop_reason",
			"output/outputBodyJson/results/0/completionReason", "output/outputBodyJson/outputs/0/stop_reason",
			"output/outputBodyJson/generations/0/finish_reason", "output/outputBodyJson/choices/0/finish_reason",
			"output/outputBodyJson/finish_reason"),

		from("policy.id", "input/inputBodyJson/guardrailConfig/guardrailIdentifier", "requestParameters/guardrailIdentifier"),
		from("policy.version", "input/inputBodyJson/guardrailConfig/guardrailVersion", "requestParameters/guardrailVersion"),

		from("extra.operation", "operation"),
		from("extra.region", "region"),
		from("extra.inference_region", "inferenceRegion"),
		from("extra.input_body", "input/inputBodyS3Path"),
		from("extra.output_body", "output/outputBodyS3Path"),
		from("extra.event_id", "eventID"),
		from("extra.aws_region", "awsRegion"),
	}
}

// New returns a parser.
func New(c parsers.Config) (parsers.Parser, error) {
	if c.Provider == "" {
		c.Provider = provider
	}
	return fieldmap.NewJSON(fieldmap.Config{
		Config: c, Fields: fields(), Slots: slots(), Decide: decide,
		Embedded: fieldmap.Paths("input/inputBodyJson", "output/outputBodyJson"),
	})
}

func decide(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
	r := &d.Record
	switch {
	case string(m.Slot(slotSchema)) == "ModelInvocationLog", m.Slot(slotSchema) == nil && m.Slot(slotInput) != nil && m.Slot(slotOperation) != nil:
		invocation(m, d)
	case bytes.HasPrefix(m.Slot(slotEventSource), []byte("bedrock")):
		trail(m, r)
	default:
		return parsers.Outcome{Rule: "neither a model invocation log nor an event of Bedrock in CloudTrail"}
	}
	identity(m, r)
	outcome(m, r)
	if name := r.Text(audit.ModelName); isExact(name) {
		fieldmap.ExactModel(d, "bedrock", name[bytes.LastIndexByte(name, '/')+1:])
	}
	return parsers.Outcome{Verdict: parsers.Recorded}
}

// invocation fills what is said of a call to a model.
func invocation(m *fieldmap.Map, d *parsers.Draft) {
	r := &d.Record
	operation := m.Slot(slotOperation)
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, operationOf(m, operation))
	r.SetBool(audit.ParamsStream, bytes.HasSuffix(operation, []byte("Stream")))
	if output := m.Slot(slotOutput); len(output) > 0 && output[0] == '[' {
		stream(m, d, output)
	} else if output != nil {
		m.AddContent(&d.Output, output)
	}
	if string(m.Slot(slotStop)) == "guardrail_intervened" || string(m.Slot(slotGuardrail)) == "INTERVENED" {
		blocked(r)
	}
}

// blocked fills what follows from a guardrail that intervened.
func blocked(r *audit.Record) {
	r.SetString(audit.Outcome, "blocked")
	r.SetString(audit.Reason, "policy_block")
	r.SetString(audit.PolicyDecision, "block")
	r.SetString(audit.PolicyBy, "bedrock/guardrails")
}

// operationOf names the operation. InvokeModel takes any body; what it asks for
// shows in the body's form and in the model's name.
func operationOf(m *fieldmap.Map, operation []byte) string {
	switch {
	case bytes.HasPrefix(operation, []byte("Converse")), m.Slot(slotMessages) != nil:
		return "chat"
	case bytes.Contains(m.Slot(slotModel), []byte("embed")):
		return "embeddings"
	case bytes.Contains(m.Slot(slotModel), []byte("rerank")):
		return "rerank"
	case m.Slot(slotPrompt) != nil, m.Slot(slotText) != nil:
		return "text_completion"
	default:
		return "predict"
	}
}

// outcome tells how the call ended. The logs name only what went wrong.
func outcome(m *fieldmap.Map, r *audit.Record) {
	code := string(m.Slot(slotError))
	switch {
	case r.Has(audit.Outcome): // a guardrail said so
	case code == "":
		if status := m.Status(); status == parsers.NoStatus || status < 400 {
			r.SetString(audit.Outcome, "success")
		}
	case isRefusal(code):
		r.SetString(audit.Outcome, "denied")
	default:
		r.SetString(audit.Outcome, "failed")
	}
}

// isExact tells whether an id, or its ARN, names a version: one of Bedrock's own
// models, whose ids end in it ("…-20240307-v1:0", "…-express-v1"). Profiles,
// endpoints and models of the customer are names for something else.
func isExact(name []byte) bool {
	if at := bytes.Index(name, []byte("::foundation-model/")); at >= 0 {
		name = name[at+len("::foundation-model/"):]
	}
	vendor, model, ok := bytes.Cut(name, []byte("."))
	version := bytes.LastIndex(model, []byte("-v"))
	if !ok || bytes.IndexByte(vendor, ':') >= 0 || version < 0 || version+2 >= len(model) || model[version+2] < '0' || model[version+2] > '9' {
		return false
	}
	switch string(vendor) {
	case "us", "eu", "apac", "jp", "au", "ca", "global", "us-gov": // a profile over several regions
		return false
	default:
		return true
	}
}

func isRefusal(code string) bool {
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation", "UnrecognizedClientException",
		"InvalidSignatureException", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId",
		"MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired":
		return true
	default:
		return false
	}
}

// identity reads the ARN of who called. AWS has checked the signature of every
// call that it logs with an identity; a long-lived access key is only as good as
// whoever holds it, so that of a user stays unverified.
func identity(m *fieldmap.Map, r *audit.Record) {
	arn := r.Text(audit.ActorID)
	resource := arn
	for range 5 { // arn:aws:iam::111122223333:user/jane
		_, rest, ok := bytes.Cut(resource, []byte(":"))
		if !ok {
			resource = nil
			break
		}
		resource = rest
	}
	kind, path, _ := bytes.Cut(resource, []byte("/"))
	switch string(kind) {
	case "user":
		r.SetText(audit.ActorName, path[bytes.LastIndexByte(path, '/')+1:])
		r.SetString(audit.ActorBasis, "api_key")
	case "assumed-role":
		role, session, _ := bytes.Cut(path, []byte("/"))
		r.SetText(audit.ActorName, session)
		var list [256]byte
		r.SetJSON(audit.ActorRoles, append(audit.AppendText(append(list[:0], '['), role), ']'))
		if bytes.HasPrefix(role, []byte("AWSReservedSSO_")) { // IAM Identity Center
			r.SetString(audit.ActorType, "human")
			r.SetString(audit.ActorBasis, "sso")
		} else {
			r.SetString(audit.ActorBasis, "idp_token")
		}
		r.SetBool(audit.ActorVerified, true)
	case "federated-user":
		r.SetText(audit.ActorName, path)
		r.SetString(audit.ActorBasis, "idp_token")
		r.SetBool(audit.ActorVerified, true)
	case "root":
		r.SetString(audit.ActorName, "root")
		r.SetString(audit.ActorBasis, "api_key")
	}
	if string(m.Slot(slotIdentityType)) == "AWSService" {
		r.SetString(audit.ActorType, "service")
	}
}
