package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/config"
)

// What TOML writes means the same: it is read back to the same configuration, and
// writes the same again.
func TestShownConfigurationIsReadBack(t *testing.T) {
	for _, pattern := range []string{"testdata/good/*.toml", "../../configs/*.toml"} {
		each(t, pattern, 3, func(t *testing.T, file string, data []byte) {
			if strings.HasPrefix(filepath.Base(file), "auditail-server") {
				return // of another program
			}
			c, err := config.Parse(filepath.Base(file), data)
			if err != nil {
				t.Fatal(err)
			}
			shown := c.TOML()
			again, err := config.Parse("shown.toml", []byte(shown))
			if err != nil {
				t.Fatalf("%v\n%s", err, shown)
			}
			if diff := cmp.Diff(string(c.JSON()), string(again.JSON())); diff != "" {
				t.Errorf("(-file +shown):\n%s", diff)
			}
			if diff := cmp.Diff(shown, again.TOML()); diff != "" {
				t.Errorf("(-shown +shown again):\n%s", diff)
			}
		})
	}
}

func TestShownConfiguration(t *testing.T) {
	shown := parse(t, `
[agent]
id = "gpu-07"
data_dir = "/srv/a"
[admin]
ready_age = "0s"
[[inputs.file]]
name = "gateway"
paths = ["/g\\w/\"*\".jsonl"]
[inputs.file.parser]
type = "json"
[inputs.file.parser.fields]
"time" = { from = "ts", layout = "unix_ms" }
"actor.id" = "user.id"
[[outputs.http]]
name = "central"
url = "https://audit.example.com"
token = { env = "AUDITAIL_TOKEN" }
`).TOML()
	for _, want := range []string{
		"[agent]\nid           = \"gpu-07\"\n",
		`paths       = ["/g\\w/\"*\".jsonl"]`,
		"[inputs.file.parser]\ntype   = \"json\"\n",
		`{ "time" = { from = ["ts"], layout = "unix_ms" }, "actor.id" = ["user", "id"] }`,
		`{ env = "AUDITAIL_TOKEN" }`,
		`{ file = "/srv/a/capture.key" }`,
		`ready_age = "0ms"`,
		"[retention]\nstandard = \"184d\"\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
}
