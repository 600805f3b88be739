package probe

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ollama: docs/api.md, GET /api/tags. The digest is the SHA-256 of the model's
// manifest; modified_at is when that was written, by pull, create or copy,
// which all happen while the server runs.
func (a *asking) ollama(ctx context.Context) (Answer, error) {
	var tags struct {
		Models []struct {
			Name     string    `json:"name"`
			Digest   string    `json:"digest"`
			Modified time.Time `json:"modified_at"`
		} `json:"models"`
	}
	if err := a.get(ctx, "/api/tags", &tags); err != nil {
		return Answer{}, err
	}
	var models []Model
	for _, tag := range tags.Models {
		m := Model{Name: tag.Name, Modified: tag.Modified}
		if IsSHA256(tag.Digest) {
			m.Digest = "manifest-sha256:" + tag.Digest
		}
		name, found := strings.CutSuffix(tag.Name, ":latest")
		if found {
			m.Aliases = append(m.Aliases, name) // what no tag is asked for means
		}
		m.ID = hubModel(name)
		models = append(models, m)
	}
	return Answer{Server: string(Ollama), Version: a.version(ctx, "/api/version"), Models: models}, nil
}

// hubModel identifies models that Ollama pulled from the Hugging Face hub.
func hubModel(name string) string {
	for _, host := range []string{"hf.co/", "huggingface.co/"} {
		if model, found := strings.CutPrefix(name, host); found {
			model, _, _ = strings.Cut(model, ":")
			if IsHubName(model) {
				return "hf:" + model
			}
		}
	}
	return ""
}

// server is what servers of the KServe v2 protocol answer to /v2
// (specification/protocol/inference_rest.md, Server Metadata).
type server struct {
	Version string `json:"version"`
}

// repository asks for the index of the model-repository extension: what is
// ready now. (Triton: docs/protocol/extension_model_repository.md)
func (a *asking) repository(ctx context.Context) ([]Model, error) {
	var index []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		State   string `json:"state"`
	}
	if err := a.call(ctx, http.MethodPost, "/v2/repository/index", []byte(`{"ready":true}`), &index); err != nil {
		return nil, err
	}
	versions := map[string][]string{}
	var names []string
	for _, entry := range index {
		if entry.State != "" && entry.State != "READY" {
			continue
		}
		if versions[entry.Name] == nil {
			names = append(names, entry.Name)
		}
		versions[entry.Name] = append(versions[entry.Name], entry.Version)
	}
	models := make([]Model, 0, len(names))
	for _, name := range names {
		models = append(models, Model{Name: name, Version: only(versions[name])})
	}
	return models, nil
}

// only returns the version of a model that is served in one: of several, the
// server's policy chooses, which it does not tell.
func only(versions []string) string {
	if len(versions) == 1 {
		return versions[0]
	}
	return ""
}

func (a *asking) triton(ctx context.Context) (Answer, error) {
	models, err := a.repository(ctx)
	if err != nil {
		return Answer{}, err
	}
	var self server
	if err := a.get(ctx, "/v2", &self); err != nil {
		self = server{}
	}
	return Answer{Server: string(Triton), Version: self.Version, Models: models}, nil
}

// kserve asks servers of the protocol without the repository extension for
// their list, and for what is configured, one by one.
func (a *asking) kserve(ctx context.Context) (Answer, error) {
	var self server
	if err := a.get(ctx, "/v2", &self); err != nil && !missing(err) {
		return Answer{}, err
	}
	answer := Answer{Server: string(KServe), Version: self.Version}
	models, err := a.repository(ctx)
	if err == nil || !missing(err) {
		answer.Models = models
		return answer, err
	}
	var list struct {
		Models []string `json:"models"`
	}
	if err := a.get(ctx, "/v2/models", &list); err != nil && !missing(err) {
		return Answer{}, err
	}
	answer.Models, err = a.each(union(list.Models, a.question.Names), func(name string) (Model, error) {
		var metadata struct {
			Versions []string `json:"versions"`
		}
		err := a.get(ctx, "/v2/models/"+url.PathEscape(name), &metadata)
		return Model{Name: name, Version: only(metadata.Versions)}, err
	})
	return answer, err
}

// torchserve: docs/management_api.md, List models and Describe model, which
// answers for the default version.
func (a *asking) torchserve(ctx context.Context) (Answer, error) {
	var list struct {
		Models []struct {
			Name string `json:"modelName"`
		} `json:"models"`
	}
	if err := a.get(ctx, "/models?limit="+strconv.Itoa(maxNames), &list); err != nil {
		return Answer{}, err
	}
	var names []string
	for _, m := range list.Models {
		names = append(names, m.Name)
	}
	models, err := a.each(union(a.question.Names, names), func(name string) (Model, error) {
		var described []struct {
			Version string `json:"modelVersion"`
		}
		err := a.get(ctx, "/models/"+url.PathEscape(name), &described)
		m := Model{Name: name}
		if len(described) == 1 {
			m.Version = described[0].Version
		}
		return m, err
	})
	return Answer{Server: string(TorchServe), Models: models}, err
}

// tensorflow: tensorflow_serving/g3doc/api_rest.md, Model status API. There is
// no list: it is asked for the configured names. A call without a version goes
// to the highest one that is available.
func (a *asking) tensorflow(ctx context.Context) (Answer, error) {
	models, err := a.each(a.question.Names, func(name string) (Model, error) {
		var status struct {
			Versions []struct {
				Version string `json:"version"`
				State   string `json:"state"`
			} `json:"model_version_status"`
		}
		err := a.get(ctx, "/v1/models/"+url.PathEscape(name), &status)
		highest := int64(-1)
		for _, v := range status.Versions {
			if n, err := strconv.ParseInt(v.Version, 10, 64); err == nil && v.State == "AVAILABLE" {
				highest = max(highest, n)
			}
		}
		m := Model{Name: name}
		if err == nil && highest < 0 {
			m.Name = "" // none can be asked now
		}
		if highest >= 0 {
			m.Version = strconv.FormatInt(highest, 10)
		}
		return m, err
	})
	return Answer{Server: string(TensorFlowServing), Models: models}, err
}

// each asks for names one by one. A name the server does not know is not served.
func (a *asking) each(names []string, ask func(name string) (Model, error)) ([]Model, error) {
	var models []Model
	for _, name := range names[:min(len(names), maxNames)] {
		if text(name) == "" || name == "." || name == ".." {
			continue
		}
		m, err := ask(name)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, nil
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
