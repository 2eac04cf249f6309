package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// placeSettings say where a node is in its cluster. A node that joined is started again
// without them: it goes by those that it had.
var placeSettings = []string{
	string(LeatJoin), string(ProcessRoles), string(Listeners), string(AdvertisedListeners), string(ListenerSecurityProtocolMap),
	string(ControllerListenerNames), string(InterBrokerListenerName), string(HttpListen),
}

// PlaceFile is where a node keeps its Place, in its data directory.
const PlaceFile = "joined"

// Place are the settings that say where a node that joined is, as a properties file for a
// later Load to recall; nil for one that was not told to join.
func (c *Config) Place() []byte {
	if c.String(LeatJoin) == "" {
		return nil
	}
	b := bytes.NewBufferString("# What this node was told of its place in the cluster when it was last started with leat.join. A start without\n" +
		"# leat.join, listeners or a list of controllers goes by it.\n")
	for _, name := range placeSettings {
		if s, ok := c.static[name]; ok && s.layer != layerDerived {
			fmt.Fprintf(b, "%s=%s\n", name, strings.ReplaceAll(s.text, `\`, `\\`))
		}
	}
	return b.Bytes()
}

// recall takes what a node that joined was told before, unless this start says where it is.
func (l *loader) recall(src Sources) error {
	for _, name := range []string{string(LeatJoin), string(Listeners), string(ControllerQuorumVoters), string(ControllerQuorumBootstrapServers)} {
		if _, given := l.static[name]; given || src.Recall == nil {
			return nil
		}
	}
	c := &Config{static: l.static, values: resolve(l.static, nil, nil)}
	if err := c.checkDirs(); err != nil {
		return err
	}
	content, name, err := src.Recall(c.DataDir())
	if err != nil || len(content) == 0 {
		return err
	}
	props, err := ParseProperties(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range props {
		if _, given := l.static[p.Key]; given || !slices.Contains(placeSettings, p.Key) {
			continue
		}
		if err := l.take(p.Key, p.Value, "remembered in "+name, layerRecalled); err != nil {
			return err
		}
	}
	if join, ok := l.static[string(LeatJoin)]; ok {
		l.warns = append(l.warns, Warning{Kind: Recalled, Name: string(LeatJoin), Text: "as before, " + oneLine(join.text) + " (" + join.where + ")"})
	}
	return nil
}
