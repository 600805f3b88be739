package access

import (
	"slices"
	"testing"
)

func TestOthers(t *testing.T) {
	const full = 0x1f01ff
	own := []entry{{"S-1-5-18", full, false}, {"S-1-5-32-544", full, false}, {"S-1-5-19", full, false}, {"S-1-5-21-1-2-3-1001", full, false}}
	for name, c := range map[string]struct {
		add         []entry
		read, write bool
	}{
		"nobody":              {nil, false, false},
		"everyone reads":      {[]entry{{"S-1-1-0", 0x1200a9, false}}, true, false},
		"users, generic":      {[]entry{{"S-1-5-32-545", genericRead, false}}, true, false},
		"users add files":     {[]entry{{"S-1-5-32-545", writeData | appendData, false}}, false, true},
		"in what is made":     {[]entry{{"S-1-5-11", full, true}}, false, false},
		"users of the domain": {[]entry{{"S-1-5-21-1-2-3-513", full, false}}, true, true},
		"anybody takes it":    {[]entry{{"S-1-5-11", takeIt, false}}, false, true},
		"attributes alone":    {[]entry{{"S-1-1-0", 0x100080, false}}, false, false},
	} {
		if read, write := others(append(slices.Clip(own), c.add...)); read != c.read || write != c.write {
			t.Errorf("%s: read %v, write %v", name, read, write)
		}
	}
}
