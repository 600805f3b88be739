package parsers

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/audit"
)

// Reasons of outcomes that are not an HTTP status. (Those are "http_403".)
const (
	ReasonClientClosed     = "client_closed"      // the caller went away before the answer was complete
	ReasonOutcomeNotLogged = "outcome_not_logged" // the line does not say how it ended
	ReasonNotLogged        = "reason_not_logged"  // the line says that it did not succeed, but not why
)

// NoStatus is the status of a line that carries none.
const NoStatus = -1

// SetRequest fills event, api.* and, where the path has it, the model from a
// route that [Classify] found for method. What is set already stays.
func (d *Draft) SetRequest(method []byte, route *Route) {
	r := &d.Record
	if !r.Has(audit.Event) {
		r.SetString(audit.Event, route.Event)
	}
	if !r.Has(audit.APIOperation) {
		r.SetString(audit.APIOperation, route.Operation)
	}
	if IsMethod(method) {
		r.SetText(audit.APIMethod, method)
	}
	r.SetText(audit.APIPath, route.Path)
	if !r.Has(audit.APIVersion) {
		r.SetText(audit.APIVersion, route.Version)
	}
	if len(route.Model) > 0 && !r.Has(audit.ModelName) {
		r.SetText(audit.ModelName, route.Model)
		if !r.Has(audit.ModelVersion) {
			r.SetText(audit.ModelVersion, route.Revision)
		}
	}
}

// SetStatus fills api.status, outcome and reason from an HTTP status:
//
//	100–399       success
//	401, 403      denied, http_401
//	499, 0        cancelled, client_closed
//	other 400 up  failed, http_500
//	anything else unknown, outcome_not_logged
//
// 429 is failed: a rate limit refuses load, not the caller. 499 is nginx's
// "client closed request"; 0 is what Envoy, Caddy and nginx write when the
// caller left before there was a status. An outcome or a reason that is set
// already stays.
func (d *Draft) SetStatus(status int) {
	r := &d.Record
	if status >= 100 && status <= 999 {
		r.SetInt(audit.APIStatus, int64(status))
	}
	outcome, reason := OutcomeOf(status)
	if given := r.Text(audit.Outcome); given == nil {
		r.SetString(audit.Outcome, outcome)
	} else if string(given) != outcome {
		switch {
		case string(given) == "success":
			outcome = "success"
		case string(given) == "unknown":
			outcome, reason = "", ReasonOutcomeNotLogged
		case outcome == "success" || outcome == "unknown":
			outcome, reason = "", ReasonNotLogged
		}
	}
	switch {
	case outcome == "success":
		r.Clear(audit.Reason)
	case r.Has(audit.Reason):
	case reason != "":
		r.SetString(audit.Reason, reason)
	default:
		var buffer [16]byte
		r.SetText(audit.Reason, strconv.AppendInt(append(buffer[:0], "http_"...), int64(status), 10))
	}
}

// OutcomeOf returns what an HTTP status means for the outcome. An empty reason
// stands for the status itself.
func OutcomeOf(status int) (outcome, reason string) {
	switch {
	case status == 0 || status == 499:
		return "cancelled", ReasonClientClosed
	case status < 100 || status > 999:
		return "unknown", ReasonOutcomeNotLogged
	case status < 400:
		return "success", ""
	case status == 401 || status == 403:
		return "denied", ""
	default:
		return "failed", ""
	}
}

// SetActor fills actor.* from a user that the line names without proof. An
// empty id, or "-", says that nobody is named.
func (d *Draft) SetActor(id []byte) {
	r := &d.Record
	r.SetString(audit.ActorType, "unknown")
	r.SetBool(audit.ActorVerified, false)
	if len(id) == 0 || string(id) == "-" {
		r.Clear(audit.ActorID)
		r.SetString(audit.ActorBasis, "none")
		return
	}
	r.SetText(audit.ActorID, id)
	r.SetString(audit.ActorBasis, "header")
	r.Flag(audit.ActorUnverified)
}

// SetUserAgent fills client.user_agent, and client.app from its first product
// ("openai-python/1.99.2 (linux)" is "openai-python/1.99.2"; RFC 9110, 10.1.5).
func (d *Draft) SetUserAgent(agent []byte) {
	if len(agent) == 0 || string(agent) == "-" {
		return
	}
	d.Record.SetText(audit.ClientUserAgent, agent)
	d.Record.SetText(audit.ClientApp, firstProduct(agent))
}

// firstProduct returns the leading product of a user agent, or nil when it
// does not begin with one. The clients of OpenAI and Anthropic write their
// version behind a space ("OpenAI/Python 1.55.0"); it belongs to the product.
func firstProduct(agent []byte) []byte {
	product, rest, _ := bytes.Cut(agent, []byte(" "))
	slash := -1
	for i, c := range product {
		switch {
		case c == '/':
			if i == 0 || i == len(product)-1 || slash >= 0 {
				return nil
			}
			slash = i
		case !isTokenByte(c):
			return nil
		}
	}
	if slash > 0 && len(rest) > 0 && !isDigit(product[slash+1]) && isDigit(rest[0]) {
		version, _, _ := bytes.Cut(rest, []byte(" "))
		for _, c := range version {
			if !isTokenByte(c) {
				return product
			}
		}
		return agent[:len(product)+1+len(version)]
	}
	return product
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isTokenByte accepts the bytes of a token (RFC 9110, 5.6.2).
func isTokenByte(c byte) bool { return tokenBytes[c] }

var tokenBytes = func() (table [256]bool) {
	for c := range table {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', strings.IndexByte("-._!#$%&'*+^`|~", byte(c)) >= 0:
			table[c] = true
		}
	}
	return table
}()

// SetTime fills time and time_basis. zoned tells whether the line itself
// carried the zone; otherwise it was assumed and the record says so.
func (d *Draft) SetTime(t time.Time, zoned bool) {
	d.Record.SetTime(audit.Time, t)
	d.SetTimeBasis(zoned)
}

// SetTimeBasis is the second half of SetTime, for a parser that wrote time itself.
func (d *Draft) SetTimeBasis(zoned bool) {
	if zoned {
		d.Record.SetString(audit.TimeBasis, "source")
		return
	}
	d.Record.SetString(audit.TimeBasis, "source_tz_assumed")
	d.Record.Flag(audit.TZAssumed)
}

// SetProvider fills model.provider of a model.* record whose line names none.
func (d *Draft) SetProvider(provider string) {
	if !d.Record.Has(audit.ModelProvider) && bytes.HasPrefix(d.Record.Text(audit.Event), []byte("model.")) {
		d.Record.SetString(audit.ModelProvider, provider)
	}
}
