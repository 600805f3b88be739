package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/admin"
)

// measure notes on the page what stands beyond its right edge: a phone shows that
// only to who scrolls sideways.
const measure = `<script>setTimeout(() => {
  const out = [...document.querySelectorAll("body *")].filter(e => e.tagName !== "PRE" && (e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline" && e.clientWidth > 0));
  document.body.dataset.beyond = out.map(e => e.tagName + "." + e.className).join(" ") || "nothing";
}, 1500)</script>`

// phone is the page as a phone has it: a window of the browser is never narrower
// than 500.
const phone = `<iframe src="/" width="390" height="844" style="border:0"></iframe><script>setInterval(() => {
  const inner = document.querySelector("iframe");
  document.body.dataset.width = inner.contentWindow.innerWidth;
  document.body.dataset.beyond = inner.contentDocument.body.dataset.beyond;
}, 200)</script>`

// browse returns the page as a browser of this width has it after its scripts ran.
func browse(t *testing.T, url, size string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=4000", "--window-size="+size, "--dump-dom", url)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium (apt-get install chromium): %v\n%s", err, stderr.String())
	}
	return string(dom)
}

// worst is a status with everything a page may have to show, names and errors that
// are long or look like markup among it.
func worst() admin.Status {
	s := sample()
	long := strings.Repeat("https://a-very-long-name.example.com/", 6)
	s.Outputs[0].Error = `Put "` + long + `": <img src=x onerror="document.title='broken'"> connection refused`
	s.Alerts = append(s.Alerts, admin.Alert{Level: admin.Critical, Part: "output central", Text: s.Outputs[0].Error, Since: began})
	s.Models[0].ID, s.Models[0].Revision = "hf:meta-llama/Llama-3.1-8B-Instruct", strings.Repeat("0e9e39f2", 5)
	return s
}

// The page shows all of the status at the width of a desktop and of a phone, and
// takes nothing of it for markup.
func TestPageInBrowser(t *testing.T) {
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(strings.Replace(string(page), "</body>", measure+"</body>", 1)))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s := worst()
		_ = json.NewEncoder(w).Encode(&s)
	})
	mux.HandleFunc("GET /phone", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(phone))
	})
	measured := httptest.NewServer(mux)
	t.Cleanup(measured.Close)
	// As it is served, its own content security policy included.
	_, served := start(t, admin.Settings{}, admin.Deps{Status: worst})
	for _, path := range []string{"/", "/phone"} {
		dom := browse(t, measured.URL+path, "1440,900")
		if path == "/phone" && !strings.Contains(dom, `data-width="390"`) {
			t.Error("the phone is not as narrow as it should be")
		}
		if !strings.Contains(dom, `data-beyond="nothing"`) {
			_, beyond, _ := strings.Cut(dom, "data-beyond=")
			t.Errorf("%s: stands beyond its box: %s", path, beyond[:min(len(beyond), 200)])
		}
	}
	dom := browse(t, served+"/", "1440,900")
	for _, want := range []string{"audit.example.com/gpu-07", "needs you now", "vllm", "output central: ", "1.0 MiB", "&lt;img src=x"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(dom, "<img") || strings.Contains(dom, "<title>broken") {
		t.Error("text of the status became markup")
	}
}
