package config

// descriptions says what each key is for: the text of the JSON Schema that editors
// show and of the reference in configs/README.md. A key is named by the type that
// has it and its name; a type alone describes the table. Tests hold the list
// against the structs, in both directions.
func descriptions() map[string]string {
	return map[string]string{
		"Agent":                "Names the agent and where it keeps its state.",
		"Agent.id":             "Name of this agent, the second part of the log's origin. Default: the host name in lower case. Choose it before the first start: another name is another log.",
		"Agent.organization":   "First part of the log's origin, such as `audit.example.com/acme`. Choose it before the first start.",
		"Agent.environment":    "Stands in every record.",
		"Agent.data_dir":       "Folder of everything the agent keeps: buffer with read positions, keys, the default archive. Absolute.",
		"Agent.witness_quorum": "How many of `[[witness]]` must have cosigned a head for manifests to name it. Default: all of them.",

		"Inputs":          "What the agent reads. Names are unique over all kinds.",
		"Inputs.file":     "Log files, followed across rotation.",
		"Inputs.pipe":     "Named pipes.",
		"Inputs.journald": "The systemd journal.",
		"Inputs.syslog":   "Syslog messages (RFC 5424 and RFC 3164), received on a socket.",
		"Inputs.http":     "Lines that are posted over HTTP.",
		"Inputs.otlp":     "Log records over OTLP/HTTP (protobuf or JSON).",

		"Input.name":      "Name of the input, in records, metrics and rules. It must not change: read positions are kept under it.",
		"Input.parser":    "How lines become records: the name of a preset, or a table with a field map. `auditail try --parser auto FILE` proposes one.",
		"Input.service":   "The service that the lines are about; each service has a stream of batches of its own. Default: the name of the input.",
		"Input.provider":  "`model.provider` of records whose line names none.",
		"Input.timezone":  "Zone of times that carry none, such as `Europe/Berlin` or `UTC`. Default: the host's.",
		"Input.retention": "A class of `[retention]`.",
		"Input.max_line":  "Of a longer line head, length and SHA-256 are kept, flagged. 1KiB to 64MiB.",
		"Input.ignore":    "Lines that are known noise: counted as ignored in every manifest, not kept.",

		"FileInput":              "Follows files by what is in them: rename, copytruncate, delete and create, and symlink switches lose nothing.",
		"FileInput.paths":        "Absolute globs; new and rotated files are found by themselves.",
		"FileInput.exclude":      "Globs of files to leave alone: absolute, or of the file name alone.",
		"FileInput.start":        "Where to begin in a file that was never seen.",
		"FileInput.rotated":      "Absolute globs of further places where rotated files lie.",
		"FileInput.ignore_older": "Leave files alone that were never seen and not modified for so long. Default: read files of any age.",
		"FileInput.close_after":  "Close a rotated file that was read to its end after so long.",
		"FileInput.encoding":     "Of the file; records are UTF-8.",
		"FileInput.wrapper":      "What a container runtime or syslog puts in front of each line.",
		"FileInput.multiline":    "Joins physical lines before they are parsed.",

		"PipeInput":      "Lines that a program writes into a named pipe.",
		"PipeInput.path": "The named pipe, absolute. It is made by the one who writes, or by `mkfifo`.",

		"JournaldInput":             "Follows the journal by its cursor, through journalctl.",
		"JournaldInput.units":       "Units to read, such as `[\"ollama.service\"]`. Without units and identifiers all of the journal is read.",
		"JournaldInput.identifiers": "Syslog identifiers to read.",
		"JournaldInput.start":       "Where to begin when the journal was never read.",
		"JournaldInput.since":       "At the very first start, skip what is older.",
		"JournaldInput.directory":   "Folder of journal files, absolute. Default: the host's journal.",

		"SyslogInput.listen":        "`unixgram:/path`, `unix:/path`, `udp:host:port` or `tcp:host:port`.",
		"SyslogInput.keep":          "Hand whole messages to the parser, header included; otherwise their content.",
		"SyslogInput.idle_timeout":  "Close a connection on which nothing came for so long.",
		"SyslogInput.open":          "Allow an address that other hosts reach without proving who they are.",
		"SyslogInput.tls_cert":      "Certificate of the listener, PEM, with `tls_key`; read again when it changes.",
		"SyslogInput.tls_key":       "Key of `tls_cert`, PEM.",
		"SyslogInput.tls_client_ca": "Senders must show a certificate of this authority.",

		"HTTPInput.listen":        "`host:port`, or `unix:/path`. Off the host, TLS and a token or client certificates are required.",
		"HTTPInput.path":          "The one URL path that is served.",
		"HTTPInput.max_body":      "Largest request, decompressed.",
		"HTTPInput.token":         "Bearer token that requests must carry.",
		"HTTPInput.tls_cert":      "Certificate of the listener, PEM, with `tls_key`; read again when it changes.",
		"HTTPInput.tls_key":       "Key of `tls_cert`, PEM.",
		"HTTPInput.tls_client_ca": "Clients must show a certificate of this authority.",

		"Multiline":           "At most one of the two patterns; without one only lines that a container runtime split are joined.",
		"Multiline.start":     "RE2 of lines that begin an entry; the others belong to the one before.",
		"Multiline.continue":  "RE2 of lines that belong to the one before.",
		"Multiline.timeout":   "How long an entry waits for more lines.",
		"Multiline.max_lines": "Lines that are joined at most.",

		"IgnoreRule":         "`[[inputs.KIND.ignore]]` below an input.",
		"IgnoreRule.name":    "Name of the rule; manifests count by it.",
		"IgnoreRule.pattern": "RE2, found anywhere in the line.",

		"Parser":             "Says how lines become records: a preset, or a type with a field map.",
		"Parser.type":        "A preset, or `json`, `logfmt`, `csv`, `regex` or `syslog` with `fields`.",
		"Parser.patterns":    "Of `regex`: RE2 with named groups; the first that matches a whole line counts.",
		"Parser.columns":     "Of `csv`: names of the columns, in the order of the line.",
		"Parser.separator":   "Of `csv`: one character. Default: a comma.",
		"Parser.format":      "Of `nginx`: its `log_format`, where the preset does not know it.",
		"Parser.fields":      "`\"record field\" = \"source field\"`. A source is a dotted path, or an array of the parts of one; a table `{ from, layout, values }` reads times and translates values.",
		"Parser.set":         "`\"record field\" = value`: the same in every record.",
		"Parser.time_layout": "Of time fields: `rfc3339`, `unix`, `unix_ms`, `unix_us`, `unix_ns`, or how 2 January 2006, 15:04:05 looks.",

		"CatalogEntry":              "Which exact model stands behind a name in the logs, or how to find out. `model.basis` of each record says what its version rests on.",
		"CatalogEntry.input":        "Name of an input. Default: every input.",
		"CatalogEntry.name":         "The model as lines name it. Only an entry with a probe may be about every name that its server serves.",
		"CatalogEntry.id":           "Identity of the model, such as `hf:meta-llama/Llama-3.1-8B-Instruct`.",
		"CatalogEntry.version":      "Version, in the words of its owner.",
		"CatalogEntry.revision":     "Commit or revision of the registry.",
		"CatalogEntry.digest":       "`sha256:`, `manifest-sha256:` or `claimed-sha256:` and 64 hexadecimal digits.",
		"CatalogEntry.adapter":      "Adapter on top of the model, such as a LoRA.",
		"CatalogEntry.config":       "Digest or name of the serving configuration.",
		"CatalogEntry.weights":      "File or folder that the server loads, absolute; hashed in the background.",
		"CatalogEntry.probe":        "Server to ask: kind and URL, such as `vllm:http://127.0.0.1:8000`.",
		"CatalogEntry.probe_token":  "Bearer token for the server.",
		"CatalogEntry.probe_remote": "The probed server may be another host.",
		"CatalogEntry.sensitivity":  "Of the model; rules and reports use it.",
		"CatalogEntry.owner":        "Who answers for the model.",
		"CatalogEntry.provider":     "`model.provider` of its records.",
		"CatalogEntry.ticket":       "Under which this version was approved.",

		"DataEntry":         "The exact version of data that calls touch.",
		"DataEntry.input":   "Name of an input. Default: every input.",
		"DataEntry.path":    "Pattern of the route. Default: every route.",
		"DataEntry.model":   "Name of the model. Default: every model.",
		"DataEntry.name":    "The data as lines name it. Default: every matching call touches it.",
		"DataEntry.role":    "What the data is to the call.",
		"DataEntry.id":      "Identity of the data, as records have it.",
		"DataEntry.kind":    "Such as `vector_index`, `dataset`, `file`.",
		"DataEntry.version": "Its version.",
		"DataEntry.digest":  "`sha256:`, `manifest-sha256:` or `claimed-sha256:` and 64 hexadecimal digits.",
		"DataEntry.class":   "Its class of confidentiality.",
		"DataEntry.format":  "Its media type or format.",

		"Identity":           "Who stands behind an API key, a name or an address in the logs. One of `key_ids`, `users` and `addresses` is needed.",
		"Identity.input":     "Name of an input. Default: every input.",
		"Identity.id":        "Of the principal, as records have it.",
		"Identity.name":      "Name for people.",
		"Identity.type":      "What the principal is.",
		"Identity.roles":     "Roles at the time.",
		"Identity.key_ids":   "Names or fingerprints of API keys, never the keys: `auditail keys fingerprint`.",
		"Identity.users":     "Names that the logs give.",
		"Identity.addresses": "Addresses or networks, such as `10.20.0.0/16`.",

		"Zone":           "Where client addresses are.",
		"Zone.name":      "Name of the site, `client.zone` of records.",
		"Zone.addresses": "Addresses or networks, such as `10.20.0.0/16`.",

		"Capture":            "What is kept of prompts and answers, and of who sent them. Applied before the first byte is written.",
		"Capture.default":    "Mode of content that no rule fits: nothing; a keyed hash and the size; text without what detectors find; text that only `recipients` read; all text.",
		"Capture.rules":      "The first that fits decides.",
		"Capture.hmac_key":   "Key of the keyed hashes. Its file is made at the first start. Default: `capture.key` under `data_dir`. Escrow it with `auditail keys export`.",
		"Capture.recipients": "age recipients of the mode `encrypted`, such as `age1…`. Their identities stay off this host.",
		"Capture.unparsed":   "What is kept of lines that no parser knows.",
		"Capture.pseudonyms": "Keyed hashes in the place of user ids.",
		"Capture.detectors":  "Patterns that the mode `redacted` takes out beside the built-in ones.",

		"CaptureRule":           "Chooses the mode of some content. What it leaves out fits all.",
		"CaptureRule.input":     "Name of an input.",
		"CaptureRule.model":     "Name of a model; `*` stands for any text.",
		"CaptureRule.workspace": "Name of a workspace; `*` stands for any text.",
		"CaptureRule.direction": "What goes in or what comes back.",
		"CaptureRule.mode":      "As of `capture.default`.",

		"CaptureDetector.name":    "Of what it finds, such as `STAFF`.",
		"CaptureDetector.pattern": "RE2; the first group, or all that matches, is taken out.",
		"CaptureDetector.check":   "Check digits that a match must have.",

		"Retention": "Class = term, such as `legal = \"6y\"`: how long each class must be kept. The class `standard` always exists, with 184d.",

		"Buffer":            "Bounds what waits on disk, and says when a batch is sealed.",
		"Buffer.max_disk":   "All of `data_dir`, the default archive included. When it is reached, reading stops until there is room: the source files are the buffer.",
		"Buffer.batch_size": "Seal after this much compressed data …",
		"Buffer.batch_age":  "… or this age.",
		"Buffer.heartbeat":  "With nothing to seal, a heartbeat is sealed this often, so that silence shows.",

		"Outputs":           "Where batches go. Each has its own cursor; names are unique over all kinds. Without any, batches stay in an archive under `data_dir`.",
		"Outputs.directory": "An archive in a folder.",
		"Outputs.http":      "A central auditail-server, or any server that takes conditional PUTs.",
		"Outputs.s3":        "A bucket, with Object Lock.",

		"DirectoryOutput.name":      "Name of the output, in metrics and status.",
		"DirectoryOutput.path":      "The archive, absolute.",
		"DirectoryOutput.immutable": "Give files the immutable attribute, where the file system has it.",

		"HTTPOutput.name":      "Name of the output, in metrics and status.",
		"HTTPOutput.url":       "Base URL; https, or http to this host.",
		"HTTPOutput.token":     "Bearer token, as `auditail-server enroll` printed it.",
		"HTTPOutput.ca_file":   "Authority of the server's certificate, PEM, absolute. Default: the system's roots.",
		"HTTPOutput.cert_file": "Client certificate, PEM, with `key_file`; read again when it changes.",
		"HTTPOutput.key_file":  "Key of `cert_file`, PEM.",
		"HTTPOutput.timeout":   "Of one request; retries never end.",

		"S3Output.name":          "Name of the output, in metrics and status.",
		"S3Output.endpoint":      "https, or http to this host. Default: AWS in the region.",
		"S3Output.region":        "Default: from the endpoint, environment or profile.",
		"S3Output.bucket":        "Name of the bucket.",
		"S3Output.prefix":        "Folder in the bucket. Default: its root.",
		"S3Output.addressing":    "How the bucket stands in URLs. Default: `virtual-host` at AWS, otherwise `path`.",
		"S3Output.lock":          "Object Lock until the term of the batch's class. In compliance mode nobody shortens it.",
		"S3Output.legal_hold":    "A legal hold besides the term; somebody has to lift it.",
		"S3Output.encryption":    "At rest. Default: what the bucket does.",
		"S3Output.kms_key":       "Key of `encryption = \"aws:kms\"`.",
		"S3Output.profile":       "Of the AWS shared files.",
		"S3Output.access_key":    "Id of the access key, with `secret_key`. Default: the chain of the AWS SDK (environment, profile, web identity, instance role).",
		"S3Output.secret_key":    "Secret of `access_key`.",
		"S3Output.session_token": "Of temporary credentials.",
		"S3Output.ca_file":       "Authority of the store's certificate, PEM, absolute. Default: the system's roots.",
		"S3Output.cert_file":     "Client certificate, PEM, with `key_file`; read again when it changes.",
		"S3Output.key_file":      "Key of `cert_file`, PEM.",
		"S3Output.timeout":       "Of an attempt in which nothing moves; retries never end.",

		"Witness":      "Somebody off the host who cosigns the heads of the log (C2SP tlog-witness), and so notices when it is rewritten, cut or forked. One that is away holds nothing up.",
		"Witness.url":  "Submission prefix, without `/add-checkpoint`.",
		"Witness.vkey": "C2SP verifier key; `auditail-server witness` prints one.",

		"Test":          "What the parser of an input makes of sample lines. `auditail check` runs it, `auditail run` does not.",
		"Test.name":     "What the case is about.",
		"Test.input":    "Name of the input whose parser is tried.",
		"Test.lines":    "The lines.",
		"Test.records":  "For each record, in their order, the fields it has to have: `\"record field\" = value`; the empty text says that a field is absent.",
		"Test.unparsed": "Lines that have to stay unparsed.",
		"Test.ignored":  "Lines that have to be ignored.",

		"Admin":           "How an operator asks the running agent: `auditail status`, `tap` and `reload` over a socket, metrics and a status page over loopback.",
		"Admin.socket":    "Unix socket that only the agent's user opens. Default: `admin.sock` in `data_dir`.",
		"Admin.listen":    "Loopback `host:port` of `/metrics`, `/healthz`, `/readyz`, `/status` and the status page. Default: none.",
		"Admin.ready_age": "`/readyz` says no when a record waits longer for an output. 0s: never.",

		"Log":        "How the agent itself logs, to standard error: the journal, as a service.",
		"Log.level":  "The least severe level that is written.",
		"Log.format": "Of each line.",

		"Secret":            "Where a secret lies: exactly one of the three. It is never written into the file.",
		"Secret.file":       "Absolute path of a file that others can not read.",
		"Secret.env":        "Name of an environment variable.",
		"Secret.credential": "Name of a systemd credential (`LoadCredential=`).",
	}
}

// description returns the text of a key, or of the table that it opens.
func description(of map[string]string, key, table string) string {
	if text := of[key]; text != "" {
		return text
	}
	return of[table]
}
