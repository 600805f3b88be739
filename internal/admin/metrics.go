package admin

import (
	"time"

	"github.com/auditail/auditail/internal/metrics"
)

// writeMetrics renders a status. Labels are names of the configuration, so their
// number is bounded by it.
func writeMetrics(p *metrics.Page, s *Status) {
	p.Gauge("auditail_agent_info", "Always 1; the labels say which agent this is.").
		Sample(1, "version", s.Version, "log", s.Log)
	p.Gauge("auditail_agent_ready", "1 when the buffer is open and the inputs run.").Flag(s.Ready)
	if s.LastRun != "" {
		p.Gauge("auditail_agent_last_run_info", "Always 1; the label says how the run before this one ended: none, stopped, crashed or killed.").
			Sample(1, "end", s.LastRun)
	}
	alerts := p.Gauge("auditail_agent_alerts", "Things that an operator should look at now, by level.")
	for _, level := range []string{Critical, Warning} {
		n := 0
		for _, a := range s.Alerts {
			if a.Level == level {
				n++
			}
		}
		alerts.Sample(float64(n), "level", level)
	}
	p.Gauge("auditail_config_generation", "1 at the start, one more with each reload that took effect.").Sample(float64(s.Config.Generation))
	p.Gauge("auditail_config_reload_refused", "1 when the newest reload was refused and the old configuration runs on.").Flag(s.Config.Refused != "")
	p.Gauge("auditail_config_loaded_timestamp_seconds", "When the configuration took effect, since the Unix epoch.").Sample(stamp(s.Config.Loaded))
	writeInputs(p, s.Inputs)
	writeBuffer(p, s)
	writeOutputs(p, s)
	p.Gauge("auditail_catalog_models", "Model versions that the catalog knows now.").Sample(float64(len(s.Models)))
	metrics.Process(p, s.Started)
}

func writeInputs(p *metrics.Page, list []Input) {
	lines := p.Counter("auditail_input_lines_total", "Physical lines, by what became of them.")
	for i := range list {
		in := &list[i]
		lines.Sample(float64(in.Lines.Recorded), "input", in.Name, "outcome", "recorded")
		lines.Sample(float64(in.Lines.Unparsed), "input", in.Name, "outcome", "unparsed")
		lines.Sample(float64(in.Lines.Ignored), "input", in.Name, "outcome", "ignored")
	}
	each := func(m metrics.Metric, value func(in *Input) float64) {
		for i := range list {
			m.Sample(value(&list[i]), "input", list[i].Name)
		}
	}
	each(p.Counter("auditail_input_read_lines_total", "Physical lines read."), func(in *Input) float64 { return float64(in.Lines.Read) })
	each(p.Gauge("auditail_input_held_lines", "Lines held now, until the rest of their record comes."), func(in *Input) float64 { return float64(in.Lines.Held) })
	each(p.Counter("auditail_input_read_bytes_total", "Bytes of the source read."), func(in *Input) float64 { return float64(in.Bytes) })
	each(p.Counter("auditail_input_records_total", "Records written."), func(in *Input) float64 { return float64(in.Records) })
	each(p.Counter("auditail_input_gaps_total", "Ranges that were lost before they could be read, each a signed record."), func(in *Input) float64 { return float64(in.Gaps) })
	each(p.Counter("auditail_input_gap_bytes_total", "Bytes of these ranges, where they are known."), func(in *Input) float64 { return float64(in.GapBytes) })
	each(p.Gauge("auditail_input_waiting", "1 while a chunk waits for the buffer."), func(in *Input) float64 {
		if in.Waiting {
			return 1
		}
		return 0
	})
	each(p.Gauge("auditail_input_last_line_timestamp_seconds", "When the newest line was committed, since the Unix epoch; 0: none yet."), func(in *Input) float64 { return stamp(in.LastLine) })
	sources := p.Gauge("auditail_input_sources", "Files or other sources followed now.")
	for i := range list {
		if list[i].Sources != nil {
			sources.Sample(float64(*list[i].Sources), "input", list[i].Name)
		}
	}
	unreadable := p.Gauge("auditail_input_unreadable_sources", "Files or directories that are there and can not be read now.")
	for i := range list {
		if list[i].Sources != nil {
			unreadable.Sample(float64(len(list[i].Unreadable)), "input", list[i].Name)
		}
	}
	lag := p.Gauge("auditail_input_lag_bytes", "Bytes that the sources hold and nobody has read yet.")
	for i := range list {
		if list[i].LagBytes != nil {
			lag.Sample(float64(*list[i].LagBytes), "input", list[i].Name)
		}
	}
}

