package redact

// Break makes the detectors panic, as a defect would.
func Break(d *Detectors) { d.own[0].Regex = nil }
