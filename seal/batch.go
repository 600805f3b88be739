package seal

import "io"

// Object is one file of a batch.
type Object struct {
	Kind   ObjectKind
	Path   string // in the archive
	Size   int64
	SHA256 Digest
	// Open returns the content from the start. It may be called again and
	// concurrently; the caller closes what it returns.
	Open func() (io.ReadSeekCloser, error)
}

// Batch is what is sealed, shipped and acknowledged. It is read-only.
type Batch struct {
	Manifest     *Manifest
	ManifestFile []byte // as stored: text and signatures
	// Objects are the files in ship order: payload (if any), identity key (of
	// kind open), manifest, signature.
	Objects []Object
}

// Receipt is what a destination acknowledged.
type Receipt struct {
	Origin Origin
	Batch  uint64
	Stored int // objects that were new there; the others had been stored before, with the same bytes
}

// Head is what a destination holds of a log: the leaves 0 to Size-1.
type Head struct {
	Size uint64
	Root Hash
}
