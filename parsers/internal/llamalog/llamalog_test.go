package llamalog_test

import (
	"fmt"
	"testing"

	"github.com/auditail/auditail/parsers/internal/llamalog"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string]string{
		"0.11.791.694 I slot print_timing: id  1 | task 0 | total": "true I slot print_timing [id  1 | task 0 | total] load=false",
		"1203.01.002.003 W srv    operator(): unauthorized":        "true W srv operator() [unauthorized] load=false",
		"srv          stop: cancel task, id_task = 27":             "false 0 srv stop [cancel task, id_task = 27] load=false",
		"slot launch_slot_: id  0 | task -1 | sampler params: ":    "false 0 slot launch_slot_ [id  0 | task -1 | sampler params: ] load=false",
		"print_info: n_ctx_train           = 2048":                 "false 0  print_info [n_ctx_train           = 2048] load=true",
		"llama_model_loader: - kv  27: tokenizer str = {% error":   "false 0  llama_model_loader [- kv  27: tokenizer str = {% error] load=true",
		"llama_model_load: error loading model: no file":           "false 0  llama_model_load [error loading model: no file] load=false",
		"0.00.001.002 E ggml_cuda_init: no device":                 "true E  ggml_cuda_init [no device] load=false",
		"~llama_context:        CPU compute buffer size is 3 MiB":  "false 0  ~llama_context [       CPU compute buffer size is 3 MiB] load=true",
		"sched_reserve:":          "false 0  sched_reserve [] load=true",
		"see https://x/: y":       "false 0   [see https://x/: y] load=false",
		"Hello: there":            "false 0  Hello [there] load=false",
		"0.00.084 I srv  x: y":    "false 0   [0.00.084 I srv  x: y] load=false",
		"0.00.084.7000 I srv  x:": "false 0   [0.00.084.7000 I srv  x:] load=false",
		"":                        "false 0   [] load=false",
		"main: server is listening on http://127.0.0.1:8080 - starting the main loop": "false 0  main [server is listening on http://127.0.0.1:8080 - starting the main loop] load=true",
	} {
		l := llamalog.Split([]byte(text))
		level := "0"
		if l.Level != 0 {
			level = string(l.Level)
		}
		got := fmt.Sprintf("%t %s %s %s [%s] load=%t", l.Prefixed, level, l.Group, l.Function, l.Message, l.IsLoad())
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
