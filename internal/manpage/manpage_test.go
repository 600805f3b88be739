package manpage_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/manpage"
)

func TestWrite(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Do it", Long: "Does it.\n\n  indented \\ text\n\n.hidden", Version: "v1"}
	run := func(*cobra.Command, []string) {}
	job := &cobra.Command{Use: "job FILE", Short: "Do a job", Run: run, Example: "  tool job x"}
	job.Flags().StringP("config", "c", "/etc/tool", "`file` to read")
	root.AddCommand(job, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	var page strings.Builder
	if err := manpage.Write(&page, root, 8); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		".TH TOOL 8 \"\" \"tool v1\"", "tool \\- Do it\n", ".nf\n  indented \\e text\n.fi\n", "\n\\&.hidden\n",
		".SS tool job FILE [flags]\n", "\\fB\\-c\\fR, \\fB\\-\\-config\\fR \\fIfile\\fR\nfile to read (default /etc/tool)\n",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, page.String())
		}
	}
	if strings.Contains(page.String(), "secret") {
		t.Error("a hidden command is shown")
	}
	if runtime.GOOS != "linux" {
		return
	}
	if groff, err := exec.LookPath("groff"); err == nil { // read by the real thing where there is one
		cmd := exec.Command(groff, "-man", "-Tutf8", "-ww")
		cmd.Stdin = strings.NewReader(page.String())
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "warning") {
			t.Errorf("groff: %v\n%s", err, out)
		}
	}
}
