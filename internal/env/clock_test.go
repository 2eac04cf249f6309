package env

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestVirtualClockOrder(t *testing.T) {
	start := time.Unix(1000, 0)
	c := NewClock(start)
	var got []string
	say := func(s string) func() {
		return func() { got = append(got, fmt.Sprintf("%s@%v", s, c.Now().Sub(start))) }
	}
	c.AfterFunc(3*time.Second, say("three"))
	c.AfterFunc(time.Second, func() {
		say("one")()
		c.AfterFunc(time.Second, say("one+one")) // set on the way, due within the same Advance
		c.AfterFunc(0, say("one+zero"))
	})
	c.AfterFunc(time.Second, say("one again"))
	stopped := c.AfterFunc(2*time.Second, say("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop does not tell whether it stopped")
	}
	reset := c.AfterFunc(time.Hour, say("reset"))
	if !reset.Reset(2 * time.Second) {
		t.Error("Reset of a set timer is false")
	}
	c.Advance(2500 * time.Millisecond)
	want := "one@1s one again@1s one+zero@1s reset@2s one+one@2s"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s", s)
	}
	if !c.Now().Equal(start.Add(2500 * time.Millisecond)) {
		t.Errorf("now %v", c.Now())
	}
	if reset.Reset(time.Second) {
		t.Error("Reset of a fired timer is true")
	}
	got = nil
	if next, ok := c.Next(); !ok || !next.Equal(start.Add(3*time.Second)) {
		t.Errorf("next %v %v", next, ok)
	}
	for c.Step() {
	}
	if s := strings.Join(got, " "); s != "three@3s reset@3.5s" {
		t.Errorf("got %s", s)
	}
	if _, ok := c.Next(); ok {
		t.Error("a timer is left")
	}
	c.Advance(-time.Hour)
	if !c.Now().Equal(start.Add(3500 * time.Millisecond)) {
		t.Error("the clock went back")
	}
}

func TestSeededRandomness(t *testing.T) {
	a, b := NewRand(7), NewRand(7)
	for range 10 {
		if a.Uint64() != b.Uint64() {
			t.Fatal("one seed, two histories")
		}
	}
	u := UUID(a)
	if u[6]>>4 != 4 || u[8]>>6 != 2 {
		t.Errorf("%x is no version 4 UUID", u)
	}
	if UUID(b) != u || UUID(b) == u {
		t.Error("UUIDs do not follow the source")
	}
	if SecureRand().Uint64() == SecureRand().Uint64() {
		t.Error("two secure sources agree")
	}
}

func TestBootIDIsStable(t *testing.T) {
	a, err := BootID()
	must(t, err)
	b, err := BootID()
	must(t, err)
	if a == "" || a != b {
		t.Errorf("%q, then %q", a, b)
	}
}
