package config

import (
	"bytes"
	"errors"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
)

// Socket says where the agent should answer that was started with a file which is
// refused now: just then somebody asks for its status. It takes what stands in
// front of mistakes, and defaults for the rest.
func Socket(path string) string {
	c := Default()
	data, err := readOwn(path, maxFile, checkConfigMode)
	if err != nil {
		data = nil
	}
	var found struct {
		Agent struct {
			DataDir string `toml:"data_dir"`
		} `toml:"agent"`
		Admin struct {
			Socket string `toml:"socket"`
		} `toml:"admin"`
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for {
		wrong, is := errors.AsType[*toml.DecodeError](toml.Unmarshal(bytes.Join(lines, nil), &found))
		if !is {
			break
		}
		row, _ := wrong.Position()
		lines = lines[:max(0, min(row-1, len(lines)-1))]
	}
	if found.Agent.DataDir != "" {
		c.Agent.DataDir = found.Agent.DataDir
	}
	if found.Admin.Socket != "" {
		return found.Admin.Socket
	}
	return filepath.Join(c.Agent.DataDir, "admin.sock")
}
