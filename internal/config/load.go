package config

import (
	"fmt"
	"io"
	"strings"
)

// Sources are the places a configuration comes from, weakest first: the defaults,
// the file, the environment, the command line.
type Sources struct {
	// File is a Java properties file; nil when there is none.
	File io.Reader
	// FileName stands for the file in messages.
	FileName string
	// Env is the environment as os.Environ gives it; only LEAT_* is looked at.
	Env []string
	// Sets are "name=value" of the command line, in order; the last of a name wins.
	Sets []string
	// Route tells the address of this machine that leads to a host, on which a node
	// listens that joins a cluster and was given no listeners. Nil: on loopback.
	Route func(host string) (address string, err error)
	// Recall reads what a node that joined has kept of Config.Place in its data directory,
	// and the name of that file; nothing where there is none. It counts for a start that
	// says nothing of the node's place itself. Nil: nothing is recalled.
	Recall func(dataDir string) (content []byte, name string, err error)
}

// The strength of a source.
const (
	layerDerived = iota // from other settings
	layerRecalled
	layerFile
	layerEnv
	layerSet
)

// WarningKind says what a warning is about.
type WarningKind int8

const (
	// Unknown names are in no table; they are kept and reported by DescribeConfigs, as Kafka does.
	Unknown WarningKind = iota
	// Removed names belong to releases before Kafka 4.
	Removed
	// Inert settings were given another value than the default and change nothing.
	Inert
	// Ignored dynamic values are no longer valid.
	Ignored
	// Exposed listeners are reachable from other machines without TLS and authentication.
	Exposed
	// Recalled is where a node that joined goes by what it was told before.
	Recalled
)

// Warning is something a person should read once at the start.
type Warning struct {
	Kind WarningKind
	Name string
	Text string // one line, the name not repeated
}

func (w Warning) String() string { return w.Name + ": " + w.Text }

// Error is a setting that stops the start. Its text is one line.
type Error struct {
	Name, Value string
	Where       string // file and line, variable or flag; "" for a default
	Reason      string // what is wrong
	Allowed     string // what would be accepted
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	if e.Value != "" {
		b.WriteString("=" + oneLine(e.Value))
	}
	if e.Where != "" {
		b.WriteString(" (" + e.Where + ")")
	}
	b.WriteString(": " + e.Reason)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	return b.String()
}

