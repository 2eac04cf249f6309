package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Listener is a place where the broker listens.
type Listener struct {
	Name     string // as configured, e.g. PLAINTEXT
	Protocol string // PLAINTEXT; the others are not built yet
	Host     string // never empty: an empty host in the settings is localhost
	Port     int    // 0 asks the system for a free one
	// Controller listeners serve the metadata quorum, not clients.
	Controller bool
	// Optional listeners were given by nobody: the node starts without one whose port
	// is taken.
	Optional bool
}

// String is the listener as Kafka writes it.
func (l Listener) String() string {
	return l.Name + "://" + net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
}

// Addresses are the addresses to bind, host:port. The first must succeed; a
// further one (::1 beside 127.0.0.1) may be missing on the machine, and takes the
// first one's port when the port is 0.
func (l Listener) Addresses() []string { return bindAddresses(l.Host, l.Port) }

// Loopback tells whether only this machine can reach the listener.
func (l Listener) Loopback() bool { return isLoopback(l.Host) }

// Endpoint is a host and a port that clients are told.
type Endpoint struct {
	Host string
	Port int
}

// String is host:port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// Voter is one controller of controller.quorum.voters, or of
// controller.quorum.bootstrap.servers, which tells no ID: -1.
type Voter struct {
	ID int32
	Endpoint
}

// String is the voter as the settings write it.
func (v Voter) String() string {
	if v.ID < 0 {
		return v.Endpoint.String()
	}
	return strconv.Itoa(int(v.ID)) + "@" + v.Endpoint.String()
}

// Listeners are all listeners, in the order of the settings.
func (c *Config) Listeners() []Listener { return slices.Clone(c.listens) }

// Advertised is what clients of a listener are told. ok is false when nothing was
// configured: they are then told the address that they connected to. Port 0
// stands for the port that the listener got.
func (c *Config) Advertised(listener string) (e Endpoint, ok bool) {
	e, ok = c.adverts[listener]
	return e, ok
}

// InterBrokerListener is the name of the listener that other brokers use.
func (c *Config) InterBrokerListener() string { return c.inter }

// Voters are the controllers to form a cluster with, and the setting that lists them.
// There are none when nothing is given; neither when the one that is given can only be
// this node, since it has no listener for others.
func (c *Config) Voters() (all []Voter, setting string) {
	listens := slices.ContainsFunc(c.listens, func(l Listener) bool { return l.Controller })
	if len(c.voters) == 1 && c.Controller() && !listens {
		return nil, c.setting
	}
	return slices.Clone(c.voters), c.setting
}

// Broker tells whether the process serves clients, Controller whether it may vote in
// the metadata quorum.
func (c *Config) Broker() bool     { return slices.Contains(c.List(ProcessRoles), "broker") }
func (c *Config) Controller() bool { return slices.Contains(c.List(ProcessRoles), "controller") }

// TakesNodeID tells that the node's id comes from the cluster that it joins, unless the
// data directory has one already.
func (c *Config) TakesNodeID() bool {
	return !c.IsSet("node.id") && (c.String(LeatJoin) != "" || !c.Controller())
}

// ControllerEndpoint is where other nodes reach this one's controller listener: what is
// advertised, or what it listens on. Port 0 stands for the port that it got. ok is false
// when there is none, or when it listens on every interface and advertises nothing.
func (c *Config) ControllerEndpoint() (e Endpoint, ok bool) {
	for _, l := range c.listens {
		if !l.Controller {
			continue
		}
		if e, ok := c.adverts[l.Name]; ok {
			return Endpoint{strings.ToLower(e.Host), e.Port}, true
		}
		return Endpoint{strings.ToLower(l.Host), l.Port}, !isWildcard(l.Host)
	}
	return Endpoint{}, false
}

// HTTPAddresses are the addresses of the HTTP door to bind, by the rules of
// Listener.Addresses; none when http.listen is empty.
func (c *Config) HTTPAddresses() []string {
	host, port, err := splitHostPort(c.String(HttpListen))
	if err != nil || c.String(HttpListen) == "" {
		return nil
	}
	return bindAddresses(host, port)
}

func bindAddresses(host string, port int) []string {
	p := strconv.Itoa(port)
	if strings.EqualFold(host, "localhost") {
		return []string{net.JoinHostPort("127.0.0.1", p), net.JoinHostPort("::1", p)}
	}
	return []string{net.JoinHostPort(host, p)}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Loopback tells of an address, HOST:PORT, that only this machine can reach.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}

// isWildcard tells of an address that means every interface.
func isWildcard(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsUnspecified()
}

// splitHostPort takes "host:port" apart; an empty host is localhost. An IPv6
// address stands in brackets.
func splitHostPort(s string) (host string, port int, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("no port in %q", s)
	}
	host = s[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, fmt.Errorf("%q is no IPv6 address", host)
		}
	} else if !hostName(host) {
		return "", 0, fmt.Errorf("%q is no host (an IPv6 address stands in brackets)", host)
	}
	p, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port, which is 0 to 65535", s[i+1:])
	}
	if host == "" {
		host = "localhost"
	}
	return host, int(p), nil
}

