package redistest

import (
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const masterName = "main"

// Sentinel is a master and its replica, watched by three sentinels.
type Sentinel struct {
	// Servers are the two servers with data, the initial master first.
	Servers []*Server
	// Sentinels are the three sentinels that watch Servers.
	Sentinels []*Server

	t testing.TB
}

// StartSentinel runs a master, a replica and three sentinels, and returns when
// the replica is synchronised and every sentinel knows all other sentinels.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	return startSentinel(t, nil)
}

// StartSentinelTLS is StartSentinel with TLS. Each server and each sentinel has its own
// loopback address and a certificate for only this address, and requires a certificate of its
// clients.
func StartSentinelTLS(t testing.TB, a *Authority) *Sentinel {
	t.Helper()
	return startSentinel(t, a)
}

func startSentinel(t testing.TB, a *Authority) *Sentinel {
	t.Helper()
	began := time.Now()
	master, config := newMember(t, a, plainKind, tlsKind, 0)
	master.start(append(config, "replica-announce-ip "+master.host)...)
	replica, config := newMember(t, a, plainKind, tlsKind, 1)
	replica.start(append(config, "replica-announce-ip "+replica.host, "replicaof "+master.host+" "+strconv.Itoa(master.port))...)
	// A sentinel asks the master for its replicas at once, and then only after a while. So the replica must be known to
	// the master before the sentinels start.
	replica.await(began, replicaSynced)
	master.await(began, masterSynced)

	g := &Sentinel{t: t, Servers: []*Server{master, replica}}
	monitor := []string{
		"sentinel monitor " + masterName + " " + master.host + " " + strconv.Itoa(master.port) + " 2",
		"sentinel down-after-milliseconds " + masterName + " 1000",
		// A failover that fails is tried again after twice this time, in milliseconds.
		"sentinel failover-timeout " + masterName + " 3000",
	}
	for i := range 3 {
		s, config := newMember(t, a, sentinelKind, tlsSentinel, i+2)
		s.start(append(append(config, "sentinel announce-ip "+s.host), monitor...)...)
		// Sentinels find each other by messages that they publish every PUBLISH-PERIOD, by default every two seconds.
		// They wait for four of these periods before they make a former master a replica. They ask for a server's state
		// every INFO-PERIOD, by default every ten seconds. The INFO-PERIOD must not be less than a second: sentinels
		// ask a replica whose master is down only once a second, and a state that is three periods old counts as
		// unknown.
		s.Do("SENTINEL", "DEBUG", "PUBLISH-PERIOD", "200", "INFO-PERIOD", "1000")
		g.Sentinels = append(g.Sentinels, s)
	}
	for _, s := range g.Sentinels {
		s.await(began, `\+slave slave `)
		s.await(began, `\+sentinel sentinel `, `\+sentinel sentinel `)
	}
	return g
}

// URL returns the address for a client, with all three sentinels:
// redis+sentinel://host:port?master_name=main&addr=host:port&addr=host:port.
func (g *Sentinel) URL() string {
	return manyURL("sentinel", g.Sentinels, url.Values{"master_name": {masterName}})
}

// Master returns the server that the sentinels name as the master.
func (g *Sentinel) Master() *Server {
	g.t.Helper()
	reply := anyAnswering(g.t, g.Sentinels).Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
	addr := strings.Replace(reply, "\n", ":", 1)
	for _, s := range g.Servers {
		if s.Addr() == addr {
			return s
		}
	}
	g.t.Fatalf("redistest: the sentinels name a master that is none of theirs: %s", reply)
	return nil
}

// Failover makes the sentinels promote the replica. It returns when all of them know the new
// master, and the former master is a synchronised replica. Until then, for about a second, the
// former master accepts writes that will be lost. A former master that was killed must have
// been restarted.
func (g *Sentinel) Failover() {
	g.t.Helper()
	former := g.Master()
	replica := g.replicaOf(former)
	if err := g.awaitInquiries(replica); err != nil {
		g.t.Fatalf("redistest: wait for the sentinels to ask %s for its state: %v", replica.Addr(), err)
	}
	began := time.Now()
	// On a busy machine a sentinel may already have begun a failover by itself. Then this command fails, but the
	// failover happens.
	sentinel := anyAnswering(g.t, g.Sentinels)
	if _, err := sentinel.Try("SENTINEL", "FAILOVER", masterName); err != nil && !strings.HasPrefix(err.Error(), "INPROG") {
		g.t.Fatalf("redistest: %s: %v", sentinel.Addr(), err)
	}
	g.awaitSwitch(began, former)
	former.await(began, replicaSynced)
}

// KillMaster ends the master like a crash. It returns the former master when all sentinels have promoted the replica.
// There is no replica until the former master is restarted.
func (g *Sentinel) KillMaster() (former *Server) {
	g.t.Helper()
	former = g.Master()
	g.replicaOf(former)
	former.Kill()
	g.awaitSwitch(former.gone, former)
	return former
}

// replicaOf returns the server that is not the master, and waits until it has all data of the master.
func (g *Sentinel) replicaOf(master *Server) *Server {
	g.t.Helper()
	replica := g.Servers[0]
	if replica == master {
		replica = g.Servers[1]
	}
	replica.await(replica.began, replicaSynced)
	return replica
}

// awaitInquiries waits until every sentinel has asked a server for its state. A server that becomes a replica closes
// the sentinels' connections. Until the sentinels have connected again, after up to a second, they do not accept the
// server as a possible master. The change also closes the connection by which this package watches the sentinels'
// requests, so the watch begins again.
func (g *Sentinel) awaitInquiries(s *Server) (err error) {
	for range 5 {
		if err = g.watchInquiries(s); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return err
		}
	}
	return err
}

func (g *Sentinel) watchInquiries(s *Server) error {
	conn, replies, err := s.send("MONITOR")
	if err != nil {
		return err
	}
	defer conn.Close()
	var sentinels int
	for _, sentinel := range g.Sentinels {
		if sentinel.answers() {
			sentinels++
		}
	}
	for asked := make(map[string]bool); len(asked) < sentinels; {
		line, err := decode(replies) // a line such as: 1795447413.397131 [0 127.0.0.1:50034] "INFO"
		if err != nil {
			return err
		}
		if client, ok := strings.CutSuffix(line, `] "INFO"`); ok {
			asked[client[strings.LastIndex(client, " ")+1:]] = true
		}
	}
	return nil
}

func (g *Sentinel) awaitSwitch(since time.Time, former *Server) {
	g.t.Helper()
	for _, s := range g.Sentinels {
		if s.answers() {
			s.await(since, `\+switch-master `+masterName+` `+former.host+` `+strconv.Itoa(former.port)+` `)
		}
	}
}
