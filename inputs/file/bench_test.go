package file

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditail/auditail/inputs"
)

// nowhere acknowledges everything at once.
type nowhere struct{ lines int }

func (n *nowhere) Append(_ context.Context, c inputs.Chunk) error {
	n.lines += len(c.Lines)
	return nil
}

// BenchmarkScan reads a file of 100 MB from the page cache.
func BenchmarkScan(b *testing.B) {
	for _, length := range []int{170, 1200} {
		b.Run(fmt.Sprintf("lines of %d bytes", length), func(b *testing.B) {
			line := append(bytes.Repeat([]byte("x"), length-1), '\n')
			count := 100_000_000 / length
			name := filepath.Join(b.TempDir(), "x.log")
			if err := os.WriteFile(name, bytes.Repeat(line, count), 0o600); err != nil {
				b.Fatal(err)
			}
			in, err := New(Config{Name: "bench", Paths: []string{name}}, Deps{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(count * length))
			b.ReportAllocs()
			for b.Loop() {
				to := &nowhere{}
				if err := in.Scan(b.Context(), nil, to); err != nil {
					b.Fatal(err)
				}
				if to.lines != count {
					b.Fatalf("%d lines of %d", to.lines, count)
				}
			}
		})
	}
}
