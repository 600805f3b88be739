package main

import (
	"strings"
	"testing"
)

// No path of another system is left in what is written on Windows.
func TestConfigTextForWindows(t *testing.T) {
	text := forSystem("windows", string((&look{}).text()))
	if strings.Contains(text, "/var/") || strings.Contains(text, `"/etc/`) {
		t.Errorf("it has a path of Unix:\n%s", text)
	}
	for _, line := range []string{`# data_dir = 'C:\ProgramData\auditail\data' ## buffer`, `# paths = ['C:\logs\vllm\*.log']`, `# token = { file = 'C:\ProgramData\auditail\token' }`} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("it has no line %s", line)
		}
	}
}
