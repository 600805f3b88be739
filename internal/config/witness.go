package config

import (
	"net/url"

	"github.com/auditail/auditail/seal"
)

func (k *checker) witnesses() {
	seen := map[string]path{}
	for i := range k.config.Witness {
		w, at := &k.config.Witness[i], path{"witness", i}
		key, err := seal.ParseWitnessKey(w.VKey)
		if err != nil {
			k.wrong(at.key("vkey"), "witness.vkey: %v; auditail-server witness prints one", err)
		} else {
			k.unique(seen, at.key("vkey"), "a witness with the key", key.ID())
		}
		if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
			k.wrong(at.key("url"), "witness.url %q must be https:// or http:// with a host and the prefix of add-checkpoint, such as %q", w.URL, "https://audit.example.com/v1/witness")
		}
	}
	quorum := &k.config.Agent.WitnessQuorum
	if *quorum < 0 || *quorum > len(k.config.Witness) {
		k.wrong(path{"agent", "witness_quorum"}, "agent.witness_quorum %d must be between 1 and the number of [[witness]], %d", *quorum, len(k.config.Witness))
	}
	if *quorum == 0 {
		*quorum = len(k.config.Witness)
	}
}
