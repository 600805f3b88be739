package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/pprof"
	"time"

	"github.com/auditail/auditail/internal/metrics"
)

// openHandler serves what anybody on the host may see.
func (s *Server) openHandler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /status", s.status)
	return mux
}

// socketHandler adds what is for the agent's user.
func (s *Server) socketHandler() *http.ServeMux {
	mux := s.openHandler()
	mux.HandleFunc("GET /tap", s.tap)
	mux.HandleFunc("POST /reload", s.reload)
	mux.HandleFunc("GET /profile/{name}", s.profile)
	mux.HandleFunc("GET /log", s.selfLog)
	return mux
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.deps.Status())
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	status := s.deps.Status()
	var page metrics.Page
	writeMetrics(&page, &status)
	w.Header().Set("Content-Type", metrics.ContentType)
	_, _ = w.Write(page.Bytes()) // the client went away
}

// health answers for the process: as long as it answers, it lives.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, "ok")
}

// ready answers for the work: lines come in and batches get out.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	status := s.deps.Status()
	code, text := http.StatusOK, "ready"
	if why := s.notReady(&status); why != "" {
		code, text = http.StatusServiceUnavailable, why
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// notReady returns why the agent does not do its work; empty when it does.
func (s *Server) notReady(status *Status) string {
	if !status.Ready {
		return "not ready: the inputs do not run yet"
	}
	for _, a := range status.Alerts {
		if a.Level == Critical {
			return "not ready: " + a.Part + ": " + a.Text
		}
	}
	if age := status.OldestUnacknowledged(); s.settings.ReadyAge > 0 && age > s.settings.ReadyAge {
		return fmt.Sprintf("not ready: the oldest record that an output has not acknowledged is %s old, more than admin.ready_age %s",
			age.Round(time.Second), s.settings.ReadyAge)
	}
	return ""
}

// reload waits for the answer: the generation that runs, or why it is the old one.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.deps.Reload == nil {
		writeJSON(w, http.StatusNotImplemented, Reloaded{Error: "this agent does not reload: restart it"})
		return
	}
	generation, err := s.deps.Reload(r.Context())
	answer := Reloaded{Generation: generation}
	code := http.StatusOK
	if err != nil {
		answer.Error, code = err.Error(), http.StatusUnprocessableEntity
	}
	writeJSON(w, code, answer)
}

// Reloaded is the answer to POST /reload.
type Reloaded struct {
	Generation int    `json:"generation"`
	Error      string `json:"error,omitempty"`
}

// cpuProfileTime is what a profile of the processor takes.
const cpuProfileTime = 5 * time.Second

// profile serves a profile of the process in the format of pprof.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	name := r.PathValue("name")
	if name == "cpu" {
		if err := pprof.StartCPUProfile(w); err != nil {
			http.Error(w, "a profile is under way: "+err.Error(), http.StatusConflict)
			return
		}
		defer pprof.StopCPUProfile()
		select {
		case <-time.After(cpuProfileTime):
		case <-r.Context().Done():
		}
		return
	}
	p := pprof.Lookup(name)
	if p == nil {
		http.Error(w, "there is no profile of this name: cpu, heap, goroutine, allocs, mutex, block", http.StatusNotFound)
		return
	}
	_ = p.WriteTo(w, 0) // the client went away
}

// selfLog serves the newest lines that the agent wrote about itself.
func (s *Server) selfLog(w http.ResponseWriter, _ *http.Request) {
	if s.deps.SelfLog == nil {
		http.Error(w, "this agent keeps no lines of its own log", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = w.Write(s.deps.SelfLog()) // the client went away
}

func writeJSON(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the client went away
}