func hostName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._%", r)
	}) < 0
}

// where names the place a setting was given, for messages.
func (c *Config) where(name string) string { return c.static[name].where }

func (c *Config) refuse(name, value, reason, allowed string) error {
	return &Error{Name: name, Value: value, Where: c.where(name), Reason: reason, Allowed: allowed}
}

// parseListeners fills in everything that the settings about addresses say.
func (c *Config) parseListeners() ([]Warning, error) {
	protocols, err := c.protocolMap()
	if err != nil {
		return nil, err
	}
	var controllers []string
	for _, name := range c.List(ControllerListenerNames) {
		controllers = append(controllers, strings.ToUpper(name))
	}
	for _, text := range c.List(Listeners) {
		l, err := c.parseListener(string(Listeners), text, protocols)
		if err != nil {
			return nil, err
		}
		l.Controller = slices.Contains(controllers, l.Name)
		for _, o := range c.listens {
			if o.Name == l.Name {
				return nil, c.refuse(string(Listeners), text, "two listeners are called "+l.Name, "one listener per name")
			}
			if o.Port == l.Port && l.Port != 0 && clash(o.Host, l.Host) {
				return nil, c.refuse(string(Listeners), text, "port "+strconv.Itoa(l.Port)+" is used twice", "one listener per port")
			}
		}
		c.listens = append(c.listens, l)
	}
	c.defaultListeners(controllers, protocols)
	if err := c.checkRoles(); err != nil {
		return nil, err
	}
	if err := c.parseAdvertised(protocols); err != nil {
		return nil, err
	}
	if err := c.interBroker(); err != nil {
		return nil, err
	}
	if err := c.checkOthers(); err != nil {
		return nil, err
	}
	return c.checkExposure()
}

// checkOthers sees that no listener for clients is given for a controller's. That leat.join
// names the node itself is no fault here: one configuration may serve all nodes, and who is
// in the cluster already needs to join nobody. Who is not waits, and says so.
func (c *Config) checkOthers() error {
	for _, v := range c.voters {
		if l, ok := c.own(v.Host, v.Port); ok && !l.Controller {
			return c.refuseValue(c.setting, v.Endpoint.String()+" is this node's listener for clients, "+l.String(),
				"the addresses of controllers' listeners, such as "+c.values["controller.listener.names"].Text()+"://HOST:9093")
		}
	}
	return nil
}

// own finds the listener that an address is of, as far as that can be told without
// asking anybody.
func (c *Config) own(host string, port int) (Listener, bool) {
	for _, l := range c.listens {
		same := strings.EqualFold(l.Host, host) || isLoopback(host) && (isLoopback(l.Host) || isWildcard(l.Host))
		if e, ok := c.adverts[l.Name]; port > 0 && (same && l.Port == port || ok && strings.EqualFold(e.Host, host) && e.Port == port) {
			return l, true
		}
	}
	return Listener{}, false
}

// clash tells whether two hosts on one port get in each other's way; one IPv4 and
// one IPv6 address do not.
func clash(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX != nil || errY != nil || x.Is4() == y.Is4()
}

func (c *Config) parseListener(setting, text string, protocols map[string]string) (Listener, error) {
	name, address, ok := strings.Cut(text, "://")
	if !ok || name == "" {
		return Listener{}, c.refuse(setting, text, "this is no listener", "NAME://HOST:PORT, comma separated")
	}
	name = strings.ToUpper(name)
	host, port, err := splitHostPort(address)
	if err != nil {
		return Listener{}, c.refuse(setting, text, err.Error(), "NAME://HOST:PORT, comma separated")
	}
	protocol, ok := protocols[name]
	if !ok {
		return Listener{}, c.refuse(setting, text, "listener.security.protocol.map has no protocol for "+name,
			"a name that is in the map, or PLAINTEXT")
	}
	if protocol != "PLAINTEXT" {
		return Listener{}, c.refuse(setting, text, "the protocol "+protocol+" is not built yet", "PLAINTEXT")
	}
	return Listener{Name: name, Protocol: protocol, Host: host, Port: port}, nil
}

// protocolMap is listener.security.protocol.map. Controller listeners need no
// entry while the map is not given.
func (c *Config) protocolMap() (map[string]string, error) {
	const setting = "listener.security.protocol.map"
	protocols := map[string]string{}
	for _, pair := range strings.Split(c.String(ListenerSecurityProtocolMap), ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		i := strings.LastIndexByte(pair, ':')
		if i <= 0 {
			return nil, c.refuse(setting, pair, "this is no entry of a map", "NAME:PROTOCOL, comma separated")
		}
		name, protocol := strings.ToUpper(pair[:i]), strings.ToUpper(pair[i+1:])
		if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
			return nil, c.refuse(setting, pair, "there is no protocol "+protocol, "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")
		}
		protocols[name] = protocol
	}
	if !c.IsSet(setting) {
		for _, name := range c.List(ControllerListenerNames) {
			if _, ok := protocols[strings.ToUpper(name)]; !ok {
				protocols[strings.ToUpper(name)] = "PLAINTEXT"
			}
		}
	}
	return protocols, nil
}

