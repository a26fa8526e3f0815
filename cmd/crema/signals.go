package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"crema/solver"
)

// parseEffect reads the value of -sigint_effect or -sighup_effect.
func parseEffect(name, v string) (solver.Action, error) {
	switch v {
	case "stop":
		return solver.ActionStop, nil
	case "snapshot":
		return solver.ActionSnapshot, nil
	case "none":
		return solver.ActionNone, nil
	}
	return 0, usageError{fmt.Errorf("-%s=%s: must be stop, snapshot or none", name, v)}
}

// doubleDelivery is how close to the first a second SIGINT counts as the same
// one: a terminal sends it to the whole process group, and a parent in that
// group may pass its own on.
const doubleDelivery = 500 * time.Millisecond

// signals turns SIGINT and SIGHUP into actions for the solver, which polls them
// (Caffe's util/signal_handler.cpp): a signal is remembered until the next
// poll, two of a kind count once, SIGHUP is answered before SIGINT.
//
// Beyond Caffe, SIGTERM, which batch systems and service managers send, is as
// SIGINT. When these mean to stop, another one while the first still waits (an
// iteration may take minutes) calls abort, which ends the program at once
// without a snapshot.
type signals struct {
	sigint, sighup solver.Action
	noted          func(name string, a solver.Action)
	abort          func(name string)
	now            func() time.Time

	ch   chan os.Signal
	done chan struct{}

	stopping time.Time // when the signal that stops came; zero before; of receive

	mu     sync.Mutex
	gotInt bool
	gotHup bool
}

// watchSignals starts to catch SIGINT, SIGTERM and SIGHUP. noted is told of each one, on
// another goroutine. Close gives them back.
func watchSignals(sigint, sighup solver.Action, noted func(string, solver.Action), abort func(name string)) *signals {
	s := &signals{sigint: sigint, sighup: sighup, noted: noted, abort: abort, now: time.Now,
		ch: make(chan os.Signal, 8), done: make(chan struct{})}
	signal.Notify(s.ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		defer close(s.done)
		for sig := range s.ch {
			s.receive(sig)
		}
	}()
	return s
}

// receive notes a signal before poll can answer it: what the log says of the
// signal comes before what it causes.
func (s *signals) receive(sig os.Signal) {
	if sig == syscall.SIGHUP {
		s.noted("SIGHUP", s.sighup)
		s.mu.Lock()
		s.gotHup = true
		s.mu.Unlock()
		return
	}
	name := "SIGINT"
	if sig == syscall.SIGTERM {
		name = "SIGTERM"
	}
	if s.sigint == solver.ActionStop {
		now := s.now()
		again := !s.stopping.IsZero()
		if again && now.Sub(s.stopping) < doubleDelivery {
			return
		}
		s.stopping = now
		if again {
			s.abort(name)
			return
		}
	}
	s.noted(name, s.sigint)
	s.mu.Lock()
	s.gotInt = true
	s.mu.Unlock()
}

// poll returns what the signals since the last call ask for.
func (s *signals) poll() solver.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gotHup:
		s.gotHup = false
		return s.sighup
	case s.gotInt:
		s.gotInt = false
		return s.sigint
	}
	return solver.ActionNone
}

// Close stops catching signals.
func (s *signals) Close() {
	signal.Stop(s.ch)
	close(s.ch)
	<-s.done
}
