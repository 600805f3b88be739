package inputs

import "github.com/auditail/auditail/internal/memory"

// ChunkCost is what a chunk of ordinary lines takes on its whole way to the
// disk: what was read, its lines, and the records made from them.
const ChunkCost = 6 << 20

const (
	// chunks is what ordinary chunks may take together: so many at once keep two
	// cores and a disk busy.
	chunks = 20 << 20
	// longFactor times its length is what a line takes that does not fit into an
	// ordinary chunk: as read, as text, as record, compressed, in its group.
	longFactor = 5
)

// Memory is what all inputs of an agent take the memory of their chunks from
// (promise 11 of the README). It is safe for concurrent use.
//
// An input claims [ChunkCost] before it reads and releases it when Append has
// answered. Who holds such a claim never waits for another. For a line that does
// not fit an input gives that back first, and claims all of Long: there is one
// such line at a time. Who holds that may wait for an ordinary claim, and never
// the other way round: therefore they are two budgets, and nothing can wait in a
// circle.
type Memory struct {
	*memory.Budget // of chunks of ordinary lines

	Long *memory.Budget // of the one line, or request, that does not fit into a chunk

	Buffers memory.Slices[byte]
	Lines   memory.Slices[Line]
}

// NewMemory returns the memory of an agent whose lines are at most longest bytes.
func NewMemory(longest int64) *Memory {
	return &Memory{Budget: memory.New(chunks), Long: memory.New(ChunkCost + longFactor*longest)}
}
