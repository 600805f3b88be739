// Package llamalog takes apart the lines that llama.cpp writes: those of its
// server and those of the library, with and without the prefix of its logger.
//
//	0.11.791.694 I slot print_timing: id  1 | task 0 | prompt eval time = …
//	└ since start  │ │    └ function   └ what it says
//	         level ┘ └ group
//
// The logger cuts and pads function names of the server to twelve characters.
// Colours are not its concern: take them out before.
package llamalog

import "bytes"

// Line is a line taken apart. Its slices point into it.
type Line struct {
	Prefixed bool   // it has a time since start and a level
	Level    byte   // 'D', 'I', 'W', 'E', or 0 when there is none
	Group    []byte // "srv", "slot", "que", "res", "cmn", "spec"; nil of library lines
	Function []byte // "print_timing", "llama_model_loader"; nil when the line names none
	Message  []byte // what follows; of a line without function all of it
}

// Split takes a line apart.
func Split(b []byte) Line {
	var l Line
	if n := prefixLength(b); n > 0 {
		l.Prefixed, l.Level, b = true, b[n-2], b[n:]
	}
	l.Message = b
	head, rest, ok := bytes.Cut(b, []byte(": "))
	if !ok {
		if head, ok = bytes.CutSuffix(b, []byte(":")); !ok {
			return l
		}
		rest = nil
	}
	group, function, grouped := bytes.Cut(head, []byte(" "))
	if grouped {
		function = bytes.TrimLeft(function, " ")
		if !isGroup(group) || !isFunction(function) {
			return l
		}
		l.Group = group
	} else if function = head; !isFunction(function) {
		return l
	}
	l.Function, l.Message = function, rest
	return l
}

// prefixLength returns the length of "0.11.791.694 I " at the start of b, or 0.
func prefixLength(b []byte) int {
	n := digits(b)
	if n == 0 {
		return 0
	}
	for _, width := range [...]int{2, 3, 3} { // seconds, ms, µs; minutes come before
		if n+1+width > len(b) || b[n] != '.' || digits(b[n+1:]) != width {
			return 0
		}
		n += 1 + width
	}
	if len(b) < n+3 || b[n] != ' ' || b[n+2] != ' ' {
		return 0
	}
	switch b[n+1] {
	case 'D', 'I', 'W', 'E', 'T':
		return n + 3
	default:
		return 0
	}
}

func digits(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

// isGroup accepts the groups of the server's logger.
func isGroup(b []byte) bool {
	switch string(b) {
	case "srv", "slot", "que", "res", "cmn", "spec":
		return true
	default:
		return false
	}
}

// isFunction accepts names of C++ functions: "print_info", "~llama_context",
// "operator()", "llama_kv_cache_unified".
func isFunction(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("()"))
	if len(b) == 0 || len(b) > 64 {
		return false
	}
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case c >= '0' && c <= '9' && i > 0:
		case c == ':' && i > 0: // llama_server::init
		case c == '~' && i == 0:
		default:
			return false
		}
	}
	return true
}

// IsLoad tells whether the line is one of those that llama.cpp's library writes
// while it loads a model, makes a context or frees it, and reports no trouble. What
// the file says of itself is no trouble: templates speak of errors.
func (l *Line) IsLoad() bool {
	if l.Group != nil || l.Level == 'W' || l.Level == 'E' || !isLibrary(l.Function) {
		return false
	}
	return bytes.HasPrefix(l.Message, []byte("- kv ")) || !Troubled(l.Message)
}

func isLibrary(function []byte) bool {
	for _, prefix := range libraryPrefixes {
		if len(function) >= len(prefix) && string(function[:len(prefix)]) == prefix {
			return true
		}
	}
	switch string(function) {
	case "load", "main", "build", "alloc_compute_meta", "set_abort_callback", "sched_reserve", "resolve_fused_ops", "warmup",
		"graph_reserve", "create_tensor", "create_memory", "check_node_graph_compatibility_and_refresh_copy_ops",
		"init_tokenizer", "reserve_compute_meta", "system_info", "done_getting_tensors":
		return true
	default:
		return false
	}
}

// libraryPrefixes begin the names of functions of the library.
var libraryPrefixes = [...]string{
	"llama_", "~llama_", "llm_load_", "ggml_", "load_", "print_info", "common_", "clip_", "mtmd_", "gguf_", "get_key",
}

// Troubled tells whether a message without a level speaks of something that went wrong.
func Troubled(message []byte) bool {
	for _, word := range [...]string{"error", "Error", "ERROR", "fail", "Fail", "FAIL", "unable to ", "cannot ", "could not ", "abort", "exceed", "out of memory"} {
		if bytes.Contains(message, []byte(word)) {
			return true
		}
	}
	return false
}
