package access

import "strings"

// Variable is something that access logs tell about a request.
type Variable uint8

// The variables, as nginx calls them where it has a name.
const (
	None         Variable = iota
	Client                // remote_addr: the caller as the proxy saw it, perhaps with a port
	Forwarded             // http_x_forwarded_for: what the caller said; used when Client is not logged
	User                  // remote_user
	Time                  // time_local, time_iso8601 or a count since 1970
	Msec                  // msec: the same moment, as seconds since 1970 with milliseconds
	Request               // the request line
	Method                // request_method
	Target                // request_uri
	Status                // status
	BodyBytes             // body_bytes_sent
	SentBytes             // bytes_sent: with the header; used when BodyBytes is not logged
	RequestBytes          // request_length
	Seconds               // request_time: seconds with a fraction
	Millis                // a duration in milliseconds; used when Seconds is not logged
	Agent                 // http_user_agent
	RequestID             // request_id
	TraceID               // otel_trace_id
	SpanID                // otel_span_id
	KeyID                 // a name for the caller's API key, made by a map of the proxy
	Key                   // the API key itself; it is never kept
	ClientDN              // ssl_client_s_dn
	ClientVerify          // ssl_client_verify
	State                 // HAProxy's termination state
	Upstream              // upstream_addr: the server that answered
	Model                 // the model's name, of proxies that read it from the body
	InputTokens           // counted by the proxy
	OutputTokens          // counted by the proxy
	Variables             // how many there are
)

// names holds what operators call each variable in a format of their own, best
// source first. A name that formats use for different things (host, response_time,
// duration without a fraction) is not here: a wrong fact is worse than a missing one.
var names = [Variables][]string{
	Client: {
		"remote_addr", "realip_remote_addr", "realip", "real_ip", "the_real_ip", "client_ip", "clientip", "remote_ip", "remoteip", "remote_address",
		"client_addr", "client_address", "client", "remote", "ip", "ip_address", "source_ip", "src_ip", "src",
		"proxy_protocol_addr", "client.ip", "source.ip", "source.address", "network.client.ip",
	},
	Forwarded: {
		"proxy_add_x_forwarded_for", "http_x_forwarded_for", "x_forwarded_for", "x-forwarded-for", "x_forward_for", "x-forward-for",
		"xff", "forwarded_for", "forwardedfor", "proxyip",
	},
	User: {
		"remote_user", "auth_user", "user", "username", "user_name", "user_id", "userid", "x_user", "x_user_id", "x_consumer_username",
		"http_x_user", "http_x_user_id", "http_x_forwarded_user", "http_x_auth_request_user", "forwarded_user",
		"jwt_claim_sub", "jwt_sub", "sub", "user.name", "user.id",
	},
	Time: {
		"time_iso8601", "time_local", "@timestamp", "timestamp", "time", "datetime", "date_time", "date", "ts", "time_ngx", "local_time",
		"timelocal", "timeiso8601", "iso8601",
	},
	Msec:    {"msec", "time_msec", "time_epoch", "time_unix", "epoch", "unix_time", "timestamp_unix"},
	Request: {"request", "request_line", "req", "http_request"},
	Method: {
		"request_method", "method", "http_method", "req_method", "verb", "http.method", "http.request.method", "request.method",
	},
	Target: {
		"request_uri", "uri", "request_url", "url", "request_path", "path", "uri_path", "url_path", "http_path", "req_uri", "req_path",
		"request.uri", "request.path", "http.url", "http.target", "http.path", "http.url_details.path", "url.original", "url.path",
	},
	Status: {
		"status", "status_code", "http_status", "http_status_code", "response_status", "response_code", "resp_status", "statuscode", "st",
		"http.status_code", "http.response.status_code", "response.status",
	},
	BodyBytes: {
		"body_bytes_sent", "body_bytes", "body_size", "res_body_bytes", "bytes_body", "http.response.body.bytes",
	},
	SentBytes: {
		"bytes_sent", "bytes", "size", "response_size", "response_bytes", "response_length", "resp_size", "res_size", "res_bytes", "sent_bytes",
		"bytes_out", "http.response.bytes", "network.bytes_written",
	},
	RequestBytes: {
		"request_length", "request_size", "request_bytes", "req_length", "req_size", "req_bytes", "received_bytes", "bytes_in", "bytes_received",
		"http.request.bytes",
	},
	Seconds: {
		"request_time", "req_time", "reqtime", "request_duration", "request_time_sec", "rt", "duration", "latency", "took", "elapsed",
		"total_time", "time_taken",
	},
	Millis: {
		"duration_ms", "request_time_ms", "request_duration_ms", "response_time_ms", "latency_ms", "time_ms", "elapsed_ms", "took_ms",
		"total_time_ms", "time_active_ms", "active_time_ms", "Ta", "Tt", "time_total_ms",
	},
	Agent: {
		"http_user_agent", "user_agent", "useragent", "agent", "ua", "user-agent", "request.user_agent", "http.useragent", "http.user_agent",
		"user_agent.original",
	},
	RequestID: {
		"request_id", "req_id", "requestid", "reqid", "rid", "x_request_id", "x-request-id", "http_x_request_id", "sent_http_x_request_id",
		"upstream_http_x_request_id", "correlation_id", "http_x_correlation_id", "unique_id", "http.request.id", "http.request_id",
	},
	TraceID:      {"otel_trace_id", "trace_id", "traceid", "trace.id", "opentelemetry_trace_id"},
	SpanID:       {"otel_span_id", "span_id", "spanid", "span.id", "opentelemetry_span_id"},
	KeyID:        {"key_id", "api_key_id", "apikey_id", "key_name", "api_key_name", "key"},
	Key:          {"api_key", "apikey", "http_x_api_key", "x_api_key", "x-api-key", "http_api_key", "http_authorization", "authorization"},
	ClientDN:     {"ssl_client_s_dn", "ssl_client_dn", "client_dn", "ssl_client_subject"},
	ClientVerify: {"ssl_client_verify", "client_verify"},
	State:        {"termination_state", "term_state", "terminationState", "tsc"},
	Upstream:     {"upstream_addr", "upstream", "upstream_host", "upstream_address", "backend", "backend_addr", "upstream.addr"},
	Model:        {"model", "model_name", "request_model", "req_model", "llm_model", "ai_model"},
	InputTokens:  {"input_tokens", "prompt_tokens", "tokens_in", "in_tokens", "usage_prompt_tokens", "usage_input_tokens"},
	OutputTokens: {"output_tokens", "completion_tokens", "tokens_out", "out_tokens", "usage_completion_tokens", "usage_output_tokens"},
}

