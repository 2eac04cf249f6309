package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that is started, ended and started again with the same output
// file. It dies with the test that started it.
type Process struct {
	Name   string
	Argv   []string
	Dir    string
	Env    []string // beyond the test's own, without what begins with LEAT_
	Output string   // the file that standard output and error are appended to

	mu   sync.Mutex
	cmd  *exec.Cmd
	dead chan struct{} // closed when cmd has been waited for
}

// Start starts the process and does not wait for it.
func (p *Process) Start() error {
	if err := os.MkdirAll(filepath.Dir(p.Output), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(p.Output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = append(environment(), p.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	dead := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.dead = cmd, dead
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait() // the exit status is read from ProcessState
		close(dead)
	}()
	return nil
}

// environment is this process's without what steers the tests: to Leat, every
// variable that begins with LEAT_ is a setting.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LEAT_") })
}

// PID is the process's id, or 0 when none was started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Dead is closed once the process has ended.
func (p *Process) Dead() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Alive tells whether the process runs.
func (p *Process) Alive() bool {
	dead := p.Dead()
	if dead == nil {
		return false
	}
	select {
	case <-dead:
		return false
	default:
		return true
	}
}

// State tells how the process ended.
func (p *Process) State() *os.ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState
}

// Signal sends a signal to the process; one that has ended takes none.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the process by SIGKILL and waits for its end.
func (p *Process) Kill() error { return p.End(syscall.SIGKILL, 30*time.Second) }

// End ends the process by a signal and waits for its end; one that has not ended
// within limit is killed and is an error.
func (p *Process) End(sig syscall.Signal, limit time.Duration) error {
	if p.PID() == 0 {
		return nil
	}
	if err := p.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.Dead():
		return nil
	case <-time.After(limit):
		_ = p.Signal(syscall.SIGKILL)
		<-p.Dead()
		return fmt.Errorf("%s did not end within %v of %v", p.Name, limit, sig)
	}
}

// Tail is the end of what the process wrote.
func (p *Process) Tail() string {
	text, _ := os.ReadFile(p.Output) // what is missing is empty
	return tail(text, 4000)
}
