package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// Head implements outputs.HeadReader: the highest manifest that is there. Its
// root is that of the checkpoint of this size or, without one, computed.
func (o *Output) Head(ctx context.Context, name string) (seal.Head, error) {
	origin, err := seal.ParseOrigin(name)
	if err != nil {
		return seal.Head{}, err
	}
	entries, err := o.fsys.ReadDir(o.join(origin.SealsPath()))
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Head{Root: seal.EmptyRoot()}, nil
	}
	if err != nil {
		return seal.Head{}, fmt.Errorf("list seals of %s: %w", origin, err)
	}
	var head seal.Head
	var manifests uint64
	for _, entry := range entries {
		object, err := seal.ParsePath(origin.SealsPath() + "/" + entry.Name())
		if err == nil && object.Kind == seal.ManifestObject {
			head.Size = max(head.Size, object.Number+1)
			manifests++
		}
	}
	file, err := durable.ReadFile(o.fsys, o.join(origin.CheckpointPath(head.Size)), seal.MaxManifestFile)
	if err == nil {
		if root, ok := outputs.CheckpointRoot(file, origin, head.Size); ok {
			head.Root = root
			return head, nil
		}
	}
	if manifests < head.Size {
		return head, nil // the log began before this output: its root can not be told
	}
	head.Root, err = o.computeRoot(ctx, origin, head.Size)
	return head, err
}

func (o *Output) computeRoot(ctx context.Context, origin seal.Origin, size uint64) (seal.Hash, error) {
	var tree seal.Tree
	for batch := range size {
		if err := ctx.Err(); err != nil {
			return seal.Hash{}, fmt.Errorf("compute root of %s: %w", origin, err)
		}
		file, err := durable.ReadFile(o.fsys, o.join(origin.ManifestPath(batch)), seal.MaxManifestFile)
		if err != nil {
			return seal.Hash{}, fmt.Errorf("compute root of %s: %w", origin, err)
		}
		tree.Add(seal.LeafHash(file))
	}
	return tree.Root(), nil
}

// Probe implements outputs.Prober: it does with an empty file what Ship does
// with a batch, and removes it.
func (o *Output) Probe(context.Context) error {
	if err := o.makeRoot(); err != nil {
		return err
	}
	temp := temporaryName(o.join("probe"))
	f, err := o.fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("write to archive directory: %w", err)
	}
	err = errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = o.probeLink(temp)
	}
	if err == nil && o.immutable {
		err = o.probeImmutable(temp)
	}
	if err = errors.Join(err, o.fsys.Remove(temp), o.fsys.SyncDir(o.root)); err != nil {
		return fmt.Errorf("probe archive directory: %w", err)
	}
	return nil
}

func (o *Output) probeLink(temp string) error {
	linked := temporaryName(o.join("probe"))
	linkErr := o.fsys.Link(temp, linked)
	removeErr := o.fsys.Remove(linked)
	if linkErr != nil {
		return fmt.Errorf("a file system with hard links is needed: %w", linkErr)
	}
	return removeErr
}

// probeImmutable sets the attribute, and takes it off so that the probe can go.
func (o *Output) probeImmutable(temp string) error {
	if err := o.setImmutable(temp); err != nil {
		return fmt.Errorf("%s: %w", notImmutable, err)
	}
	if can, ok := o.fsys.(interface{ ClearImmutable(name string) error }); ok {
		return can.ClearImmutable(temp)
	}
	return nil
}

func (o *Output) join(path string) string {
	return filepath.Join(o.root, filepath.FromSlash(path))
}
