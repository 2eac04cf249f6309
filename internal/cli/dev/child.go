package dev

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a node that runs as a process of its own. It stops when this process ends,
// however that ends: its standard input is a pipe of which this process holds the end.
type child struct {
	spec
	cmd  *exec.Cmd
	in   io.Closer
	log  *prefixed
	done chan struct{} // closed when it has ended
	err  error         // how; set before done
}

// startChild runs program with the node's arguments. Each line that it logs goes to show.
func startChild(program string, s spec, args []string, show func(line string)) (*child, error) {
	c := &child{spec: s, log: &prefixed{show: show}, done: make(chan struct{})}
	c.cmd = exec.Command(program, args...)
	c.cmd.Stderr = c.log
	// Ctrl-C in a terminal goes to this process alone, which stops the nodes in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = time.Second
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		c.log.flush()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// running tells whether the process has not ended.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// how tells how it ended: with what it said last, when it failed by itself.
func (c *child) how() string {
	if c.err == nil {
		return "exit code 0"
	}
	text := c.err.Error()
	if last := c.log.lastLine(); c.cmd.ProcessState != nil && c.cmd.ProcessState.Exited() && last != "" {
		text += ": " + strings.TrimPrefix(last, "leat: ")
	}
	return text
}

// stop ends the node in order, or at once when that takes longer than patience. It tells
// whether the end was in order.
func (c *child) stop(patience time.Duration) bool {
	if !c.running() {
		return true
	}
	// A process that has just ended takes no signal; done is closed then.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_ = c.in.Close()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	return false
}

// maxLine is the most of a line that is held back for its end.
const maxLine = 64 << 10

// prefixed cuts what a process writes into lines.
type prefixed struct {
	show func(line string)

	mu   sync.Mutex
	part []byte
	last string
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		line, rest, ok := bytes.Cut(p.part, []byte{'\n'})
		if !ok {
			break
		}
		p.tell(line)
		p.part = rest
	}
	if len(p.part) > maxLine {
		p.tell(p.part)
		p.part = nil
	}
	p.part = bytes.Clone(p.part)
	return len(b), nil
}

func (p *prefixed) tell(line []byte) {
	p.last = string(line)
	p.show(p.last)
}

// flush tells a last line that has no end.
func (p *prefixed) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.part) > 0 {
		p.tell(p.part)
		p.part = nil
	}
}

func (p *prefixed) lastLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
