// Package packaging_test keeps what is handed to other systems true: manifests
// parse, confine the agent, and carry a configuration that it takes.
package packaging_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v2"

	"github.com/auditail/auditail/internal/config"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// object is what these tests look at of a Kubernetes object.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Data       map[string]string
	Spec       struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
				Containers                   []container
				Volumes                      []struct{ Name string }
			}
		}
	}
}

type container struct {
	Args            []string
	ReadinessProbe  probe `yaml:"readinessProbe"`
	LivenessProbe   probe `yaml:"livenessProbe"`
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Privileged               bool
		Capabilities             struct{ Add, Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Host, Port, Path string } `yaml:"httpGet"`
}

// mounted tells the name of the volume that a path lies in.
func (c *container) mounted(path string) (volume string) {
	best := 0
	for _, m := range c.VolumeMounts {
		if strings.HasPrefix(path, m.MountPath+"/") && len(m.MountPath) > best {
			best, volume = len(m.MountPath), m.Name
		}
	}
	return volume
}

func objects(t *testing.T, text string) (list []object) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
}

func TestKubernetes(t *testing.T) {
	sample := sampleOf(t)
	for name, text := range map[string]string{
		"manifest":      read(t, "kubernetes/auditail.yaml"),
		"chart":         render(t, nil),
		"chart, digest": render(t, func(v map[string]any) { v["image"].(map[any]any)["digest"] = "sha256:abc"; v["secretName"] = "" }),
	} {
		t.Run(name, func(t *testing.T) {
			kinds := map[string]object{}
			for _, o := range objects(t, text) {
				if o.APIVersion == "" {
					t.Error("an object has no apiVersion")
				}
				kinds[o.Kind] = o
			}
			cfg, err := config.Parse("auditail.toml", []byte(kinds["ConfigMap"].Data["auditail.toml"]))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := cfg.JSON(), sample.JSON(); !bytes.Equal(got, want) {
				t.Errorf("the configuration is another than configs/kubernetes.toml:\n%s\n%s", got, want)
			}
			checkPod(t, kinds["DaemonSet"])
			pod := kinds["DaemonSet"].Spec.Template.Spec.Containers[0]
			checkPaths(t, cfg, &pod, name != "chart, digest")
			checkPod(t, kinds["DaemonSet"])
		})
	}
}

// sampleOf is the sample that explains the configuration, with the output that it
// shows commented out.
func sampleOf(t *testing.T) *config.Config {
	t.Helper()
	text := regexp.MustCompile(`(?m)^# ([a-z_\[])`).ReplaceAllString(read(t, "../configs/kubernetes.toml"), "$1")
	cfg, err := config.Parse("kubernetes.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// checkPaths holds what the configuration names against what the pod has.
func checkPaths(t *testing.T, cfg *config.Config, c *container, secret bool) {
	t.Helper()
	wants := map[string]string{cfg.Agent.DataDir + "/keys": "data"}
	if secret {
		wants[cfg.Outputs.HTTP[0].Token.File] = "secret"
	}
	for _, in := range cfg.Inputs.File {
		wants[in.Paths[0]] = "logs"
	}
	if len(c.Args) != 3 || c.Args[0] != "run" || !strings.HasSuffix(c.Args[2], "/auditail.toml") {
		t.Fatalf("the container runs %q", c.Args)
	}
	wants[c.Args[2]] = "config"
	for path, volume := range wants {
		if got := c.mounted(path); got != volume {
			t.Errorf("%s lies in the volume %q, want %q", path, got, volume)
		}
	}
	for path, p := range map[string]probe{"/readyz": c.ReadinessProbe, "/healthz": c.LivenessProbe} {
		if p.HTTPGet.Path != path || net.JoinHostPort(p.HTTPGet.Host, p.HTTPGet.Port) != cfg.Admin.Listen {
			t.Errorf("the kubelet asks %+v, and the agent answers at %s", p.HTTPGet, cfg.Admin.Listen)
		}
	}
}

func checkPod(t *testing.T, set object) {
	t.Helper()
	for label, value := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Metadata.Labels[label] != value {
			t.Errorf("the selector wants %s=%s, the pods have another", label, value)
		}
	}
	pod := set.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Fatal("not one container without a token of the API server")
	}
	c := pod.Containers[0]
	s := c.SecurityContext
	if s.Privileged || !s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		len(s.Capabilities.Add) > 0 || strings.Join(s.Capabilities.Drop, " ") != "ALL" {
		t.Errorf("the container is not confined: %+v", s)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("nothing is mounted as %s", m.Name)
		}
		if !m.ReadOnly && m.Name != "data" {
			t.Errorf("%s may be written", m.Name)
		}
	}
}

// render does what helm does with the functions that the chart uses.
func render(t *testing.T, change func(values map[string]any)) string {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(read(t, "helm/auditail/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(values)
	}
	funcs := template.FuncMap{
		"indent": func(n int, s string) string {
			pad := strings.Repeat(" ", n)
			return pad + strings.ReplaceAll(s, "\n", "\n"+pad)
		},
		"sha256sum": func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		},
		"toJson": func(v any) (string, error) {
			data, err := json.Marshal(plain(v))
			return string(data), err
		},
	}
	chart, err := template.New("chart").Funcs(funcs).Option("missingkey=error").Parse(read(t, "helm/auditail/templates/auditail.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = chart.Execute(&out, map[string]any{"Values": values, "Release": map[string]any{"Name": "auditail", "Namespace": "audit"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// plain gives JSON the kind of map that it takes.
func plain(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for key, value := range v {
			m[key.(string)] = plain(value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// The image runs as nobody who could write to it.
func TestContainer(t *testing.T) {
	text := read(t, "container/Containerfile")
	for _, want := range []string{"\nUSER 65532:65532\n", ":nonroot AS base", `ENTRYPOINT ["/usr/bin/auditail"]`, `ENTRYPOINT ["/usr/bin/auditail-server"]`} {
		if !strings.Contains(text, want) {
			t.Errorf("the image has no %q", want)
		}
	}
}
