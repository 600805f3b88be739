package httpoutput

import (
	"context"
	"fmt"
	"net/http"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/seal"
)

// Probe implements outputs.Prober: it asks once for the identity key of the
// agent's first epoch, which may be there or not, and so tries name, route,
// certificates, token and URL without storing anything.
func (o *Output) Probe(ctx context.Context) error {
	origin := seal.Origin{Log: seal.Log{Agent: o.agent}, Epoch: 1}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.objectURL(origin.IdentityPath()), nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", o.userAgent)
	response, err := o.client.Do(request)
	if err != nil {
		return wire.ConnectionFault(err).Err
	}
	defer response.Body.Close()
	if answerToGet(response) == waits {
		return answerFault(response).Err
	}
	return nil
}
