package agent

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/auditail/auditail/internal/durable"
)

// Host is where the agent runs, as every record names it.
type Host struct {
	ID   string
	Name string
}

// FindHost returns the host: its id is a hash of the machine id, so that the
// machine id itself, which other software treats as a secret, is not spread.
// A system without one gets a random id, kept under dataDir.
func FindHost(fsys durable.FS, dataDir string) (Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return Host{}, fmt.Errorf("find host name: %w", err)
	}
	if machine, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(machine))) >= 32 {
		return Host{ID: hostID(machine), Name: name}, nil
	}
	path := filepath.Join(dataDir, "host-id")
	data, err := durable.ReadFile(fsys, path, 256)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + "\n")
		err = durable.WriteFile(fsys, path, data, 0o600)
	}
	if err != nil {
		return Host{}, fmt.Errorf("find host id: %w", err)
	}
	return Host{ID: hostID(data), Name: name}, nil
}

func hostID(secret []byte) string {
	sum := sha256.Sum256(append([]byte("auditail/host-id@v1\n"), strings.TrimSpace(string(secret))...))
	return "h-" + hex.EncodeToString(sum[:6])
}

// Boot returns the boot id and the uptime in seconds; "-" and 0 on a system
// that does not tell them.
func Boot() (id string, uptime uint64) {
	id = "-"
	if data, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		id = strings.TrimSpace(string(data))
	}
	if data, err := os.ReadFile("/proc/uptime"); err == nil {
		whole, _, _ := strings.Cut(string(data), ".")
		uptime, _ = strconv.ParseUint(whole, 10, 64)
	}
	return id, uptime
}