// oneLine keeps a value from breaking a message: control characters are escaped
// and what is longer than 120 bytes is cut.
func oneLine(s string) string {
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

type loader struct {
	static  map[string]setting
	unknown map[string]string
	warns   []Warning
}

// Load reads the sources and resolves them. The error is an *Error, or one of
// reading the file. The warnings are valid in both cases.
func Load(src Sources) (*Config, []Warning, error) {
	l := &loader{static: map[string]setting{}, unknown: map[string]string{}}
	if err := l.file(src); err != nil {
		return nil, l.warns, err
	}
	if err := l.env(src.Env); err != nil {
		return nil, l.warns, err
	}
	for _, kv := range src.Sets {
		name, text, ok := strings.Cut(kv, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, l.warns, &Error{Name: "--set", Value: kv, Reason: "this is no setting", Allowed: "NAME=VALUE"}
		}
		if err := l.take(strings.TrimSpace(name), text, "--set", layerSet); err != nil {
			return nil, l.warns, err
		}
	}
	if err := l.recall(src); err != nil {
		return nil, l.warns, err
	}
	if err := l.unify(); err != nil {
		return nil, l.warns, err
	}
	if err := l.listenTowards(src.Route); err != nil {
		return nil, l.warns, err
	}
	c := &Config{static: l.static, unknown: l.unknown, values: resolve(l.static, nil, nil)}
	if err := c.checkTogether(); err != nil {
		return nil, l.warns, err
	}
	exposed, err := c.parseListeners()
	return c, append(l.warns, exposed...), err
}

// listenTowards gives listeners to a node that joins and has none: on the address of
// this machine that leads to the node that it joins.
func (l *loader) listenTowards(route func(string) (string, error)) error {
	join := l.static[string(LeatJoin)]
	if _, given := l.static[string(Listeners)]; given || join.text == "" || route == nil {
		return nil
	}
	host, _, err := splitHostPort(join.text)
	if err != nil {
		return err // it was checked
	}
	address, err := route(host)
	if err != nil {
		return &Error{Name: string(LeatJoin), Value: join.text, Where: join.where,
			Reason: "no address of this machine leads there: " + err.Error(), Allowed: "a host that can be reached, or listeners of your own"}
	}
	roles := BrokerDef(string(ProcessRoles)).Default
	if s, ok := l.static[string(ProcessRoles)]; ok {
		roles = s.text
	}
	var all []string
	if strings.Contains(roles, "broker") {
		all = append(all, Listener{Name: "PLAINTEXT", Host: address, Port: clientPort}.String())
	}
	if strings.Contains(roles, "controller") {
		name := BrokerDef(string(ControllerListenerNames)).Default
		if s, ok := l.static[string(ControllerListenerNames)]; ok {
			name, _, _ = strings.Cut(s.text, ",")
		}
		all = append(all, Listener{Name: strings.TrimSpace(name), Host: address, Port: controllerPort}.String())
	}
	where := "towards " + host
	if join.layer == layerRecalled {
		where += ", " + join.where
	}
	l.static[string(Listeners)] = setting{text: strings.Join(all, ","), where: where}
	return nil
}

func (l *loader) file(src Sources) error {
	if src.File == nil {
		return nil
	}
	name := src.FileName
	if name == "" {
		name = "file"
	}
	props, err := ParseProperties(src.File)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range props {
		if err := l.take(p.Key, p.Value, fmt.Sprintf("%s line %d", name, p.Line), layerFile); err != nil {
			return err
		}
	}
	return nil
}

// take checks one given setting and keeps it.
func (l *loader) take(name, text, where string, layer int) error {
	d := BrokerDef(name)
	if d == nil {
		return l.takeStranger(name, text, where)
	}
	v, err := d.Parse(text)
	if err != nil {
		return startError(d, text, where, err)
	}
	if d.Effect == NotBuilt && v.Text() != d.defaultValue().Text() {
		allowed := "only the default, " + d.Default
		if d.Null || d.Default == "" {
			allowed = "no value"
		}
		if d.Sensitive() {
			text = "[hidden]"
		}
		return &Error{Name: name, Value: text, Where: where, Reason: "this is not built yet", Allowed: allowed}
	}
	if d.Effect == NoEffect && v.Text() != d.defaultValue().Text() {
		l.warns = append(l.warns, Warning{Kind: Inert, Name: name, Text: "accepted without effect: " + d.Doc})
	}
	for _, other := range sameThing(name) {
		if s, ok := l.static[other]; ok && s.layer < layer {
			delete(l.static, other)
		}
	}
	l.static[name] = setting{text: text, where: where, layer: layer}
	return nil
}

// takeStranger deals with a name that no table has: a listener's own setting, a
// name of an older release, or a misspelt one.
func (l *loader) takeStranger(name, text, where string) error {
	if rest, ok := strings.CutPrefix(name, "listener.name."); ok {
		if _, base, ok := strings.Cut(rest, "."); ok {
			return l.takeListenerSetting(name, base, text, where)
		}
	}
	if why, ok := removedNames[name]; ok || strings.HasPrefix(name, "zookeeper.") {
		if !ok {
			why = "ZooKeeper is not needed"
		}
		l.warns = append(l.warns, Warning{Kind: Removed, Name: name, Text: "ignored: " + why})
		return nil
	}
	hint := ""
	if near := nearest(name); near != "" {
		hint = "; did you mean " + near + "?"
	}
	l.warns = append(l.warns, Warning{Kind: Unknown, Name: name, Text: "no such setting (" + where + ")" + hint})
	l.unknown[name] = text
	return nil
}

// takeListenerSetting deals with listener.name.<listener>.<setting>. The
// listener's name and SASL mechanism precede the setting's own name.
func (l *loader) takeListenerSetting(name, base, text, where string) error {
	d := BrokerDef(base)
	for d == nil && strings.Contains(base, ".") {
		_, base, _ = strings.Cut(base, ".")
		d = BrokerDef(base)
	}
	switch {
	case d == nil:
		l.warns = append(l.warns, Warning{Kind: Unknown, Name: name, Text: "no such setting (" + where + ")"})
		l.unknown[name] = text
		return nil
	case d.Effect == NotBuilt:
		if v, err := d.Parse(text); err == nil && v.Text() == d.defaultValue().Text() {
			return nil
		}
		if d.Sensitive() {
			text = "[hidden]"
		}
		return &Error{Name: name, Value: text, Where: where, Reason: "this is not built yet", Allowed: "no value"}
	}
	l.warns = append(l.warns, Warning{Kind: Inert, Name: name, Text: "settings of one listener are not built; use " + d.Name})
	return nil
}

func startError(d *Def, text, where string, err error) error {
	if d.Sensitive() {
		text = "[hidden]"
	}
	reason := err.Error()
	if ve, ok := err.(*ValueError); ok && ve.Reason != "" {
		reason = ve.Reason
	}
	return &Error{Name: d.Name, Value: text, Where: where, Reason: reason, Allowed: d.Allowed()}
}

// sameThing lists the other names of a setting.
func sameThing(name string) []string {
	switch name {
	case "node.id":
		return []string{"broker.id"}
	case "broker.id":
		return []string{"node.id"}
	case "log.dirs":
		return []string{"log.dir"}
	case "log.dir":
		return []string{"log.dirs"}
	}
	var others []string
	for _, n := range brokerGroup(name) {
		if n != name {
			others = append(others, n)
		}
	}
	return others
}

// unify lets the older names stand for the newer ones.
func (l *loader) unify() error {
	if b, ok := l.static["broker.id"]; ok {
		n, both := l.static["node.id"]
		if both && strings.TrimSpace(n.text) != strings.TrimSpace(b.text) {
			return &Error{Name: "broker.id", Value: b.text, Where: b.where,
				Reason: "it is another name of node.id, which is " + n.text, Allowed: "the same value, or node.id alone"}
		}
		if err := l.take("node.id", b.text, b.where, b.layer); err != nil {
			return err
		}
		l.static["broker.id"] = b
	} else if n, ok := l.static["node.id"]; ok {
		l.static["broker.id"] = n
	}
	return nil
}
