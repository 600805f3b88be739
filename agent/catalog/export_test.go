package catalog

import "github.com/auditail/auditail/internal/probe"

// Called tells a store of a call that its client would have made.
func Called(s *Store, method, path string) { s.called(probe.Target{}, method, path) }
