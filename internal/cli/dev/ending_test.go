package dev

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestEnding: who kills a node is told how it comes back.
func TestEnding(t *testing.T) {
	dead := &child{spec: spec{id: 2}, cmd: &exec.Cmd{}, log: &prefixed{}, err: errors.New("signal: killed")}
	for _, restart := range []bool{true, false} {
		c := &localCluster{restart: restart}
		if text := c.ending(dead); !strings.HasPrefix(text, "node 2 ended: signal: killed") || strings.Contains(text, "stays down") == restart {
			t.Errorf("restart %v: %s", restart, text)
		}
	}
}