// Name is one name of a variable.
type Name struct {
	Text     string
	Variable Variable
}

// Names returns all names with the variable they stand for; of one variable the
// better sources first. Names with underscores are there in camelCase too.
func Names() []Name {
	var list []Name
	seen := map[string]bool{}
	add := func(text string, v Variable) {
		if !seen[text] {
			seen[text] = true
			list = append(list, Name{Text: text, Variable: v})
		}
	}
	for v, texts := range names {
		for _, text := range texts {
			add(text, Variable(v))
			add(camel(text, false), Variable(v))
			add(camel(text, true), Variable(v))
		}
	}
	return list
}

// camel spells "request_time" as "requestTime", with id or ip at the end in
// capitals if caps is true.
func camel(text string, caps bool) string {
	parts := strings.Split(text, "_")
	for i := 1; i < len(parts); i++ {
		switch {
		case parts[i] == "":
		case caps && (parts[i] == "id" || parts[i] == "ip"):
			parts[i] = strings.ToUpper(parts[i])
		default:
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

// Table finds variables by name.
type Table struct{ byName map[string]Variable }

// NewTable returns the table of all [Names].
func NewTable() *Table {
	t := &Table{byName: map[string]Variable{}}
	for _, n := range Names() {
		t.byName[n.Text] = n.Variable
	}
	return t
}

// Find returns the variable of a name, with or without nginx's dollar sign, in
// any case; None for a name that is not known.
func (t *Table) Find(name []byte) Variable {
	if len(name) > 0 && name[0] == '$' {
		name = name[1:]
	}
	if v, ok := t.byName[string(name)]; ok {
		return v
	}
	var lower [40]byte
	if len(name) > len(lower) {
		return None
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	return t.byName[string(lower[:len(name)])]
}
