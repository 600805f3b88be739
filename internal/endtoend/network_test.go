package endtoend

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/proxytest"
	"github.com/auditail/auditail/internal/s3test"
)

var (
	networkTime = flag.Duration("network.time", 15*time.Second, "how long TestBadNetwork hurts connections and kills servers")
	networkSeed = flag.Uint64("network.seed", 1, "seed of TestBadNetwork")
)

// phase is how long the network of a long run is bad twice, and then good once.
const phase = 15 * time.Second

// TestBadNetwork: an agent ships to two servers over one bucket, and has its log
// cosigned by them, through a network that cuts, mutes, throttles and refuses
// connections on both ways, to the servers and from them to the store, while the
// servers are killed. In the end every line is there once, no object was written
// twice, and the archive verifies.
func TestBadNetwork(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	store := s3test.Start(t, s3test.Options{})
	store.MakeBucket(t, "central-audit", true)
	toStore := proxytest.Start(t, store.Address)
	names := []string{"central-1", "central-2"}
	listen := []string{freeAddress(t), freeAddress(t)}
	toServers := proxytest.Start(t, listen...)

	s := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", toServers.Address))
	s.write("secret", store.Root.SecretKey)
	sample, err := os.ReadFile("../../configs/auditail-server-s3.toml")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		s.write(name+".toml", strings.NewReplacer(
			"s3://acme-audit/v1", "s3://central-audit/v1", "/var/lib/auditail-server/state", s.path(name), "central-1", name,
			"127.0.0.1:8443", listen[i], "https://s3.eu-central-1.amazonaws.com", "http://"+toStore.Address,
			"# witness_key = \"/etc/auditail/witness.key\"", "witness_key = \""+s.path("witness.key")+"\"",
			"# access_key = \"AKIA…\"", "access_key = \""+store.Root.AccessKey+"\"",
			"# secret_key = { credential = \"s3-secret\" }", "secret_key = { file = \""+s.path("secret")+"\" }",
			"# region = \"eu-central-1\"", "region = \""+s3test.Region+"\"",
		).Replace(string(sample)))
	}
	s.shareWitness(names[0])
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	s.run("auditail-server", "enroll", "--config", s.path(names[0]+".toml"), "--key", s.trust(), "--token-file", s.path("token"))
	witness := s.witnessOf(names[0])
	config, err := os.ReadFile(s.path("auditail.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("auditail.toml", string(config)+"[[witness]]\nurl = \"http://"+toServers.Address+"/v1/witness\"\nvkey = \""+witness+"\"\n")

	servers := make([]*process, len(names))
	run := func(i int) {
		servers[i] = s.start("auditail-server", "run", "--config", s.path(names[i]+".toml"))
	}
	for i := range servers {
		run(i)
		servers[i].logged("listening")
	}
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	random := rand.New(rand.NewPCG(*networkSeed, 2))
	toServers.Hurt(*networkSeed, 0.5)
	toStore.Hurt(*networkSeed+1, 0.2)
	lines, kills, starts, kill := 0, 0, 0, 10
	if *networkTime > time.Minute {
		kill = 60 // a server that lives for seconds does nothing: each start asks the store some twenty times
	}
	// Long runs write as many lines as short ones: what is tried is the network.
	most := max(10, int(2000*15*time.Second / *networkTime))
	report, good := time.Now(), false
	for began := time.Now(); time.Since(began) < *networkTime; {
		if time.Since(report) > time.Minute {
			report = time.Now()
			t.Logf("%d lines, %d kills, %d connections hurt, %d objects stored", lines, kills, toServers.Hurts()+toStore.Hurts(), store.Count(t, "central-audit", "v1/"))
		}
		// A network that is never good is an outage. In long runs it is for a while.
		if now := int(time.Since(began)/phase)%3 == 2; now != good {
			if good = now; good {
				toServers.Heal()
				toStore.Heal()
			} else {
				toServers.Hurt(random.Uint64(), 0.5)
				toStore.Hurt(random.Uint64(), 0.2)
			}
		}
		n := most/10 + random.IntN(most)
		appendTo(t, s.path("logs/access.log"), accessLines(lines, n))
		lines += n
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond) // the network is bad for so long
		if random.IntN(10) == 0 && !good {
			toServers.Hurt(random.Uint64(), 0.5) // ends connections that were spared
		}
		if i := random.IntN(len(servers)); random.IntN(kill) == 0 {
			servers[i].end()
			kills++
			run(i)
		}
		for i, p := range servers { // a service manager starts what did not find its store
			select {
			case <-p.done:
				starts++
				run(i)
			default:
			}
		}
	}
	toServers.Heal()
	toStore.Heal()
	for i := range servers { // one that could not start while the store was away has ended
		servers[i].end()
		run(i)
		servers[i].logged("listening")
	}
	t.Logf("%d lines, %d kills of a server, %d starts without a store, connections hurt to the servers %v and to the store %v", lines, kills, starts, toServers.ByKind(), toStore.ByKind())
	if toServers.Hurts()+toStore.Hurts() < 10 || kills == 0 {
		t.Error("hardly anything was hurt")
	}
	agent.terminate(patience)
	s.run("auditail", "run", "--once", "--timeout", "30m", "--config", s.path("auditail.toml")) // what was not taken in time
	archive := s.path("central")
	for path, content := range store.Files(t, "central-audit", "v1/") {
		name := filepath.Join(archive, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := s.read(archive)
	wantLines(t, c, lines)
	s.verify(archive, "--expect-size", fmt.Sprint(c.batches))
	t.Logf("%d batches, each once; the archive verifies", c.batches)
	if cosigned, err := filepath.Glob(filepath.Join(archive, "seals", agentID, "0001", "cosignature", "*")); err != nil || len(cosigned) == 0 {
		t.Errorf("%d heads were cosigned, %v", len(cosigned), err)
	}
	own := store.Files(t, "central-audit", "v1.server/")
	for _, id := range []string{"central-1", "central-1.operator"} {
		if _, ok := own[id+"/seals/"+id+"/0001/000000000000.manifest"]; !ok {
			t.Errorf("the log of %s is not in the bucket", id)
		}
	}
	if out := s.run("auditail-server", "agents", "--config", s.path(names[1]+".toml")); strings.Contains(out, "FORKED") || strings.Contains(out, "owed") {
		t.Errorf("the servers took a fault for a fork:\n%s", out)
	}
}

// end kills a process unless it has ended by itself: a server that finds its bucket
// away at the start says so and stops.
func (p *process) end() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.done
}

// shareWitness makes the key that all servers cosign with.
func (s *site) shareWitness(name string) {
	s.t.Helper()
	store := s.path("throwaway")
	if err := os.Mkdir(store, 0o750); err != nil {
		s.t.Fatal(err)
	}
	s.run("auditail-server", "witness", "--store", store, "--organization", "audit.example.com", "--id", name)
	key, err := os.ReadFile(store + ".state/witness.key")
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("witness.key", string(key))
}

// witnessOf returns the verifier key that a server's configuration leads to.
func (s *site) witnessOf(name string) string {
	s.t.Helper()
	for field := range strings.FieldsSeq(s.run("auditail-server", "witness", "--config", s.path(name+".toml"))) {
		if strings.Count(field, "+") >= 2 {
			return field
		}
	}
	s.t.Fatal("no verifier key")
	return ""
}
