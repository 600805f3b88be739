package vllm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/audit"
)

type joinCase struct {
	log     string
	want    []string
	verdict string
}

// joins is the table of what becomes of calls, alone and at the same time.
func joins() map[string]joinCase {
	return map[string]joinCase{
		"the answer is logged before the access line": {
			log:     received("chatcmpl-a", "'p'") + generated("chatcmpl-a", "'o'") + access("10.0.0.1:1", chat, 200),
			want:    []string{`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p" "o"`},
			verdict: "held held recorded",
		},
		"the answer is logged after the access line, once it is known that answers are": {
			log: generated("chatcmpl-z", "'o'") + received("chatcmpl-a", "'p'") + access("10.0.0.1:1", chat, 200) + generated("chatcmpl-a", "'o'"),
			want: []string{
				`model.inference success chatcmpl-z "o"`,
				`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p" "o"`,
			},
			verdict: "recorded held held recorded",
		},
		"no access line follows": {
			log:     received("chatcmpl-a", "'p'") + finished("chatcmpl-a"),
			want:    []string{`model.inference success chatcmpl-a "p"`},
			verdict: "held held",
		},
		"no end is logged": {
			log:     received("chatcmpl-a", "'p'"),
			want:    []string{`model.inference unknown outcome_not_logged chatcmpl-a "p"`},
			verdict: "held",
		},
		"two calls at once: no address is lent": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				generated("chatcmpl-b", "'o'") + access("10.0.0.2:1", chat, 200) +
				generated("chatcmpl-a", "'n'") + access("10.0.0.1:1", chat, 200),
			want: []string{
				`model.inference success chatcmpl-b "q" "o"`,
				`model.inference success 10.0.0.2 200`,
				`model.inference success chatcmpl-a "p" "n"`,
				`model.inference success 10.0.0.1 200`,
			},
			verdict: "held held recorded recorded recorded recorded",
		},
		"two calls at once, ends are not logged: all were answered": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				access("10.0.0.2:1", chat, 200) + access("10.0.0.1:1", chat, 200) +
				received("chatcmpl-c", "'r'") + access("10.0.0.3:1", chat, 200),
			want: []string{
				`model.inference success 10.0.0.2 200`,
				`model.inference success chatcmpl-a inferred "p"`,
				`model.inference success chatcmpl-b inferred "q"`,
				`model.inference success 10.0.0.1 200`,
				`model.inference success chatcmpl-c 10.0.0.3 200 inferred "r"`,
			},
			verdict: "held held recorded recorded held recorded",
		},
		"two calls at once, one failed: nobody can say which": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				access("10.0.0.2:1", chat, 500) + access("10.0.0.1:1", chat, 200),
			want: []string{
				`model.inference failed http_500 10.0.0.2 500`,
				`model.inference unknown outcome_not_logged chatcmpl-a "p"`,
				`model.inference unknown outcome_not_logged chatcmpl-b "q"`,
				`model.inference success 10.0.0.1 200`,
			},
			verdict: "held held recorded recorded",
		},
		"calls of other operations do not get in the way": {
			log: received("chatcmpl-a", "'p'") + received("embd-b-0", "'q'") +
				access("10.0.0.2:1", "/v1/embeddings", 200) + access("10.0.0.1:1", chat, 200),
			want: []string{
				`model.inference success embd-b-0 10.0.0.2 200 inferred "q"`,
				`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p"`,
			},
			verdict: "held held recorded recorded",
		},
		"prompts of one call share its access line": {
			log: received("cmpl-a-0", "'p'") + received("cmpl-a-1", "'q'") + access("10.0.0.1:1", "/v1/completions", 200),
			want: []string{
				`model.inference success cmpl-a-0 10.0.0.1 200 inferred "p"`,
				`model.inference success cmpl-a-1 10.0.0.1 200 inferred "q"`,
			},
			verdict: "held held recorded",
		},
		"a refusal belongs to no logged request": {
			log: received("chatcmpl-a", "'p'") + access("10.0.0.9:1", chat, 401) + access("10.0.0.1:1", chat, 200),
			want: []string{
				`model.inference denied http_401 10.0.0.9 401`,
				`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p"`,
			},
			verdict: "held recorded recorded",
		},
		"an engine that died": {
			log: received("chatcmpl-a", "'p'") + stamp + "[async_llm.py:342] Request chatcmpl-a failed (engine dead).\n" +
				access("10.0.0.1:1", chat, 500),
			want:    []string{`model.inference failed http_500 chatcmpl-a 10.0.0.1 500 inferred "p"`},
			verdict: "held held recorded",
		},
		"an abort is said twice": {
			log:     received("chatcmpl-a", "'p'") + aborted("chatcmpl-a") + stamp + "[async_llm.py:318] Request chatcmpl-a aborted.\n",
			want:    []string{`model.inference cancelled aborted chatcmpl-a "p"`},
			verdict: "held recorded ignored end_repeated",
		},
		"several are aborted at once, one with a random tail": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				stamp + "[async_llm.py:600] Aborted request(s) chatcmpl-a,chatcmpl-b-0a1b2c3d.\n",
			want: []string{
				`model.inference cancelled aborted chatcmpl-a "p"`,
				`model.inference cancelled aborted chatcmpl-b "q"`,
			},
			verdict: "held held recorded",
		},
		"an abort that names others along with an unknown id": {
			log: received("chatcmpl-a", "'p'") + stamp + "[async_llm.py:600] Aborted request(s) chatcmpl-x,chatcmpl-a.\n",
			want: []string{
				`model.inference unknown outcome_not_logged chatcmpl-a "p"`,
			},
			verdict: "held unparsed",
		},
		"an abort of a request that is not known": {
			log:     aborted("chatcmpl-a"),
			want:    []string{`model.inference cancelled aborted chatcmpl-a`},
			verdict: "recorded",
		},
		"an engine request of a call for several answers": {
			log: received("chatcmpl-a", "'p'") + stamp + "[async_llm.py:321] Added request 1_chatcmpl-a.\n" +
				stamp + "[async_llm.py:321] Added request chatcmpl-b.\n" + access("10.0.0.1:1", chat, 200),
			want:    []string{`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p"`},
			verdict: "held held ignored request_added recorded",
		},
		"a start banner ends what was open": {
			log: received("chatcmpl-a", "'p'") + stamp + "[api_server.py:1839] vLLM API server version 0.11.0\n" +
				access("10.0.0.1:1", chat, 200),
			want: []string{
				`model.inference unknown server_restart chatcmpl-a "p"`,
				`model.inference success 10.0.0.1 200`,
			},
			verdict: "held ignored start_banner recorded",
		},
		"an id is used again": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-a", "'q'"),
			want: []string{
				`model.inference unknown request_id_used chatcmpl-a "p"`,
				`model.inference unknown outcome_not_logged chatcmpl-a "q"`,
			},
			verdict: "held held",
		},
		"an answer whose request is not known": {
			log:     generated("chatcmpl-a", `"it's"`),
			want:    []string{`model.inference success chatcmpl-a "it's"`},
			verdict: "recorded",
		},
		"newer servers log the prompt apart": {
			log: stamp + "[logger.py:50] Request chatcmpl-a details: prompt: 'p', prompt_token_ids: [1, 2], prompt_embeds shape: None.\n" +
				stamp + "[logger.py:60] Received request chatcmpl-a: params: SamplingParams(n=1), lora_request: None.\n" +
				access("10.0.0.1:1", chat, 200),
			want:    []string{`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p"`},
			verdict: "held held recorded",
		},
		"answered and ended, but not one by one": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				generated("chatcmpl-a", "'n'") + generated("chatcmpl-b", "'o'") + received("chatcmpl-c", "'r'") +
				access("10.0.0.1:1", chat, 200) + access("10.0.0.2:1", chat, 200) + access("10.0.0.3:1", chat, 200),
			want: []string{
				`model.inference success chatcmpl-a "p" "n"`,
				`model.inference success chatcmpl-b "q" "o"`,
				`model.inference success 10.0.0.1 200`,
				`model.inference success 10.0.0.2 200`,
				`model.inference success 10.0.0.3 200`,
				`model.inference unknown outcome_not_logged chatcmpl-c "r"`,
			},
			verdict: "held held recorded recorded held recorded recorded recorded",
		},
		"long after that, an address can be told again": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") +
				generated("chatcmpl-a", "'n'") + generated("chatcmpl-b", "'o'") +
				strings.ReplaceAll(received("chatcmpl-c", "'r'"), "04:35:20", "04:35:24") +
				access("10.0.0.3:1", chat, 200) + generated("chatcmpl-c", "'s'"),
			want: []string{
				`model.inference success chatcmpl-a "p" "n"`,
				`model.inference success chatcmpl-b "q" "o"`,
				`model.inference success chatcmpl-c 10.0.0.3 200 inferred "r" "s"`,
			},
			verdict: "held held recorded recorded held held recorded",
		},
		"a call ended long before the next began, and its access line is not logged": {
			log: received("chatcmpl-a", "'p'") + generated("chatcmpl-a", "'n'") +
				strings.ReplaceAll(received("chatcmpl-b", "'q'"), "04:35:20", "04:35:24") +
				access("10.0.0.2:1", chat, 200) + generated("chatcmpl-b", "'o'"),
			want: []string{
				`model.inference success chatcmpl-a "p" "n"`,
				`model.inference success chatcmpl-b 10.0.0.2 200 inferred "q" "o"`,
			},
			verdict: "held held held held recorded",
		},
		"an abort takes its own access line out of the count": {
			log: received("chatcmpl-a", "'p'") + received("chatcmpl-b", "'q'") + received("chatcmpl-c", "'r'") +
				access("10.0.0.1:1", chat, 200) + aborted("chatcmpl-a") + access("10.0.0.2:1", chat, 200),
			want: []string{
				`model.inference success 10.0.0.1 200`,
				`model.inference cancelled aborted chatcmpl-a "p"`,
				`model.inference success 10.0.0.2 200`,
				`model.inference unknown outcome_not_logged chatcmpl-b "q"`,
				`model.inference unknown outcome_not_logged chatcmpl-c "r"`,
			},
			verdict: "held held held recorded recorded recorded",
		},
		"the first end counts": {
			log: received("chatcmpl-a", "'p'") + stamp + "[async_llm.py:342] Request chatcmpl-a failed (bad request): x.\n" +
				finished("chatcmpl-a") + stamp + "[async_llm.py:342] Request chatcmpl-a failed.\n",
			want:    []string{`model.inference failed bad_request chatcmpl-a "p"`},
			verdict: "held held held held",
		},
		"two lines tell the end": {
			log: received("chatcmpl-a", "'p'") + generated("chatcmpl-a", "'o'") + finished("chatcmpl-a") +
				access("10.0.0.1:1", chat, 200),
			want:    []string{`model.inference success chatcmpl-a 10.0.0.1 200 inferred "p" "o"`},
			verdict: "held held held recorded",
		},
		"a failed call has no end to wait for": {
			log: generated("chatcmpl-z", "'o'") + received("chatcmpl-a", "'p'") + access("10.0.0.1:1", chat, 500),
			want: []string{
				`model.inference success chatcmpl-z "o"`,
				`model.inference failed http_500 chatcmpl-a 10.0.0.1 500 inferred "p"`,
			},
			verdict: "recorded held recorded",
		},
	}
}

