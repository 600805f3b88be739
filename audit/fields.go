package audit

// Field is one field of the record. Its String is the dotted path that the
// configuration's field maps, the rules and the CSV header use.
type Field uint8

// The fields, in the order they stand in a line. quality and agent.seq are
// written by the encoder; see Record.Flag and AppendSeq.
const (
	SchemaVersion          Field = iota // schema_version
	ID                                  // id
	Time                                // time
	TimeBasis                           // time_basis
	ObservedTime                        // observed_time
	Event                               // event
	Action                              // action
	Outcome                             // outcome
	Reason                              // reason
	Severity                            // severity
	Retention                           // retention
	ActorID                             // actor.id
	ActorName                           // actor.name
	ActorType                           // actor.type
	ActorBasis                          // actor.basis
	ActorVerified                       // actor.verified
	ActorRoles                          // actor.roles
	ActorIDP                            // actor.idp
	ActorMFA                            // actor.mfa
	ActorKeyID                          // actor.key_id
	ActorOnBehalfOf                     // actor.on_behalf_of
	AIAgentID                           // ai_agent.id
	AIAgentName                         // ai_agent.name
	AIAgentVersion                      // ai_agent.version
	Tenant                              // tenant
	Workspace                           // workspace
	Service                             // service
	Environment                         // environment
	ClientIP                            // client.ip
	ClientCountry                       // client.country
	ClientZone                          // client.zone
	ClientUserAgent                     // client.user_agent
	ClientApp                           // client.app
	ClientDevice                        // client.device
	HostID                              // host.id
	HostName                            // host.name
	HostImage                           // host.image
	SessionID                           // session.id
	SessionConversationID               // session.conversation_id
	SessionRequestID                    // session.request_id
	SessionResponseID                   // session.response_id
	SessionTraceID                      // session.trace_id
	SessionSpanID                       // session.span_id
	SessionComparisonID                 // session.comparison_id
	SessionComparisonOrder              // session.comparison_order
	SessionParentID                     // session.parent_id
	ModelName                           // model.name
	ModelServed                         // model.served
	ModelProvider                       // model.provider
	ModelID                             // model.id
	ModelVersion                        // model.version
	ModelRevision                       // model.revision
	ModelDigest                         // model.digest
	ModelAdapter                        // model.adapter
	ModelConfig                         // model.config
	ModelRef                            // model.ref
	ModelBasis                          // model.basis
	ModelAmbiguous                      // model.ambiguous
	ModelSensitivity                    // model.sensitivity
	ModelOwner                          // model.owner
	APIOperation                        // api.operation
	APIMethod                           // api.method
	APIPath                             // api.path
	APIStatus                           // api.status
	APIVersion                          // api.version
	APIServer                           // api.server
	APIServerVersion                    // api.server_version
	APIFingerprint                      // api.fingerprint
	Data                                // data
	PromptName                          // prompt.name
	PromptVersion                       // prompt.version
	PromptSystemHMAC                    // prompt.system_hmac
	ParamsTemperature                   // params.temperature
	ParamsTopP                          // params.top_p
	ParamsTopK                          // params.top_k
	ParamsMaxTokens                     // params.max_tokens
	ParamsSeed                          // params.seed
	ParamsN                             // params.n
	ParamsStream                        // params.stream
	ParamsStop                          // params.stop
	UsageInputTokens                    // usage.input_tokens
	UsageOutputTokens                   // usage.output_tokens
	UsageCachedTokens                   // usage.cached_tokens
	UsageRequestBytes                   // usage.request_bytes
	UsageResponseBytes                  // usage.response_bytes
	UsageDurationMs                     // usage.duration_ms
	InputMode                           // input.mode
	InputHMAC                           // input.hmac
	InputBytes                          // input.bytes
	InputParts                          // input.parts
	InputText                           // input.text
	InputEnc                            // input.enc
	InputKey                            // input.key
	InputTruncated                      // input.truncated
	InputRedacted                       // input.redacted
	OutputMode                          // output.mode
	OutputHMAC                          // output.hmac
	OutputBytes                         // output.bytes
	OutputParts                         // output.parts
	OutputText                          // output.text
	OutputEnc                           // output.enc
	OutputKey                           // output.key
	OutputTruncated                     // output.truncated
	OutputRedacted                      // output.redacted
	OutputFinish                        // output.finish
	PolicyID                            // policy.id
	PolicyVersion                       // policy.version
	PolicyDecision                      // policy.decision
	PolicyBy                            // policy.by
	PolicyRules                         // policy.rules
	PolicyFindings                      // policy.findings
	ApprovalID                          // approval.id
	ApprovalState                       // approval.state
	ApprovalBy                          // approval.by
	ApprovalExpires                     // approval.expires
	ToolName                            // tool.name
	ToolCallID                          // tool.call_id
	ToolHMAC                            // tool.hmac
	ChangeWhat                          // change.what
	ChangeFrom                          // change.from
	ChangeTo                            // change.to
	ChangeAfter                         // change.after
	ChangeBefore                        // change.before
	ChangeSeqs                          // change.seqs
	ChangeTicket                        // change.ticket
	AlertRule                           // alert.rule
	AlertRuleVersion                    // alert.rule_version
	AlertTitle                          // alert.title
	AlertGroup                          // alert.group
	AlertCount                          // alert.count
	AlertFirst                          // alert.first
	AlertLast                           // alert.last
	AlertEvidence                       // alert.evidence
	AlertAttack                         // alert.attack
	AlertRunbook                        // alert.runbook
	AlertState                          // alert.state
	SourceID                            // source.id
	SourcePath                          // source.path
	SourceGeneration                    // source.generation
	SourceOffset                        // source.offset
	SourceLength                        // source.length
	SourceHMAC                          // source.hmac
	SourceParser                        // source.parser
	Coverage                            // coverage
	LossGeneration                      // loss.generation
	LossFrom                            // loss.from
	LossTo                              // loss.to
	LossBytes                           // loss.bytes
	LossLines                           // loss.lines
	LossHMAC                            // loss.hmac
	LossEnc                             // loss.enc
	LossCause                           // loss.cause
	Salt                                // salt
	Extra                               // extra
	AgentID                             // agent.id

	fieldCount
)

