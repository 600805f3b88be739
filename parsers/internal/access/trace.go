package access

import "github.com/auditail/auditail/audit"

// Trace names the source of each record field that a [Recorder] fills, as nginx
// calls its variables.
func Trace() map[audit.Field]string {
	const (
		request = "$request, $request_method, $request_uri"
		user    = "$remote_user"
	)
	return map[audit.Field]string{
		audit.ActorID:            user + ", $ssl_client_s_dn",
		audit.ActorName:          user,
		audit.ActorKeyID:         "a map of $http_authorization",
		audit.ClientIP:           "$remote_addr, $http_x_forwarded_for",
		audit.Time:               "$time_local, $time_iso8601, $msec",
		audit.Event:              request,
		audit.APIMethod:          request,
		audit.APIPath:            request,
		audit.APIOperation:       request,
		audit.APIVersion:         request,
		audit.ModelName:          request,
		audit.ModelVersion:       request,
		audit.APIStatus:          "$status",
		audit.Outcome:            "$status",
		audit.Reason:             "$status",
		audit.UsageRequestBytes:  "$request_length",
		audit.UsageResponseBytes: "$body_bytes_sent, $bytes_sent",
		audit.UsageDurationMs:    "$request_time",
		audit.UsageInputTokens:   "input_tokens",
		audit.UsageOutputTokens:  "output_tokens",
		audit.ClientUserAgent:    "$http_user_agent",
		audit.ClientApp:          "$http_user_agent",
		audit.SessionRequestID:   "$request_id",
		audit.SessionTraceID:     "$otel_trace_id",
		audit.SessionSpanID:      "$otel_span_id",
		audit.Extra:              "$upstream_addr",
	}
}