// defaultListeners are those of a node to which none are given: by its roles, one for
// clients, and one for other nodes, which may be missing.
func (c *Config) defaultListeners(controllers []string, protocols map[string]string) {
	if c.IsSet(string(Listeners)) {
		return
	}
	if !c.Broker() {
		c.listens = nil
	}
	if c.Controller() && protocols[controllers[0]] == "PLAINTEXT" {
		c.listens = append(c.listens, Listener{
			Name: controllers[0], Protocol: "PLAINTEXT", Host: "localhost", Port: controllerPort, Controller: true, Optional: c.Broker(),
		})
	}
}

// The ports of listeners that nobody configured.
const (
	clientPort     = 9092
	controllerPort = 9093
)

// checkRoles sees that there are the listeners that the roles need, and no others.
func (c *Config) checkRoles() error {
	clients, others := 0, 0
	for _, l := range c.listens {
		if l.Controller {
			others++
		} else {
			clients++
		}
	}
	text := c.values["listeners"].Text()
	switch {
	case c.Broker() && clients == 0:
		return c.refuse(string(Listeners), text, "there is no listener for clients",
			"at least one that is not in controller.listener.names")
	case !c.Broker() && clients > 0:
		return c.refuse(string(Listeners), text, "a controller that is no broker has no listener for clients",
			"only those of controller.listener.names, "+c.values["controller.listener.names"].Text())
	case !c.Controller() && others > 0:
		return c.refuse(string(Listeners), text, "a broker that is no controller has no listener for controllers",
			"only those that are not in controller.listener.names")
	case c.Controller() && others == 0 && (len(c.voters) > 1 || !c.Broker() || c.String(LeatJoin) != ""):
		return c.refuse(string(Listeners), text, "other nodes could not reach this controller",
			"one of controller.listener.names, too, such as CONTROLLER://HOST:9093")
	}
	return nil
}

func (c *Config) parseAdvertised(protocols map[string]string) error {
	const setting = "advertised.listeners"
	c.adverts = map[string]Endpoint{}
	for _, text := range c.List(AdvertisedListeners) {
		a, err := c.parseListener(setting, text, protocols)
		if err != nil {
			return err
		}
		if isWildcard(a.Host) {
			return c.refuse(setting, text, "no client can connect to "+a.Host,
				"an address of this machine; or leave it out, and clients are told the address that they connected to")
		}
		if !slices.ContainsFunc(c.listens, func(l Listener) bool { return l.Name == a.Name }) {
			return c.refuse(setting, text, "there is no listener called "+a.Name, "the names in listeners")
		}
		if _, twice := c.adverts[a.Name]; twice {
			return c.refuse(setting, text, a.Name+" is advertised twice", "one address per listener")
		}
		c.adverts[a.Name] = Endpoint{Host: a.Host, Port: a.Port}
	}
	return nil
}

// interBroker finds the listener that other brokers use.
func (c *Config) interBroker() error {
	const setting = "inter.broker.listener.name"
	want := strings.ToUpper(c.String(InterBrokerListenerName))
	if !c.Broker() {
		return nil
	}
	for _, l := range c.listens {
		if !l.Controller && (want == "" || l.Name == want) {
			c.inter = l.Name
			return nil
		}
	}
	return c.refuse(setting, want, "there is no such listener for clients", "the names in listeners")
}

// checkExposure refuses what other machines could reach without TLS and
// authentication, unless insecure says that this is meant.
func (c *Config) checkExposure() ([]Warning, error) {
	type door struct{ setting, text, host string }
	var doors []door
	for _, l := range c.listens {
		doors = append(doors, door{string(Listeners), l.String(), l.Host})
	}
	if text := c.String(HttpListen); text != "" {
		host, port, err := splitHostPort(text)
		if err != nil {
			return nil, c.refuse(string(HttpListen), text, err.Error(), "HOST:PORT, or nothing for no HTTP at all")
		}
		doors = append(doors, door{string(HttpListen), net.JoinHostPort(host, strconv.Itoa(port)), host})
	}
	var warns []Warning
	for _, d := range doors {
		if isLoopback(d.host) {
			continue
		}
		if !c.Bool(Insecure) {
			return nil, c.refuse(d.setting, d.text, "other machines could reach this without TLS and authentication",
				"a loopback address such as 127.0.0.1, or insecure=true (leat serve --insecure) if that is meant")
		}
		warns = append(warns, Warning{Kind: Exposed, Name: d.setting,
			Text: d.text + " is open to other machines without TLS and authentication (insecure=true)"})
	}
	return warns, nil
}

// WithNodeID is the configuration of a node that got its id from elsewhere than the
// settings: from its data directory, or from the cluster that it joins.
func (c *Config) WithNodeID(id int32, where string) *Config {
	next := *c
	next.static = maps.Clone(c.static)
	next.static[string(NodeId)] = setting{text: strconv.Itoa(int(id)), where: where}
	next.values = resolve(next.static, next.cluster, next.broker)
	return &next
}
