package env

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestStepperTurnAfterEveryWake(t *testing.T) {
	s := NewStepper(NewRand(1))
	turns := 0
	var l Loop
	l = s.Loop("a", func() {
		if turns++; turns == 1 {
			l.Wake() // during a turn: asks for one more
			l.Wake()
		}
	})
	if s.Step() {
		t.Fatal("a turn without a wake")
	}
	l.Wake()
	l.Wake()
	if !s.Run(10) || turns != 2 {
		t.Fatalf("%d turns, want 2", turns)
	}
	l.Wake()
	l.Stop()
	l.Wake()
	done := 0
	s.Go("once", func() { done++ })
	if !s.Run(10) || turns != 2 || done != 1 {
		t.Fatalf("%d turns after Stop, %d done", turns, done)
	}
	l = s.Loop("b", func() { l.Wake() })
	l.Wake()
	if s.Run(100) {
		t.Fatal("a loop that never rests came to an end")
	}
}

// TestStepperOrderIsOfTheSeed: every order is possible, and a seed repeats its own.
func TestStepperOrderIsOfTheSeed(t *testing.T) {
	order := func(seed uint64) string {
		var ran []string
		s := NewStepper(NewRand(seed))
		s.Ran = func(name string) { ran = append(ran, name) }
		for i := range 3 {
			s.Part("p").Go(fmt.Sprint(i), func() {})
		}
		s.Run(3)
		return strings.Join(ran, " ")
	}
	seen := map[string]bool{}
	for seed := range uint64(100) {
		o := order(seed)
		if o != order(seed) {
			t.Fatalf("seed %d: two orders", seed)
		}
		seen[o] = true
	}
	if len(seen) != 6 || !seen["p/2 p/0 p/1"] {
		t.Fatalf("orders %v, want all six", seen)
	}
}

func TestStepperParts(t *testing.T) {
	var ran []string
	s := NewStepper(NewRand(1))
	a, b := s.Part("a"), s.Part("b")
	la := a.Loop("x", func() { ran = append(ran, "a") })
	lb := b.Loop("x", func() { ran = append(ran, "b") })
	a.Pause(true)
	la.Wake()
	lb.Wake()
	if !s.Step() || s.Step() || !slices.Equal(ran, []string{"b"}) {
		t.Fatalf("a is held, ran %v", ran)
	}
	a.Pause(false)
	if !s.Step() || !slices.Equal(ran, []string{"b", "a"}) {
		t.Fatalf("ran %v", ran)
	}
	la.Wake()
	a.Drop()
	la.Wake()
	a.Go("y", func() { t.Error("of a dropped part") })
	lb.Wake()
	if !s.Step() || s.Step() || len(ran) != 3 || ran[2] != "b" {
		t.Fatalf("a is dropped, ran %v", ran)
	}
}
