package cluster

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// change is a request about one object of the metadata. An object is a topic that is
// created and deleted, whose state is the mark of the creation that made it, 0 while there
// is none; or the setting of a topic that stays, or how many partitions one has.
type change struct {
	op     string // create, delete, look (a creation that is only validated); set, grow, read
	object string
	to     int64 // the mark of a creation; the value that is set; how many partitions are wished for
	via    int   // the broker that was asked; 0: the controller itself
}

// answer is what came of a change, and the state as far as it tells one.
type answer struct {
	what outcome
	saw  int64 // of a deletion, a read, and a refusal to grow
}

type outcome string

const (
	done    outcome = "done"
	refused outcome = "refused" // since the state is another: TOPIC_ALREADY_EXISTS and the like
	// open: no answer, or one that says nothing. The change may have taken effect at
	// any time since, may yet, or never will.
	open outcome = "open"
)

// step is the model of an object: the states after a change that came to an answer, none
// where it cannot have. A refusal is a statement about the state.
func step(state, input, output any) []any {
	s, c, a := state.(int64), input.(change), output.(answer)
	var can bool    // it takes effect
	var after int64 // with this state
	var told bool   // and the answer tells the truth about the state before
	switch c.op {
	case "create":
		// A creation that is asked again finds what it has made itself, and says so.
		can, after, told = s == 0, c.to, s != c.to
	case "look":
		can, after, told = s == 0, s, true
	case "delete":
		can, after, told = s != 0, 0, a.what == refused || a.saw == s
	case "set":
		can, after, told = true, c.to, true
	case "grow":
		can, after, told = s < c.to, c.to, a.what == done || a.saw == s
	case "read":
		can, after, told = true, s, a.saw == s
	}
	switch {
	case a.what == open && can:
		return []any{s, after}
	case a.what == open, a.what == refused && !can && told:
		return []any{s}
	case a.what == done && can && told:
		return []any{after}
	}
	return nil
}

// linearizable judges a history of objects whose first states are given; an object that is
// not there begins with 0.
func linearizable(h []porcupine.Operation, first map[string]int64, limit time.Duration) (bad string, verdict porcupine.CheckResult) {
	by := map[string][]porcupine.Operation{}
	var names []string
	for _, o := range h {
		name := o.Input.(change).object
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], o)
	}
	for _, name := range names {
		m := porcupine.NondeterministicModel{Init: func() []any { return []any{first[name]} }, Step: step}
		if v := porcupine.CheckOperationsTimeout(m.ToModel(), by[name], limit); v != porcupine.Ok {
			return name, v
		}
	}
	return "", porcupine.Ok
}

// span is a stretch of time in which one broker, or any (0), may have asked more than one
// controller.
type span struct {
	from, to int64
	broker   int
}

const (
	// patience is how long a broker asks one controller after the other (controllerPatience of
	// internal/node).
	patience = int64(15 * time.Second)
	// settling is how long what was asked may take to be carried out or given up while no
	// controller fails (controllerTimeout of internal/node, within which a decision is committed;
	// a connection that does not take the request is given up sooner, transport.DefaultStall).
	settling = int64(15 * time.Second)
)

// withRepeats adds what a broker may have done beyond the answer that it gave: while
// controllers change, it asks the next one when one does not answer, as with Kafka (KIP-590), and
// the first may have carried the change out, or may do so still. That is one operation of its
// own, whose answer was lost. What is asked of a controller itself is asked once.
//
// A change without an answer takes effect until it is settled, or never: that is settling
// after the broker has last asked for it, and after the trouble that it met. What a controller
// proposed and could not commit is decided with the first entry of the next one, which either
// has it or overwrites it; and trouble lasts until one leads whom all follow.
func withRepeats(h []porcupine.Operation, troubled []span) []porcupine.Operation {
	all := slices.Clone(h)
	for i, o := range h {
		c, a := o.Input.(change), o.Output.(answer)
		asked := min(o.Return, o.Call+patience) // the last time
		end, again := asked, false
		for _, t := range troubled {
			if o.Call <= t.to && asked >= t.from {
				end = max(end, t.to)
				again = again || t.broker == 0 || t.broker == c.via
			}
		}
		end += settling
		if a.what == open {
			all[i].Return = end
		}
		switch {
		case !again, c.via == 0, c.op == "look", c.op == "read", c.op == "grow" && a.what == done:
			continue // asked again, it changes nothing
		}
		o.Output, o.Return = answer{what: open}, end
		all = append(all, o)
	}
	return all
}

