// Package tqdm recognises the progress bars that Python programs draw into their
// logs.
package tqdm

import "bytes"

// IsBar accepts a line of progress bars, drawn over each other with carriage
// returns, each of which begins with one of the titles.
func IsBar(line []byte, titles []string) bool {
	drawn := false
	for part := range bytes.SplitSeq(line, []byte("\r")) {
		if len(part) == 0 {
			continue
		}
		if drawn = begins(part, titles); !drawn {
			return false
		}
	}
	return drawn
}

func begins(part []byte, titles []string) bool {
	for _, title := range titles {
		if len(part) > len(title) && string(part[:len(title)]) == title {
			return bytes.IndexByte(part[len(title):], '%') >= 0
		}
	}
	return false
}