// fields is the table of the format, indexed by Field.
var fields = [fieldCount]Def{
	SchemaVersion:          {Path: "schema_version", Kind: KindInt, Required: true},
	ID:                     {Path: "id", Kind: KindText, Required: true},
	Time:                   {Path: "time", Kind: KindTime, Required: true},
	TimeBasis:              {Path: "time_basis", Kind: KindEnum, Required: true, Values: []string{"source", "source_tz_assumed", "observed"}},
	ObservedTime:           {Path: "observed_time", Kind: KindTime, Required: true},
	Event:                  {Path: "event", Kind: KindText, Required: true},
	Action:                 {Path: "action", Kind: KindEnum, Required: true, Values: []string{"execute", "read", "write", "modify", "delete", "list", "export", "transform", "authenticate", "grant", "revoke", "approve", "deny", "deploy", "load", "unload", "configure", "redact", "block", "allow", "flag", "detect", "observe"}},
	Outcome:                {Path: "outcome", Kind: KindEnum, Required: true, Values: []string{"success", "denied", "blocked", "failed", "cancelled", "unknown"}},
	Reason:                 {Path: "reason", Kind: KindText},
	Severity:               {Path: "severity", Kind: KindInt, Required: true},
	Retention:              {Path: "retention", Kind: KindText, Required: true},
	ActorID:                {Path: "actor.id", Kind: KindText},
	ActorName:              {Path: "actor.name", Kind: KindText},
	ActorType:              {Path: "actor.type", Kind: KindEnum, Required: true, Values: []string{"human", "service", "ai_agent", "system", "unknown"}},
	ActorBasis:             {Path: "actor.basis", Kind: KindEnum, Required: true, Values: []string{"sso", "idp_token", "mtls", "api_key", "header", "ip", "os", "none"}},
	ActorVerified:          {Path: "actor.verified", Kind: KindBool, Required: true},
	ActorRoles:             {Path: "actor.roles", Kind: KindStrings},
	ActorIDP:               {Path: "actor.idp", Kind: KindText},
	ActorMFA:               {Path: "actor.mfa", Kind: KindBool},
	ActorKeyID:             {Path: "actor.key_id", Kind: KindText},
	ActorOnBehalfOf:        {Path: "actor.on_behalf_of", Kind: KindText},
	AIAgentID:              {Path: "ai_agent.id", Kind: KindText},
	AIAgentName:            {Path: "ai_agent.name", Kind: KindText},
	AIAgentVersion:         {Path: "ai_agent.version", Kind: KindText},
	Tenant:                 {Path: "tenant", Kind: KindText},
	Workspace:              {Path: "workspace", Kind: KindText},
	Service:                {Path: "service", Kind: KindText, Required: true},
	Environment:            {Path: "environment", Kind: KindEnum, Required: true, Values: []string{"prod", "staging", "dev", "test", "other"}},
	ClientIP:               {Path: "client.ip", Kind: KindText},
	ClientCountry:          {Path: "client.country", Kind: KindText},
	ClientZone:             {Path: "client.zone", Kind: KindText},
	ClientUserAgent:        {Path: "client.user_agent", Kind: KindText},
	ClientApp:              {Path: "client.app", Kind: KindText},
	ClientDevice:           {Path: "client.device", Kind: KindText},
	HostID:                 {Path: "host.id", Kind: KindText, Required: true},
	HostName:               {Path: "host.name", Kind: KindText, Required: true},
	HostImage:              {Path: "host.image", Kind: KindText},
	SessionID:              {Path: "session.id", Kind: KindText},
	SessionConversationID:  {Path: "session.conversation_id", Kind: KindText},
	SessionRequestID:       {Path: "session.request_id", Kind: KindText},
	SessionResponseID:      {Path: "session.response_id", Kind: KindText},
	SessionTraceID:         {Path: "session.trace_id", Kind: KindText},
	SessionSpanID:          {Path: "session.span_id", Kind: KindText},
	SessionComparisonID:    {Path: "session.comparison_id", Kind: KindText},
	SessionComparisonOrder: {Path: "session.comparison_order", Kind: KindInt},
	SessionParentID:        {Path: "session.parent_id", Kind: KindText},
	ModelName:              {Path: "model.name", Kind: KindText},
	ModelServed:            {Path: "model.served", Kind: KindText},
	ModelProvider:          {Path: "model.provider", Kind: KindText},
	ModelID:                {Path: "model.id", Kind: KindText},
	ModelVersion:           {Path: "model.version", Kind: KindText},
	ModelRevision:          {Path: "model.revision", Kind: KindText},
	ModelDigest:            {Path: "model.digest", Kind: KindText},
	ModelAdapter:           {Path: "model.adapter", Kind: KindText},
	ModelConfig:            {Path: "model.config", Kind: KindText},
	ModelRef:               {Path: "model.ref", Kind: KindText},
	ModelBasis:             {Path: "model.basis", Kind: KindEnum, Values: []string{"log", "digest", "probe", "banner", "manifest", "declared", "inferred", "unresolved"}},
	ModelAmbiguous:         {Path: "model.ambiguous", Kind: KindBool},
	ModelSensitivity:       {Path: "model.sensitivity", Kind: KindEnum, Values: []string{"public", "internal", "confidential", "restricted"}},
	ModelOwner:             {Path: "model.owner", Kind: KindText},
	APIOperation:           {Path: "api.operation", Kind: KindText},
	APIMethod:              {Path: "api.method", Kind: KindText},
	APIPath:                {Path: "api.path", Kind: KindText},
	APIStatus:              {Path: "api.status", Kind: KindInt},
	APIVersion:             {Path: "api.version", Kind: KindText},
	APIServer:              {Path: "api.server", Kind: KindText},
	APIServerVersion:       {Path: "api.server_version", Kind: KindText},
	APIFingerprint:         {Path: "api.fingerprint", Kind: KindText},
	Data:                   {Path: "data", Kind: KindJSON, Shape: Objects},
	PromptName:             {Path: "prompt.name", Kind: KindText},
	PromptVersion:          {Path: "prompt.version", Kind: KindText},
	PromptSystemHMAC:       {Path: "prompt.system_hmac", Kind: KindText},
	ParamsTemperature:      {Path: "params.temperature", Kind: KindNumber},
	ParamsTopP:             {Path: "params.top_p", Kind: KindNumber},
	ParamsTopK:             {Path: "params.top_k", Kind: KindInt},
	ParamsMaxTokens:        {Path: "params.max_tokens", Kind: KindInt},
	ParamsSeed:             {Path: "params.seed", Kind: KindInt},
	ParamsN:                {Path: "params.n", Kind: KindInt},
	ParamsStream:           {Path: "params.stream", Kind: KindBool},
	ParamsStop:             {Path: "params.stop", Kind: KindInt},
	UsageInputTokens:       {Path: "usage.input_tokens", Kind: KindInt},
	UsageOutputTokens:      {Path: "usage.output_tokens", Kind: KindInt},
	UsageCachedTokens:      {Path: "usage.cached_tokens", Kind: KindInt},
	UsageRequestBytes:      {Path: "usage.request_bytes", Kind: KindInt},
	UsageResponseBytes:     {Path: "usage.response_bytes", Kind: KindInt},
	UsageDurationMs:        {Path: "usage.duration_ms", Kind: KindInt},
	InputMode:              {Path: "input.mode", Kind: KindEnum, Values: []string{"none", "hashed", "redacted", "encrypted", "full"}},
	InputHMAC:              {Path: "input.hmac", Kind: KindText},
	InputBytes:             {Path: "input.bytes", Kind: KindInt},
	InputParts:             {Path: "input.parts", Kind: KindInt},
	InputText:              {Path: "input.text", Kind: KindText},
	InputEnc:               {Path: "input.enc", Kind: KindText},
	InputKey:               {Path: "input.key", Kind: KindText},
	InputTruncated:         {Path: "input.truncated", Kind: KindBool},
	InputRedacted:          {Path: "input.redacted", Kind: KindJSON, Shape: MapInt},
	OutputMode:             {Path: "output.mode", Kind: KindEnum, Values: []string{"none", "hashed", "redacted", "encrypted", "full"}},
	OutputHMAC:             {Path: "output.hmac", Kind: KindText},
	OutputBytes:            {Path: "output.bytes", Kind: KindInt},
	OutputParts:            {Path: "output.parts", Kind: KindInt},
	OutputText:             {Path: "output.text", Kind: KindText},
	OutputEnc:              {Path: "output.enc", Kind: KindText},
	OutputKey:              {Path: "output.key", Kind: KindText},
	OutputTruncated:        {Path: "output.truncated", Kind: KindBool},
	OutputRedacted:         {Path: "output.redacted", Kind: KindJSON, Shape: MapInt},
	OutputFinish:           {Path: "output.finish", Kind: KindStrings},
	PolicyID:               {Path: "policy.id", Kind: KindText},
	PolicyVersion:          {Path: "policy.version", Kind: KindText},
	PolicyDecision:         {Path: "policy.decision", Kind: KindEnum, Values: []string{"allow", "block", "redact", "flag", "bypass", "error"}},
	PolicyBy:               {Path: "policy.by", Kind: KindText},
	PolicyRules:            {Path: "policy.rules", Kind: KindStrings},
	PolicyFindings:         {Path: "policy.findings", Kind: KindJSON, Shape: MapInt},
	ApprovalID:             {Path: "approval.id", Kind: KindText},
	ApprovalState:          {Path: "approval.state", Kind: KindEnum, Values: []string{"requested", "granted", "denied", "expired", "used", "revoked"}},
	ApprovalBy:             {Path: "approval.by", Kind: KindText},
	ApprovalExpires:        {Path: "approval.expires", Kind: KindTime},
	ToolName:               {Path: "tool.name", Kind: KindText},
	ToolCallID:             {Path: "tool.call_id", Kind: KindText},
	ToolHMAC:               {Path: "tool.hmac", Kind: KindText},
	ChangeWhat:             {Path: "change.what", Kind: KindText},
	ChangeFrom:             {Path: "change.from", Kind: KindText},
	ChangeTo:               {Path: "change.to", Kind: KindText},
	ChangeAfter:            {Path: "change.after", Kind: KindTime},
	ChangeBefore:           {Path: "change.before", Kind: KindTime},
	ChangeSeqs:             {Path: "change.seqs", Kind: KindStrings},
	ChangeTicket:           {Path: "change.ticket", Kind: KindText},
	AlertRule:              {Path: "alert.rule", Kind: KindText},
	AlertRuleVersion:       {Path: "alert.rule_version", Kind: KindText},
	AlertTitle:             {Path: "alert.title", Kind: KindText},
	AlertGroup:             {Path: "alert.group", Kind: KindJSON, Shape: MapText},
	AlertCount:             {Path: "alert.count", Kind: KindInt},
	AlertFirst:             {Path: "alert.first", Kind: KindTime},
	AlertLast:              {Path: "alert.last", Kind: KindTime},
	AlertEvidence:          {Path: "alert.evidence", Kind: KindStrings},
	AlertAttack:            {Path: "alert.attack", Kind: KindStrings},
	AlertRunbook:           {Path: "alert.runbook", Kind: KindText},
	AlertState:             {Path: "alert.state", Kind: KindEnum, Values: []string{"open", "ack", "closed_true", "closed_false", "auto_resolved"}},
	SourceID:               {Path: "source.id", Kind: KindText, Required: true},
	SourcePath:             {Path: "source.path", Kind: KindText},
	SourceGeneration:       {Path: "source.generation", Kind: KindText},
	SourceOffset:           {Path: "source.offset", Kind: KindInt},
	SourceLength:           {Path: "source.length", Kind: KindInt},
	SourceHMAC:             {Path: "source.hmac", Kind: KindText},
	SourceParser:           {Path: "source.parser", Kind: KindText},
	Coverage:               {Path: "coverage", Kind: KindJSON, Shape: Objects},
	LossGeneration:         {Path: "loss.generation", Kind: KindText},
	LossFrom:               {Path: "loss.from", Kind: KindInt},
	LossTo:                 {Path: "loss.to", Kind: KindInt},
	LossBytes:              {Path: "loss.bytes", Kind: KindInt},
	LossLines:              {Path: "loss.lines", Kind: KindInt},
	LossHMAC:               {Path: "loss.hmac", Kind: KindText},
	LossEnc:                {Path: "loss.enc", Kind: KindText},
	LossCause:              {Path: "loss.cause", Kind: KindText},
	Salt:                   {Path: "salt", Kind: KindText, Required: true},
	Extra:                  {Path: "extra", Kind: KindJSON},
	AgentID:                {Path: "agent.id", Kind: KindText, Required: true},
}
