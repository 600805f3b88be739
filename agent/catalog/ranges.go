package catalog

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// seqRange is a run of agent.seq, both ends included, with the times of its
// records in Unix nanoseconds. Of the records in it, those of one model are
// meant: others may stand between.
type seqRange struct {
	First, Last uint64
	Low, High   int64
}

// ranges are in the order of their commits. They are bounded: what does not fit
// is joined with its nearest neighbour, which says no less.
type ranges []seqRange

func (list ranges) add(r seqRange) ranges {
	if n := len(list); n > 0 && list[n-1].Last+1 == r.First && near(list[n-1].Low, list[n-1].High, r.Low, r.High) {
		list[n-1] = list[n-1].join(r)
		return list
	}
	list = append(list, r)
	if len(list) <= maxRanges {
		return list
	}
	nearest, gap := 1, uint64(math.MaxUint64)
	for i := 1; i < len(list); i++ {
		if d := list[i].First - min(list[i-1].Last, list[i].First); d < gap {
			nearest, gap = i, d
		}
	}
	list[nearest-1] = list[nearest-1].join(list[nearest])
	return slices.Delete(list, nearest, nearest+1)
}

// maxWidth is how much time the records of one range may span: what becomes
// known later covers a range as a whole or not at all.
const maxWidth = int64(10 * time.Minute)

// near tells whether two periods may stand in one range.
func near(low, high, otherLow, otherHigh int64) bool {
	return max(high, otherHigh)-min(low, otherLow) <= maxWidth
}

func (r seqRange) join(o seqRange) seqRange {
	return seqRange{First: min(r.First, o.First), Last: max(r.Last, o.Last), Low: min(r.Low, o.Low), High: max(r.High, o.High)}
}

// split takes out the ranges that match.
func (list ranges) split(match func(r seqRange) bool) (matching, rest ranges) {
	for _, r := range list {
		if match(r) {
			matching = append(matching, r)
		} else {
			rest = append(rest, r)
		}
	}
	return matching, rest
}

// texts spells the ranges as change.seqs has them.
func (list ranges) texts() []string {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b seqRange) int { return cmp.Compare(a.First, b.First) })
	texts := make([]string, 0, len(sorted))
	for _, r := range sorted {
		text := strconv.FormatUint(r.First, 10)
		if r.Last > r.First {
			text += "-" + strconv.FormatUint(r.Last, 10)
		}
		texts = append(texts, text)
	}
	return texts
}
