package config

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

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
	return adminSocket(runtime.GOOS, c.Agent.DataDir)
}

// pipePrefix begins the name of every named pipe of Windows.
const pipePrefix = `\\.\pipe\`

// adminSocket is where an agent answers unless its configuration says otherwise. On
// Windows that is a named pipe, whose name the data_dir makes the agent's own; there
// case and kind of slash do not tell two folders apart.
func adminSocket(system, dataDir string) string {
	if system != "windows" {
		return filepath.Join(dataDir, "admin.sock")
	}
	folder := strings.ToLower(strings.ReplaceAll(dataDir, "/", `\`))
	return fmt.Sprintf("%sauditail-%.8x", pipePrefix, sha256.Sum256([]byte(strings.TrimRight(folder, `\`))))
}

// checkAdminSocket tells what is wrong with a path that the configuration names.
func checkAdminSocket(system, path string) error {
	if system == "windows" && (!strings.HasPrefix(path, pipePrefix) || strings.Contains(path[len(pipePrefix):], `\`) || len(path) == len(pipePrefix)) {
		return fmt.Errorf(`admin.socket is a named pipe on Windows: %sauditail, or leave it out`, pipePrefix)
	}
	return nil
}
