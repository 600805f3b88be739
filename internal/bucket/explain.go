package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/auditail/auditail/internal/wire"
)

// Codes of the protocol that decide what happens next.
const (
	codeTaken = "PreconditionFailed"
	codeNoKey = "NoSuchKey"
)

// IsTaken tells whether a name could not be written because it is taken, or, of a
// replacement, because it holds something else than what was to be replaced.
func IsTaken(err error) bool { return codeOf(err) == codeTaken }

// IsMissing tells whether nothing is stored under a name.
func IsMissing(err error) bool { return codeOf(err) == codeNoKey }

// IsConflict tells whether another conditional write of the same name was under
// way: which of them counts is not known yet.
func IsConflict(err error) bool {
	code := codeOf(err)
	return code == "ConditionalRequestConflict" || code == "OperationAborted"
}

// IsAway tells whether the store could not be reached, or says that it is not at
// its best: what it was asked may be asked again.
func IsAway(err error) bool {
	status := statusOf(err)
	return status == 0 && codeOf(err) == "" || wire.Passes(status)
}

// IsFull tells whether the store has no space left.
func IsFull(err error) bool {
	switch codeOf(err) {
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return true
	}
	return false
}

// codeOf returns the code of an answer that refuses, empty for other errors. An
// answer without a body (HEAD, or a proxy's) has the code of its status.
func codeOf(err error) string {
	var refused smithy.APIError
	if err == nil || !errors.As(err, &refused) {
		return ""
	}
	code := refused.ErrorCode()
	switch status := statusOf(err); {
	case status == http.StatusPreconditionFailed:
		return codeTaken
	case status == http.StatusNotFound && code == "NotFound":
		return codeNoKey
	}
	return code
}

// statusOf returns the HTTP status of an answer, 0 when there was none.
func statusOf(err error) int {
	var answered *smithyhttp.ResponseError
	if errors.As(err, &answered) && answered.Response != nil {
		return answered.HTTPStatusCode()
	}
	return 0
}

// Words of more than one code.
const (
	tooLarge = "the store, or a proxy before it, takes no object of this size: raise its limit; a smaller buffer.batch_size makes the next batches smaller"
	conflict = "another write of the same name is under way; it is tried again"
)

// remedies says what to change for the refusals that time does not mend.
var remedies = map[string]string{
	"NoSuchBucket":                         "there is no such bucket: make it, with versioning and Object Lock enabled, or correct bucket and endpoint",
	"AccessDenied":                         "the credentials may not do this: allow s3:PutObject, s3:PutObjectRetention, s3:GetObject and s3:GetObjectRetention below the prefix (and s3:PutObjectLegalHold for legal holds)",
	"AllAccessDisabled":                    "the account or bucket is blocked",
	"InvalidAccessKeyId":                   "the store does not know this access key",
	"SignatureDoesNotMatch":                "the secret key does not belong to the access key, or something between here and the store changes the request",
	"ExpiredToken":                         "the session token has expired: renew the credentials; they are read again at the next attempt",
	"TokenRefreshRequired":                 "the session token has expired: renew the credentials; they are read again at the next attempt",
	"InvalidToken":                         "the store does not accept the session token",
	"RequestTimeTooSkewed":                 "the clocks of this host and the store differ by more than the store allows: correct the host's time (NTP)",
	"RequestExpired":                       "the clocks of this host and the store differ by more than the store allows: correct the host's time (NTP)",
	"PermanentRedirect":                    "the bucket is in another region: set region and endpoint to the bucket's",
	"AuthorizationHeaderMalformed":         "the bucket is in another region: set region and endpoint to the bucket's",
	"IllegalLocationConstraintException":   "the bucket is in another region: set region and endpoint to the bucket's",
	"ObjectLockConfigurationNotFoundError": "the bucket has no Object Lock: make one that has, or set lock = \"off\" and accept that the archive can be rewritten",
	"InvalidRequest":                       "the store does not take the request: without Object Lock on the bucket it refuses locked objects",
	"NotImplemented":                       "the store does not know this part of S3: conditional writes (If-None-Match) and Object Lock are needed",
	"EntityTooLarge":                       tooLarge,
	"ConditionalRequestConflict":           conflict,
	"OperationAborted":                     conflict,
	"KMS.DisabledException":                "the encryption key is disabled",
	"KMS.NotFoundException":                "there is no such encryption key",
	"QuotaExceeded":                        "the store has no space left for this account",
	"XMinioStorageFull":                    "the store has no space left",
	"InsufficientStorage":                  "the store has no space left",
}