// TestModel: what the judge takes for legal, and what not.
func TestModel(t *testing.T) {
	at := func(call, ret int64, op string, to int64, what outcome, saw int64) porcupine.Operation {
		if what == open {
			ret = math.MaxInt64
		}
		return porcupine.Operation{Input: change{op: op, object: "x", to: to}, Output: answer{what, saw}, Call: call, Return: ret}
	}
	for _, c := range []struct {
		name  string
		legal bool
		h     []porcupine.Operation
	}{
		{"a topic comes and goes", true, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 4, "create", 8, refused, 0), at(5, 6, "delete", 0, done, 7), at(7, 8, "delete", 0, refused, 0)}},
		{"a creation is lost", false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 4, "look", 0, done, 0)}},
		{"a refusal of nothing", false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 4, "delete", 0, done, 7), at(5, 6, "create", 8, refused, 0)}},
		{"a deletion finds nothing of what is there", false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 4, "delete", 0, refused, 0)}},
		{"a creation is refused for its own topic", false, []porcupine.Operation{at(1, 2, "create", 7, open, 0), at(3, 4, "create", 7, refused, 0)}},
		{"another's topic is deleted", false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 4, "delete", 0, done, 8)}},
		{"a topic is deleted twice", false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, done, 7), at(4, 7, "delete", 0, done, 7)}},
		{"a lost answer explains a refusal", true, []porcupine.Operation{at(1, 0, "create", 7, open, 0), at(3, 4, "create", 8, refused, 0)}},
		{"even much later", true, []porcupine.Operation{at(1, 0, "create", 7, open, 0), at(3, 4, "look", 0, done, 0), at(5, 6, "look", 0, refused, 0), at(7, 8, "delete", 0, done, 7)}},
		{"but once", false, []porcupine.Operation{at(1, 0, "create", 7, open, 0), at(3, 4, "delete", 0, done, 7), at(5, 6, "look", 0, refused, 0)}},
		{"and not before it was asked", false, []porcupine.Operation{at(1, 2, "look", 0, refused, 0), at(3, 0, "create", 7, open, 0)}},
		{"a value that was not yet set", false, []porcupine.Operation{at(1, 2, "read", 0, done, 5), at(3, 4, "set", 5, done, 0)}},
		{"an old value", false, []porcupine.Operation{at(1, 2, "set", 5, done, 0), at(3, 4, "set", 6, done, 0), at(5, 6, "read", 0, done, 5)}},
		{"two who read what is being set agree on its order", false, []porcupine.Operation{at(1, 9, "set", 5, done, 0), at(2, 3, "read", 0, done, 5), at(4, 5, "read", 0, done, 0)}},
		{"a lost answer sets once", false, []porcupine.Operation{at(1, 0, "set", 5, open, 0), at(2, 3, "read", 0, done, 5), at(4, 5, "set", 6, done, 0), at(6, 7, "read", 0, done, 6), at(8, 9, "read", 0, done, 5)}},
		{"partitions are added", true, []porcupine.Operation{at(1, 2, "grow", 3, done, 0), at(3, 4, "grow", 2, refused, 3), at(5, 6, "read", 0, done, 3)}},
		{"partitions are lost", false, []porcupine.Operation{at(1, 2, "grow", 3, done, 0), at(3, 4, "read", 0, done, 2)}},
		{"partitions are added twice", false, []porcupine.Operation{at(1, 2, "grow", 3, done, 0), at(3, 4, "grow", 3, done, 0)}},
		{"growth is refused with another number", false, []porcupine.Operation{at(1, 2, "grow", 3, done, 0), at(3, 4, "grow", 3, refused, 4)}},
		{"growth is refused without reason", false, []porcupine.Operation{at(1, 2, "grow", 3, done, 0), at(3, 4, "grow", 4, refused, 3)}},
	} {
		if _, v := linearizable(c.h, nil, time.Minute); (v == porcupine.Ok) != c.legal {
			t.Errorf("%s: %v", c.name, v)
		}
	}
	// A broker asks a deletion again and is told that the topic is gone.
	for _, c := range []struct {
		via      int
		troubled []span
		legal    bool
	}{
		{1, []span{{4, 5, 0}}, true}, {1, []span{{4, 5, 1}}, true}, {1, []span{{1, 3, 0}}, true},
		{1, nil, false}, {1, []span{{7, 9, 0}}, false}, {1, []span{{4, 5, 2}}, false}, {0, []span{{4, 5, 0}}, false},
	} {
		h := []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, refused, 0), at(7, 8, "create", 8, done, 0)}
		h[1].Input = change{op: "delete", object: "x", via: c.via}
		if _, v := linearizable(withRepeats(h, c.troubled), nil, time.Minute); (v == porcupine.Ok) != c.legal {
			t.Errorf("asked of broker %d, trouble %v: %v", c.via, c.troubled, v)
		}
	}
	// What has no answer, and what is asked again, explains nothing once it is settled, and one thing.
	const late = 6 + patience + settling + 1 // the broker has an answer at 6
	for _, c := range []struct {
		name     string
		troubled []span
		legal    bool
		h        []porcupine.Operation
	}{
		{"a deletion is asked again", []span{{4, 5, 0}}, true, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, done, 7),
			at(7, 8, "create", 8, done, 0), at(9, 10, "look", 0, done, 0)}},
		{"once", []span{{4, 5, 0}, {5, 6, 1}}, false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, done, 7),
			at(7, 8, "create", 8, done, 0), at(9, 10, "create", 9, done, 0), at(11, 12, "look", 0, done, 0)}},
		{"while the trouble lasts", []span{{4, late, 0}}, true, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, done, 7),
			at(late, late+1, "create", 8, done, 0), at(late+2, late+3, "look", 0, done, 0)}},
		{"a later loss is one", []span{{4, 5, 0}}, false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 6, "delete", 0, done, 7),
			at(late, late+1, "create", 8, done, 0), at(late+2, late+3, "look", 0, done, 0)}},
		{"a value that was set again", []span{{4, 5, 0}}, true, []porcupine.Operation{at(3, 6, "set", 5, done, 0), at(7, 8, "set", 6, done, 0), at(9, 10, "read", 0, done, 5)}},
		{"a value that is lost later", []span{{4, 5, 0}}, false, []porcupine.Operation{at(3, 6, "set", 5, done, 0), at(late, late+1, "set", 6, done, 0),
			at(late+2, late+3, "read", 0, done, 5)}},
		{"a deletion without an answer", nil, true, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 0, "delete", 0, open, 0),
			at(7, 8, "look", 0, refused, 0), at(9, 10, "look", 0, done, 0)}},
		{"and a loss later than it", []span{{4, 5, 0}}, false, []porcupine.Operation{at(1, 2, "create", 7, done, 0), at(3, 0, "delete", 0, open, 0),
			at(late, late+1, "look", 0, refused, 0), at(late+2, late+3, "look", 0, done, 0)}},
	} {
		for i := range c.h {
			in := c.h[i].Input.(change)
			in.via = 1
			c.h[i].Input = in
		}
		if _, v := linearizable(withRepeats(c.h, c.troubled), nil, time.Minute); (v == porcupine.Ok) != c.legal {
			t.Errorf("%s: %v", c.name, v)
		}
	}
}

func (c change) String() string {
	return fmt.Sprintf("%s %s %d by way of %d", c.op, c.object, c.to, c.via)
}
