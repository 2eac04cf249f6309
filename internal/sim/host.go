package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
)

// Doors by listener name.
const (
	ClientDoor     = "PLAINTEXT"
	ControllerDoor = "CONTROLLER"
)

// Process is what runs on a host: one node. A crash just drops it.
type Process interface {
	// Start begins; done is told nil when the node serves, or why it never will.
	Start(done func(error))
	API() *api.Server
}

// Host is a machine of the world: one of a node, with a disk, or of a client.
type Host struct {
	w    *World
	Name string
	// Node is the id that its node is started with; -1 for clients.
	Node  int32
	Clock *hostClock
	Exec  env.Exec
	Disk  *env.Disk
	Rand  *rand.Rand
	// Boot makes the process, with the host's fields as they are now.
	Boot func(h *Host) (Process, error)

	Process Process
	Serving bool // Start has told that it serves
	BootID  string
	part    *env.Part
	life    int // grows with each death
	boots   int
	paused  bool
	held    []func()
	flipped bool     // bits of its disk were changed
	wiped   bool     // its disk was replaced by an empty one, and it has not served since
	doors   []string // listeners that it has; nil: all
	// unreadable: reads of its disk failed once, which is damage to whoever met it.
	unreadable bool
	garbles    float64 // chance of records that it sends to other nodes to be changed
	dark       bool    // without power: nothing answers
	out        bool    // somebody works on the machine: nothing starts its node
	// syncDelay puts off what the node's disk loops do.
	syncDelay time.Duration
	syncTime  time.Duration // what a sync takes at most on a good day
}

// AddHost makes a host; nothing runs on it.
func (w *World) AddHost(name string, node int32) *Host {
	h := &Host{w: w, Name: name, Node: node, Rand: w.Stream("host " + name), BootID: name + "-boot-0"}
	h.Clock = &hostClock{h: h, start: w.Start, rate: 1}
	h.newLife()
	w.hosts = append(w.hosts, h)
	w.byName[name] = h
	if node >= 0 {
		h.Disk = env.NewDisk(h.Rand.Uint64())
		h.Disk.SetClock(h.Clock)
	}
	return h
}

func (h *Host) newLife() {
	h.life++
	h.part = h.w.Exec.Part(h.Name)
	h.Exec = &hostExec{h: h, part: h.part, life: h.life}
	h.paused, h.held = false, nil
}

// Address is where a door of the host is reached.
func (h *Host) Address(door string) string {
	if door == ControllerDoor {
		return h.Name + ":9093"
	}
	return h.Name + ":9092"
}

// Up tells whether a process runs.
func (h *Host) Up() bool { return h.Process != nil }

// do lets something happen on the host: not when the life that it belongs to is over,
// later when it is paused.
func (h *Host) do(life int, what string, f func()) {
	if h.life != life {
		return
	}
	if h.paused {
		h.held = append(h.held, func() { h.do(life, what, f) })
		return
	}
	h.w.touched = h
	if h.w.traced {
		h.w.Tracef("%s %s", h.Name, what)
	}
	f()
}

// Start boots the host's process.
func (h *Host) Start() {
	if h.Process != nil {
		panic("sim: started twice")
	}
	h.boots++
	h.dark = false
	h.w.Tracef("%s starts", h.Name)
	p, err := h.Boot(h)
	if h.Disk.Crashed() {
		if err == nil {
			h.Process = p
		}
		h.goDark()
		return
	}
	if err != nil {
		h.w.Tracef("%s did not start: %v", h.Name, err)
		h.w.Count["start refused"]++
		disk := h.Disk.KillClone()
		h.end()
		h.Disk = disk
		h.w.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
		return
	}
	life := h.life
	h.Process = p
	p.Start(func(err error) {
		if h.life != life {
			return
		}
		h.w.Tracef("%s serves: %v", h.Name, err)
		if err != nil {
			h.w.Count["start failed"]++
			h.Exec.Go("end", func() {
				h.Kill()
				h.w.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
			})
			return
		}
		h.Serving, h.wiped = true, false
	})
}

func (h *Host) startIfDown() {
	if !h.Up() && !h.out {
		h.Start()
	}
}

// end takes the process down without a trace of it on the host's own side.
func (h *Host) end() {
	h.part.Drop()
	h.w.Ending(h)
	h.Process, h.Serving = nil, false
	h.Disk.PowerOff() // what still holds the old disk cannot change anything
	h.newLife()
}

// Kill ends the process as kill -9 does: what it wrote is there, its connections break.
func (h *Host) Kill() {
	h.w.Tracef("%s is killed", h.Name)
	disk := h.Disk.KillClone()
	h.end()
	h.Disk = disk
	h.w.die(h, false)
}

// Crash ends the host as a power cut does: what was not synced may be lost, and nobody
// is told.
func (h *Host) Crash() {
	h.w.Tracef("%s crashes", h.Name)
	disk := h.Disk.CrashClone(h.Rand)
	h.end()
	h.Disk, h.dark = disk, true
	h.BootID = fmt.Sprintf("%s-boot-%d", h.Name, h.boots)
	h.w.die(h, true)
}

// goDark ends a host whose power was cut in the middle of what it did; it comes back.
func (h *Host) goDark() {
	h.w.Count["power cut at a write"]++
	h.Crash()
	h.w.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
}

// Pause stops the process in its tracks, as SIGSTOP does; Resume lets it go on.
func (h *Host) Pause() {
	h.w.Tracef("%s is paused", h.Name)
	h.paused = true
	h.part.Pause(true)
}

// Resume ends a pause.
func (h *Host) Resume() {
	if !h.paused {
		return
	}
	h.w.Tracef("%s goes on", h.Name)
	h.paused = false
	h.part.Pause(false)
	held := h.held
	h.held = nil
	for _, f := range held {
		h.w.Clock.AfterFunc(0, f)
	}
}

// hostExec is the Exec of one life of a host. While the disk is slow, turns of loops
// that sync come late, which is how long a sync takes in the eyes of all others.
type hostExec struct {
	h    *Host
	part *env.Part
	life int
}

func (e *hostExec) Loop(name string, turn func()) env.Loop {
	l := e.part.Loop(name, func() {
		e.h.w.touched = e.h
		turn()
	})
	if strings.Contains(name, "sync") || strings.Contains(name, "disk") {
		return &slowLoop{e: e, inner: l}
	}
	return l
}

func (e *hostExec) Go(name string, f func()) {
	e.part.Go(name, func() {
		e.h.w.touched = e.h
		f()
	})
}

// slowLoop is a loop whose turns wait for the disk.
type slowLoop struct {
	e       *hostExec
	inner   env.Loop
	pending bool
	stopped bool
}

func (l *slowLoop) Wake() {
	h := l.e.h
	most := max(h.syncDelay, h.syncTime)
	if most <= 0 {
		l.inner.Wake()
		return
	}
	if l.pending || l.stopped {
		return
	}
	l.pending = true
	h.w.Clock.AfterFunc(time.Duration(h.Rand.Int64N(int64(most))), func() {
		l.pending = false
		l.inner.Wake()
	})
}

func (l *slowLoop) Stop() {
	l.stopped = true
	l.inner.Stop()
}

// restartAfter is how long whoever watches a process takes to start it again.
func (h *Host) restartAfter() time.Duration {
	return 100*time.Millisecond + time.Duration(h.Rand.Int64N(int64(5*time.Second)))
}
