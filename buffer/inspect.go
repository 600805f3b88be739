package buffer

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
)

// Report is what Inspect found.
type Report struct {
	Segments int
	Frames   int
	Damaged  []string // one sentence each
}

// Inspect reads all segments of a buffer without changing anything. A torn group
// at the end is no damage: it was never acknowledged. The folder may belong to a running
// agent. It returns an error that is fs.ErrNotExist when there is no buffer.
func Inspect(fsys durable.FS, dir string) (Report, error) {
	var report Report
	b := &Buffer{dir: dir, fs: fsys}
	ids, err := listSegments(fsys, filepath.Join(dir, "segments"))
	if err != nil {
		return report, err
	}
	proofs, _, err := b.proofs(ids)
	if err != nil {
		return report, err
	}
	for i, id := range ids {
		reader, closeFile, err := b.openSegment(id)
		if err != nil {
			return report, err
		}
		bad, err := readSegment(reader.file, reader.size, proofs[i].durable, func(*frame) error { report.Frames++; return nil })
		if err = errors.Join(err, closeFile()); err != nil {
			return report, fmt.Errorf("read segment %s: %w", segmentName(id), err)
		}
		for _, d := range bad {
			if !d.torn && reader.size > 0 {
				report.Damaged = append(report.Damaged, fmt.Sprintf("segment %s: %d bytes at %d are no frame (%v); the agent starts without them, and reads their lines again or records the gap",
					segmentName(id), d.to-d.from, d.from, d.cause))
			}
		}
		report.Segments++
	}
	return report, nil
}
