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
// answered. For a line that does not fit it gives that back first, and claims
// [Memory.LongCost]: of those one is held at a time. Who holds a claim never
// waits for another, but the one with a long line may wait for ordinary ones.
type Memory struct {
	*memory.Budget

	Buffers memory.Slices[byte]
	Lines   memory.Slices[Line]
}

// NewMemory returns the memory of an agent whose lines are at most longest bytes.
func NewMemory(longest int64) *Memory {
	return &Memory{Budget: memory.New(chunks + longFactor*longest)}
}

// LongCost is what a line of at most longest bytes takes that does not fit into
// an ordinary chunk. Two do not fit into the budget, and beside one an ordinary
// chunk does.
func (m *Memory) LongCost(longest int64) int64 {
	return min(max(ChunkCost+longFactor*longest, m.Size()/2+1), m.Size()-ChunkCost)
}
