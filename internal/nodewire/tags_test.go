package nodewire

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSoftware: what is no version is not taken for one; it is shown on terminals.
func TestSoftware(t *testing.T) {
	for text, want := range map[string]string{"": "", "1.2.3": "1.2.3", strings.Repeat("v", 65): "", "\xff": ""} {
		resp := kmsg.NewPtrApiVersionsResponse()
		SetSoftware(resp, text)
		if got := Software(resp); got != want {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

// TestCreation: it survives the wire where there are tagged fields, and has a bound.
func TestCreation(t *testing.T) {
	for text, want := range map[string]string{"": "", "abc": "abc", strings.Repeat("v", 33): ""} {
		for version := int16(2); version <= 7; version++ {
			req := kmsg.NewPtrCreateTopicsRequest()
			SetCreation(req, []byte(text))
			req.Version = version
			got := kmsg.NewPtrCreateTopicsRequest()
			got.Version = version
			if err := got.ReadFrom(req.AppendTo(nil)); err != nil {
				t.Fatal(err)
			}
			if has := string(Creation(got)); has != want && version >= 5 || has != "" && version < 5 {
				t.Errorf("version %d: %q is read as %q", version, text, has)
			}
		}
	}
}

// TestIncarnation: it survives the wire, and what is no epoch is not taken for one.
func TestIncarnation(t *testing.T) {
	sent := kmsg.NewPtrUnregisterBrokerRequest()
	if epoch := Incarnation(sent); epoch != nil {
		t.Fatalf("nothing is read as %d", *epoch)
	}
	SetIncarnation(sent, 1<<40+3)
	got := kmsg.NewPtrUnregisterBrokerRequest()
	if err := got.ReadFrom(sent.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	if epoch := Incarnation(got); epoch == nil || *epoch != 1<<40+3 {
		t.Fatalf("read as %v", epoch)
	}
	got.UnknownTags.Set(incarnationTag, []byte("short"))
	if epoch := Incarnation(got); epoch != nil {
		t.Fatalf("five bytes are read as %d", *epoch)
	}
}
