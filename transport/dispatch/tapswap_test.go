package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// newSwapWorld has two rules about messages, of which "behind" owes b and c: its request takes until a second after the
// beginning and is then refused. The other is told d at 600 ms.
func newSwapWorld(t *testing.T) *tapWorld {
	w := newTapWorld(t, tapRule("well", SourceChannelMessage), tapRule("behind", SourceChannelMessage))
	w.publish("room", "a")
	rest(time.Second)
	w.mu.Lock()
	w.refuse["/behind"] = 1 << 30
	w.slow["/behind"], w.slow["/well"] = time.Second, 150*time.Millisecond
	w.mu.Unlock()
	w.publish("room", "b")
	w.publish("room", "c")
	rest(450 * time.Millisecond)
	w.publish("room", "d")
	rest(50 * time.Millisecond)
	return w
}

// edit gives the rule "behind" another target, while its request goes on. It returns at 700 ms, when the other rule has been
// told of d and nobody yet serves the new target; what is returned waits until somebody does.
func (w *tapWorld) edit() (wait func()) {
	edited := tapRule("behind", SourceChannelMessage)
	edited.URL = "http://backend/edited"
	done := make(chan error, 1)
	go func() { done <- w.taps.Set([]Rule{tapRule("well", SourceChannelMessage), edited}) }()
	rest(200 * time.Millisecond)
	if got := fmt.Sprint(w.texts("/well")); got != "[a b c d]" || len(done) > 0 {
		w.t.Errorf("the other rule was told %s, rules changed: %v", got, len(done) > 0)
	}
	return func() {
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

// TestEditedRuleKeepsWhatItOwes has another rule get on, and a message come, while the request of the old rule ends.
func TestEditedRuleKeepsWhatItOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwapWorld(t)
		defer w.taps.Close()
		wait := w.edit()
		if w.told["room"] != "01726585978590-001" {
			t.Errorf("told up to %v though one rule was not", w.told)
		}
		w.publish("room", "e")
		wait()
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/edited")); got != "[b c d e]" {
			t.Errorf("told %v", got)
		}
		if w.told["room"] != "01726585978590-005" {
			t.Errorf("told up to %v", w.told)
		}
	})
}

// TestTenureEndsWhileARuleChanges leaves the rest to the next owner.
func TestTenureEndsWhileARuleChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwapWorld(t)
		defer w.taps.Close()
		wait := w.edit()
		w.taps.Over(0, 1)
		wait()
		rest(time.Hour)
		if got := fmt.Sprint(w.texts("/edited")); got != "[]" {
			t.Errorf("told %v after the end", got)
		}
		w.mu.Lock()
		w.epoch = 2
		w.mu.Unlock()
		w.publish("room", "e")
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/edited")); got != "[b c d e]" {
			t.Errorf("told %v", got)
		}
	})
}

// TestEditedRuleIsNotToldAgain edits the rule that owes nothing while the other one's target is down.
func TestEditedRuleIsNotToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwapWorld(t)
		defer w.taps.Close()
		rest(time.Second)
		edited := tapRule("well", SourceChannelMessage)
		edited.URL = "http://backend/edited"
		if err := w.taps.Set([]Rule{edited, tapRule("behind", SourceChannelMessage)}); err != nil {
			t.Fatal(err)
		}
		w.publish("room", "e")
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/edited")); got != "[e]" {
			t.Errorf("told %v", got)
		}
	})
}
