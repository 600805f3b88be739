package endtoend

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// anyJSON maps what gateways' logs have in common; most lines fill a part of it.
const anyJSON = `
[inputs.file.parser]
type = "json"
[inputs.file.parser.fields]
"time" = { from = "startTime", layout = "unix" }
"actor.id" = "metadata.user_api_key_user_id"
"client.ip" = "requester_ip_address"
"client.user_agent" = "user_agent"
"session.request_id" = "id"
"model.name" = "model_group"
"model.provider" = "custom_llm_provider"
"outcome" = "status"
"usage.input_tokens" = "prompt_tokens"
"usage.output_tokens" = "completion_tokens"
"input" = "messages"
"output" = "response.choices"
"extra.call" = "call_type"
[inputs.file.parser.set]
"api.operation" = "chat"
`

// Promise 5, on real lines of every server the parsers know, read by the right
// parser and by all wrong ones: no line is without account, every record is
// valid, and no prompt is on the disk that the policy does not keep.
func TestSamples(t *testing.T) {
	logs, err := filepath.Glob("../../parsers/*/testdata/*.log")
	if err != nil || len(logs) < 10 {
		t.Fatal(logs, err)
	}
	for mode, want := range map[string]bool{"none": false, "hashed": false, "full": true} {
		t.Run(mode, func(t *testing.T) {
			var inputs strings.Builder
			lines := 0
			for i, log := range logs {
				data, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				lines += bytes.Count(data, []byte("\n"))
				if !bytes.HasSuffix(data, []byte("\n")) {
					lines++ // an unterminated last line counts
				}
				abs, err := filepath.Abs(log)
				if err != nil {
					t.Fatal(err)
				}
				for j, parser := range []string{`parser = "vllm"`, `parser = "combined"`, anyJSON} {
					fmt.Fprintf(&inputs, "[[inputs.file]]\nname = \"log-%d-%d\"\npaths = [%q]\nservice = \"chat\"\n%s\n", i, j, abs, parser)
				}
			}
			s := newSite(t, inputs.String(), directoryOutput+fmt.Sprintf("[capture]\ndefault = %q\n", mode))
			s.once()
			c := s.read(s.path("archive"))
			if c.lines.Read != uint64(3*lines) || c.lines.Recorded+c.lines.Unparsed+c.lines.Ignored != c.lines.Read {
				t.Errorf("%d lines in the files, read three times: %+v", lines, c.lines)
			}
			if c.repeated() != 0 {
				t.Errorf("%d records repeated", c.repeated())
			}
			c.validate(t)
			s.verify(s.path("archive"), "--strict")
			if got := bytes.Contains(bytes.Join(c.raw, nil), []byte("Once upon a time,")); got != want {
				t.Errorf("the prompt stands in the records: %v", got)
			}
			s.searchDisk("Once upon a time,")
		})
	}
}

// searchDisk looks for content in what the agent keeps of its own, which is
// compressed at most by zstd frames that the archive check above has read.
func (s *site) searchDisk(content string) {
	s.t.Helper()
	err := filepath.WalkDir(s.path("data"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(content)) {
			s.t.Errorf("%s holds a prompt in clear", path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
