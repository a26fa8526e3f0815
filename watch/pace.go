package watch

import "time"

// A pace decides when a task that costs time may be done again, so that it
// takes no more than a share of all time and files do not grow without measure:
// runs of seconds have much to see, runs of weeks leave some ten megabytes a
// day.
type pace struct {
	share float64 // of the time that the task may take
	// The least time between two times is this part of the run's age, but not
	// less than low nor, if that is not 0, more than high.
	part      float64
	low, high time.Duration

	last  time.Time     // when it was done
	cost  time.Duration // of one time, smoothed
	spent time.Duration // on the present time
}

// due reports whether the task may be done at time now in a run of that age.
func (p *pace) due(now time.Time, age time.Duration) bool {
	least := max(p.low, time.Duration(p.part*float64(age)))
	if p.high > 0 {
		least = min(least, p.high)
	}
	wait := max(least, time.Duration(float64(p.estimate())/p.share))
	return p.last.IsZero() || now.Sub(p.last) >= wait
}

// estimate returns what the task costs. One time that took very long, maybe
// because another program had the processor, does not count fully.
func (p *pace) estimate() time.Duration {
	if p.cost == 0 {
		return p.spent
	}
	return p.cost + min(p.spent-p.cost, 4*p.cost)/4
}

// begin says that the task is begun at time now, for which add says in parts
// what it costs.
func (p *pace) begin(now time.Time) {
	p.cost = p.estimate()
	p.spent = 0
	p.last = now
}

func (p *pace) add(d time.Duration) { p.spent += d }

// time does the task.
func (p *pace) time(task func()) {
	now := time.Now()
	p.begin(now)
	task()
	p.add(time.Since(now))
}

// paces are those of a Recorder's tasks. Together they take less than one
// percent of the time.
type paces struct {
	sample     pace // of the layers
	histograms pace // for the event file
	scalars    pace // of an iteration, for the event file
	pictures   pace // for readers
	recorded   pace // pictures for the event file
}

func newPaces() paces {
	return paces{
		sample:     pace{share: 0.004, part: 1. / 500, high: 20 * time.Second},
		histograms: pace{share: 0.001, part: 1. / 100, low: 2 * time.Second, high: 5 * time.Minute},
		scalars:    pace{share: 0.0005, part: 1. / 2000, low: 20 * time.Millisecond, high: 10 * time.Second},
		pictures:   pace{share: 0.001, low: 2 * time.Second},
		recorded:   pace{share: 0.0005, part: 1. / 50, low: 20 * time.Second, high: 10 * time.Minute},
	}
}
