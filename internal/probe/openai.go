package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// modelList is what servers with OpenAI's API answer to /v1/models.
// vLLM: vllm/entrypoints/openai/protocol.py, ModelCard.
type modelList struct {
	Data []struct {
		ID     string `json:"id"`
		Root   string `json:"root"`
		Parent string `json:"parent"`
	} `json:"data"`
}

// models returns the cards of a list. A card with a parent is an adapter: its
// weights are those of the parent with something added.
func (l *modelList) models() []Model {
	roots := map[string]string{}
	for _, card := range l.Data {
		roots[card.ID] = card.Root
	}
	var models []Model
	for _, card := range l.Data {
		m := Model{Name: card.ID}
		if card.Parent == "" {
			m.ID, m.Revision = Identify(card.Root)
		} else {
			m.ID, m.Revision = Identify(roots[card.Parent])
			m.Adapter = card.ID
			if id, revision := Identify(card.Root); id != "" {
				m.Adapter = id
				if revision != "" {
					m.Adapter += "@" + revision
				}
			}
		}
		models = append(models, m)
	}
	return models
}

func (a *asking) vllm(ctx context.Context) (Answer, error) {
	var list modelList
	if err := a.get(ctx, "/v1/models", &list); err != nil {
		return Answer{}, err
	}
	return Answer{Server: string(VLLM), Version: a.version(ctx, "/version"), Models: list.models(), Single: true}, nil
}

// version asks a server that tells its version under a path of its own. One
// that does not answer there is still known by its models.
func (a *asking) version(ctx context.Context, path string) string {
	var answer struct {
		Version string `json:"version"`
	}
	if err := a.get(ctx, path, &answer); err != nil {
		return ""
	}
	return answer.Version
}

// sglang never asks /server_info: its answer can hold the API key.
// sglang/srt/entrypoints/http_server.py, model_info.
func (a *asking) sglang(ctx context.Context) (Answer, error) {
	var info struct {
		ModelPath     string `json:"model_path"`
		WeightVersion string `json:"weight_version"`
	}
	err := a.get(ctx, "/model_info", &info)
	if missing(err) {
		err = a.get(ctx, "/get_model_info", &info) // before 0.5.4
	}
	if err != nil {
		return Answer{}, err
	}
	var list modelList
	if err := a.get(ctx, "/v1/models", &list); err != nil {
		return Answer{}, err
	}
	models := list.models()
	for i := range models {
		m := &models[i]
		if m.Adapter == "" || m.ID == "" {
			m.ID, m.Revision = Identify(info.ModelPath)
		}
		if info.WeightVersion != "default" {
			m.Version = info.WeightVersion
		}
	}
	return Answer{Server: string(SGLang), Models: models, Single: true}, nil
}

// tgi: router/src/lib.rs, Info. The OpenAI-style calls of TGI take any name,
// by habit "tgi".
func (a *asking) tgi(ctx context.Context) (Answer, error) {
	var info struct {
		ModelID    string `json:"model_id"`
		ModelSHA   string `json:"model_sha"`
		ModelDType string `json:"model_dtype"`
		Version    string `json:"version"`
	}
	if err := a.get(ctx, "/info", &info); err != nil {
		return Answer{}, err
	}
	m := Model{Name: info.ModelID, Aliases: []string{"tgi"}}
	m.ID, m.Revision = Identify(info.ModelID)
	if IsCommit(info.ModelSHA) {
		m.Revision = info.ModelSHA
	}
	if info.ModelDType != "" {
		m.Config = settings("dtype", info.ModelDType)
	}
	return Answer{Server: string(TGI), Version: info.Version, Models: []Model{m}, Single: true}, nil
}

// llamacpp: tools/server/README.md, GET /props and GET /v1/models. The server
// takes any name in a call and answers with its one model.
func (a *asking) llamacpp(ctx context.Context) (Answer, error) {
	var props struct {
		ModelPath    string `json:"model_path"`
		ModelAlias   string `json:"model_alias"`
		ChatTemplate string `json:"chat_template"`
		BuildInfo    string `json:"build_info"`
	}
	if err := a.get(ctx, "/props", &props); err != nil {
		return Answer{}, err
	}
	var list modelList
	if err := a.get(ctx, "/v1/models", &list); err != nil {
		return Answer{}, err
	}
	models := list.models()
	if len(models) == 1 {
		m := &models[0]
		m.ID, m.Revision = Identify(props.ModelPath)
		if props.ModelAlias != "" {
			m.Aliases = append(m.Aliases, props.ModelAlias)
		}
		if props.ChatTemplate != "" {
			m.Config = settings("chat_template", props.ChatTemplate)
		}
	}
	return Answer{Server: string(LlamaCPP), Version: props.BuildInfo, Models: models, Single: true}, nil
}

// settings is the digest of one serving setting: SHA-256 of "name=value".
func settings(name, value string) string {
	sum := sha256.Sum256([]byte(name + "=" + value))
	return "sha256:" + hex.EncodeToString(sum[:])
}
