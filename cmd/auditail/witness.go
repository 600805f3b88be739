package main

import (
	"github.com/auditail/auditail/agent/witness"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/version"
	"github.com/auditail/auditail/seal"
)

func newWitnesses(cfg *config.Config) (list []*witness.Client, err error) {
	for _, w := range cfg.Witness {
		key, err := seal.ParseWitnessKey(w.VKey)
		if err != nil {
			return nil, err
		}
		client, err := witness.New(witness.Config{URL: w.URL, Key: key}, witness.Deps{Version: version.String()})
		if err != nil {
			return nil, err
		}
		list = append(list, client)
	}
	return list, nil
}
