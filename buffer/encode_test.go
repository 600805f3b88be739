package buffer

import (
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestOneZstdBlock: the options of the encoder depend on their order.
func TestOneZstdBlock(t *testing.T) {
	encoder, err := newZstdEncoder()
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]byte, blockSize-1)
	for i := range lines {
		lines[i] = "0123456789abcdef\n"[i*i%17]
	}
	var h zstd.Header
	if err := h.Decode(encoder.EncodeAll(lines, nil)); err != nil || !h.FirstBlock.OK || !h.FirstBlock.Last {
		t.Errorf("a block of lines has the header %+v, error %v", h, err)
	}
}