func TestJoin(t *testing.T) {
	for name, c := range joins() {
		t.Run(name, func(t *testing.T) {
			list, words := drafts(t, c.log)
			var got []string
			for i := range list {
				got = append(got, summary(t, &list[i]))
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if got := strings.Join(words, " "); got != c.verdict {
				t.Errorf("verdicts: %s\nwant: %s", got, c.verdict)
			}
		})
	}
}

// TestAddressIsTrue: whatever calls overlap, the address in the record of a
// request is the one its caller had.
func TestAddressIsTrue(t *testing.T) {
	joined := 0
	rapid.Check(t, func(rt *rapid.T) {
		endsLogged := rapid.Bool().Draw(rt, "ends are logged")
		var open [][]string // what each call still has to log
		for i := range rapid.IntRange(1, 12).Draw(rt, "calls") {
			open = append(open, life(rt, i, endsLogged))
		}
		var log strings.Builder
		second, answering := 0, 0
		for len(open) > 0 {
			// Calls begin in order, a few at a time; each then goes on as it likes.
			i := rapid.IntRange(0, min(len(open)-1, rapid.IntRange(0, 3).Draw(rt, "overlap"))).Draw(rt, "call")
			line := open[i][0]
			if line == "answering" {
				answering++
			} else {
				log.WriteString(strings.ReplaceAll(line, "04:35:20", fmt.Sprintf("04:%02d:%02d", second/60, second%60)))
			}
			if open[i] = open[i][1:]; len(open[i]) > 0 && open[i][0] == "answered" {
				answering--
				open[i] = open[i][1:]
			}
			if len(open[i]) == 0 {
				open = slices.Delete(open, i, i+1)
			}
			if answering == 0 { // an access line follows the end of its call at once
				second += rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(rt, "seconds")
			}
		}
		list, _ := drafts(t, log.String())
		for i := range list {
			r := &list[i].Record
			if !r.Has(audit.SessionRequestID) || !r.Has(audit.ClientIP) {
				continue
			}
			joined++
			id, _ := strings.CutPrefix(string(r.Text(audit.SessionRequestID)), "chatcmpl-")
			if got := string(r.Text(audit.ClientIP)); got != "10.0.0."+id {
				rt.Fatalf("request %s has the address %s\n%s", id, got, log.String())
			}
		}
	})
	if joined == 0 {
		t.Error("no access line was joined")
	}
}

// life returns what a call logs. "answering" and "answered" stand around what
// happens at one time.
func life(rt *rapid.T, i int, endsLogged bool) []string {
	id := fmt.Sprintf("chatcmpl-%d", i)
	begin := received(id, "'p'")
	answer := access(fmt.Sprintf("10.0.0.%d:1", i), chat, 200)
	if !endsLogged {
		return rapid.SampledFrom([][]string{
			{begin, answer}, {begin, answer}, {begin, answer}, {begin, aborted(id)}, {begin, answer, aborted(id)},
		}).Draw(rt, "life")
	}
	return rapid.SampledFrom([][]string{
		{begin, answer, generated(id, "'o'")},                          // a stream
		{begin, "answering", generated(id, "'o'"), answer, "answered"}, // an answer in one piece
		{begin, aborted(id)},
		{begin, answer, aborted(id)},
		{strings.Replace(answer, " 200 ", " 401 ", 1)},
	}).Draw(rt, "life")
}