// Explain says what an attempt's error means for the operator, and how long the
// store asks to be left alone. Credentials that were refused are read again by the
// next attempt.
func (b *Bucket) Explain(err error) (fault wire.Fault, after time.Duration) {
	var unproven *proofError
	switch {
	case errors.As(err, &unproven):
		return wire.Fault{Kind: "lock", Err: err, Alarm: true}, 0
	case statusOf(err) == 0 && codeOf(err) == "":
		return wire.ConnectionFault(short(err)), 0
	}
	fault = wire.Fault{Kind: "status", Err: b.Sentence(err)}
	if code := codeOf(err); remedies[code] != "" {
		fault.Kind, fault.Alarm = code, code != "ConditionalRequestConflict" && code != "OperationAborted" // one of a fixed set
	}
	switch statusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		b.creds.forget()
		b.http.CloseIdleConnections() // so is another certificate
	}
	var answered *smithyhttp.ResponseError
	if errors.As(err, &answered) && answered.Response != nil {
		after = wire.RetryAfter(answered.Response.Response)
	}
	return fault, after
}

// Sentence is one sentence about an attempt's error.
func (b *Bucket) Sentence(err error) error { return Sentence(b.config.Bucket, err) }

// Sentence is one sentence about the error of an attempt at the named bucket.
func Sentence(bucket string, err error) error {
	var refused smithy.APIError
	status := statusOf(err)
	text := fmt.Sprintf("bucket %s: the store answers %d", bucket, status)
	switch {
	case errors.As(err, &refused):
		text += " " + wire.Plain(refused.ErrorCode())
		if message := refused.ErrorMessage(); message != "" && message != refused.ErrorCode() {
			text += " " + wire.Quote(message)
		}
	case status == 0:
		return wire.ConnectionFault(short(err)).Err
	default:
		text += " " + http.StatusText(status) + " in no words of S3: a proxy or another server may stand at the endpoint"
	}
	switch remedy := remedyOf(err); {
	case remedy != "":
		text += "; " + remedy
	case status == http.StatusRequestEntityTooLarge:
		text += "; " + tooLarge
	case status >= 300 && status < 400:
		text += " and redirects, which is not followed; put the right endpoint and region into the configuration"
	}
	return errors.New(text)
}

// rights names what the credentials need for an operation, as policies spell it.
var rights = map[string]string{
	"ListObjectsV2":      "s3:ListBucket on the bucket",
	"ListObjectVersions": "s3:ListBucketVersions on the bucket",
	"GetObject":          "s3:GetObject and s3:GetObjectVersion below the prefix",
	"HeadObject":         "s3:GetObject, s3:GetObjectVersion and s3:GetObjectRetention below the prefix",
}

// remedyOf says what to change, of a refusal that time does not mend.
func remedyOf(err error) string {
	code := codeOf(err)
	if operation, ok := errors.AsType[*smithy.OperationError](err); ok && code == "AccessDenied" && rights[operation.OperationName] != "" {
		return "the credentials may not do this: allow " + rights[operation.OperationName]
	}
	return remedies[code]
}

// short leaves out what the SDK says around an error: operation, request id.
func short(err error) error {
	if local, ok := errors.AsType[*wire.LocalError](err); ok {
		return local
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if sending, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return sending.Err
	}
	return err
}
