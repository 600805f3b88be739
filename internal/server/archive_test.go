package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/archive/remote"
	"github.com/auditail/auditail/internal/s3test"
	"github.com/auditail/auditail/seal"
)

// TestStoredArchiveVerifies reads the store as an auditor does.
func TestStoredArchiveVerifies(t *testing.T) {
	f := newFixture(t)
	for _, r := range buildLog(f) {
		f.want(http.StatusCreated, r)
	}
	trust, _, err := archive.ParseTrust(strings.NewReader(f.epoch.Trust()))
	if err != nil {
		t.Fatal(err)
	}
	options := remote.Options{}
	if f.s3 != nil {
		options.S3 = remote.S3Config{Endpoint: f.s3.URL, Region: s3test.Region, Provider: f.s3.Root}
	}
	source, err := remote.Open(t.Context(), f.config.Store, options)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	report, err := archive.Verify(t.Context(), source, archive.Options{
		Trust: trust,
		// A second epoch is what an auditor has to be told of.
		Accepted: archive.Accepted{{Code: archive.EpochAfterClose, Path: seal.Origin{Log: f.epoch.Origin.Log, Epoch: 1}.ManifestPath(4)}: true},
		ExpectSize: []archive.Bound{
			{Origin: seal.Origin{Log: f.epoch.Origin.Log, Epoch: 1}, N: 5},
			{Origin: seal.Origin{Log: f.epoch.Origin.Log, Epoch: 2}, N: 2},
		},
		Found: func(found archive.Finding) {
			if found.Level == archive.Violation {
				t.Error(found)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Batches != 7 || report.Payloads != 3 || report.Epochs != 2 {
		t.Errorf("report %+v", report)
	}
}
