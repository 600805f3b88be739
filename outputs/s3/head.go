package s3output

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// mostManifests is how many manifests are read to compute a root that no
// checkpoint names. The log has one for each ship round, so the last batches
// of a round that was interrupted are the usual case.
const mostManifests = 10_000

// Head implements outputs.HeadReader: the highest manifest that is there. Its
// root is that of the checkpoint of this size or, without one, computed.
func (o *Output) Head(ctx context.Context, name string) (head seal.Head, err error) {
	origin, err := seal.ParseOrigin(name)
	if err != nil {
		return seal.Head{}, err
	}
	err = o.faults.Repeat(ctx, origin.SealsPath(), func(ctx context.Context) (err error) {
		head, err = o.findHead(ctx, origin)
		return err
	}, func(err error) (retry.Fault, time.Duration, bool) {
		fault, after := o.bucket.Explain(err)
		return fault, after, bucket.IsAway(err)
	})
	if err != nil && ctx.Err() == nil {
		err = o.bucket.Sentence(err)
	}
	if err != nil {
		return seal.Head{}, fmt.Errorf("ask for the head of %s: %w", origin, err)
	}
	return head, nil
}

func (o *Output) findHead(ctx context.Context, origin seal.Origin) (seal.Head, error) {
	size, err := o.size(ctx, origin)
	if err != nil || size == 0 {
		return seal.Head{Root: seal.EmptyRoot()}, err
	}
	head := seal.Head{Size: size}
	file, err := o.readSmall(ctx, origin.CheckpointPath(size))
	if err == nil {
		if root, ok := outputs.CheckpointRoot(file, origin, size); ok {
			head.Root = root
			return head, nil
		}
	} else if !bucket.IsMissing(err) {
		return seal.Head{}, fmt.Errorf("read checkpoint: %w", err)
	}
	if size > mostManifests {
		return head, nil // its root can not be told
	}
	var tree seal.Tree
	for batch := range size {
		file, err := o.readSmall(ctx, origin.ManifestPath(batch))
		if bucket.IsMissing(err) {
			return head, nil // the log began before this output
		}
		if err != nil {
			return seal.Head{}, fmt.Errorf("compute root: %w", err)
		}
		tree.Add(seal.LeafHash(file))
	}
	head.Root = tree.Root()
	return head, nil
}

// size finds one more than the highest manifest's number. Names are numbered
// without gaps from wherever this output began, and sort as numbers, so it asks
// "is there one from n on" at doubling distances, then halves: some forty
// requests for a log of a million batches.
func (o *Output) size(ctx context.Context, origin seal.Origin) (uint64, error) {
	from := func(n uint64) (found uint64, ok bool, err error) {
		// The name itself is not after itself; its signature is, and so are the
		// files of the next number.
		after := strings.TrimSuffix(origin.ManifestPath(n), seal.ManifestSuffix)
		page, err := o.bucket.List(ctx, origin.SealsPath()+"/", after, 2)
		if err != nil {
			return 0, false, fmt.Errorf("list seals: %w", err)
		}
		for _, item := range page {
			object, err := seal.ParsePath(item.Path)
			if err == nil && object.Kind == seal.ManifestObject {
				return object.Number, true, nil
			}
		}
		return 0, false, nil
	}
	highest, ok, err := from(0)
	if err != nil || !ok {
		return 0, err
	}
	var above uint64 // no manifest from here on
	for step := uint64(1); ; step *= 2 {
		above = highest + step
		found, ok, err := from(above)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		highest = found
	}
	for highest+1 < above { // a manifest at highest, none from above on
		middle := highest + (above-highest)/2
		found, ok, err := from(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			highest = found
		} else {
			above = middle
		}
	}
	return highest + 1, nil
}

// readSmall reads a file of the seals, no more than such a file can have.
func (o *Output) readSmall(ctx context.Context, path string) ([]byte, error) {
	file, _, err := o.bucket.Read(ctx, path, seal.MaxManifestFile)
	return file, err
}