func writeBuffer(p *metrics.Page, s *Status) {
	b := &s.Buffer
	p.Gauge("auditail_buffer_used_bytes", "Disk that the agent uses, of what counts against max_disk.").Sample(float64(b.UsedBytes))
	p.Gauge("auditail_buffer_max_bytes", "buffer.max_disk.").Sample(float64(b.MaxBytes))
	p.Gauge("auditail_buffer_open_bytes", "Compressed bytes that are in no sealed batch yet.").Sample(float64(b.OpenBytes))
	p.Gauge("auditail_buffer_batches", "Sealed batches that not every output has acknowledged.").Sample(float64(b.Batches))
	p.Gauge("auditail_buffer_full", "1 while max_disk is reached and reading stops.").Flag(b.Full)
	p.Gauge("auditail_buffer_disk_full", "1 while the disk has no space and reading stops.").Flag(b.DiskFull)
	p.Gauge("auditail_seal_unsigned", "1 while the signing key does not sign and batches wait.").Flag(b.Unsigned)
	p.Counter("auditail_buffer_failures_total", "How often the buffer failed and was opened again.").Sample(float64(b.Failures))
	p.Counter("auditail_buffer_damaged_ranges_total", "Ranges whose frames were found damaged; each is recorded.").Sample(float64(b.Damaged))
	p.Gauge("auditail_buffer_oldest_unacknowledged_age_seconds", "Age of the oldest record that an output has not acknowledged; 0: none.").
		Sample(s.OldestUnacknowledged().Seconds())
	p.Gauge("auditail_seal_last_batch", "Number of the newest sealed batch of the epoch.").Sample(float64(b.LastSeal.Batch))
	p.Gauge("auditail_seal_last_timestamp_seconds", "When it was sealed, since the Unix epoch.").Sample(stamp(b.LastSeal.Sealed))
	p.Gauge("auditail_seal_epoch", "The epoch of the log.").Sample(float64(s.Epoch))
}

func writeOutputs(p *metrics.Page, s *Status) {
	each := func(m metrics.Metric, value func(o *Output) float64) {
		for i := range s.Outputs {
			m.Sample(value(&s.Outputs[i]), "output", s.Outputs[i].Name)
		}
	}
	each(p.Counter("auditail_output_acknowledged_batches_total", "Batches acknowledged."), func(o *Output) float64 { return float64(o.Acknowledged) })
	each(p.Counter("auditail_output_failures_total", "Attempts that failed and are repeated."), func(o *Output) float64 { return float64(o.Failures) })
	each(p.Counter("auditail_output_quarantined_batches_total", "Payloads refused for good and kept."), func(o *Output) float64 { return float64(o.Quarantined) })
	each(p.Counter("auditail_output_skipped_batches_total", "Batches that a copy did not get, or not in full."), func(o *Output) float64 { return float64(o.Skipped) })
	each(p.Counter("auditail_output_rejected_records_total", "Records that the destination of a copy refused."), func(o *Output) float64 { return float64(o.Rejected) })
	each(p.Gauge("auditail_output_waiting_batches", "Sealed batches that it has not acknowledged."), func(o *Output) float64 { return float64(o.Waiting) })
	each(p.Gauge("auditail_output_oldest_age_seconds", "Age of the oldest of them; 0: none."), func(o *Output) float64 {
		if o.Oldest.IsZero() {
			return 0
		}
		return max(0, s.Now.Sub(o.Oldest).Seconds())
	})
	each(p.Gauge("auditail_output_last_acknowledged_timestamp_seconds", "When it last acknowledged a batch, since the Unix epoch; 0: not since the start."), func(o *Output) float64 { return stamp(o.LastAcknowledged) })
	flag := func(m metrics.Metric, on func(o *Output) bool) {
		for i := range s.Outputs {
			m.Flag(on(&s.Outputs[i]), "output", s.Outputs[i].Name)
		}
	}
	flag(p.Gauge("auditail_output_failing", "1 while attempts fail."), func(o *Output) bool { return o.Error != "" && !o.Stopped })
	flag(p.Gauge("auditail_output_stopped", "1 when the output may not go on before an operator did something."), func(o *Output) bool { return o.Stopped })
}

// stamp is a time as Prometheus has it; 0 for none.
func stamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
