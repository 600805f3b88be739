package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Listener returns the process that listens at the target's port, when that is
// of this host, in this network namespace, and its files under /proc may be
// read: those of other users may not without CAP_SYS_PTRACE. Otherwise, and when
// a proxy holds the port, the result is empty.
func (t Target) Listener() Process {
	if !t.Loopback() {
		return Process{}
	}
	sockets := listening(t.Port())
	if len(sockets) == 0 {
		return Process{}
	}
	var found Process
	var names []string
	for _, pid := range holders(sockets) {
		name, ticks, ok := readStat(pid)
		started, known := startTime(ticks)
		if !ok || !known || isProxy(name) {
			return Process{}
		}
		names = append(names, fmt.Sprintf("%d:%d", pid, ticks))
		if found.First.IsZero() || started.Before(found.First) {
			found.First = started
		}
		if started.After(found.Last) {
			found.Last = started
		}
	}
	slices.Sort(names)
	found.Identity = strings.Join(names, " ")
	return found
}

// listening returns the inodes of the sockets that listen at a port. The kernel
// lists them before all others (proc(5), /proc/net/tcp).
func listening(port uint16) (inodes []string) {
	suffix := fmt.Sprintf(":%04X", port)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Scan() // the heading
		for lines.Scan() {
			const local, state, inode, stateListen = 1, 3, 9, "0A"
			fields := strings.Fields(lines.Text())
			if len(fields) <= inode || fields[state] != stateListen {
				break
			}
			if strings.HasSuffix(fields[local], suffix) {
				inodes = append(inodes, "socket:["+fields[inode]+"]")
			}
		}
		_ = f.Close() // it was only read
	}
	return inodes
}

// holders returns the processes that have one of the sockets open.
func holders(sockets []string) (pids []int) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + process.Name() + "/fd"
		descriptors, err := os.ReadDir(dir)
		if err != nil {
			continue // gone, or somebody else's
		}
		for _, d := range descriptors {
			if to, err := os.Readlink(dir + "/" + d.Name()); err == nil && slices.Contains(sockets, to) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// readStat returns a process's name and when it started, in clock ticks since
// boot (proc_pid_stat(5), fields 2 and 22). The name may hold anything, even
// parentheses: the last one ends it.
func readStat(pid int) (name string, ticks int64, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if err != nil || open < 0 || end < open {
		return "", 0, false
	}
	const started = 22 - 3 // the first field behind the name is the third
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= started {
		return "", 0, false
	}
	ticks, err = strconv.ParseInt(fields[started], 10, 64)
	return string(data[open+1 : end]), ticks, err == nil
}

// startTime turns ticks since boot into wall time. Linux shows 100 ticks a
// second to programs on every system that this one is built for.
func startTime(ticks int64) (time.Time, bool) {
	data, err := os.ReadFile("/proc/uptime")
	now := time.Now()
	text, _, found := strings.Cut(string(data), " ")
	uptime, parseErr := strconv.ParseFloat(text, 64)
	if err != nil || !found || parseErr != nil {
		return time.Time{}, false
	}
	age := time.Duration(uptime*float64(time.Second)) - time.Duration(ticks)*(time.Second/100)
	return now.Add(-age).Truncate(10 * time.Millisecond), true
}

// proxies hold a port for somebody else, who may be started anew behind them.
const proxies = " docker-proxy rootlessport slirp4netns pasta conmon systemd init nginx haproxy envoy traefik caddy kube-proxy ssh sshd socat "

func isProxy(name string) bool { return strings.Contains(proxies, " "+name+" ") }
