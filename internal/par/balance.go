package par

// Balance returns the work of the busiest worker and the mean of all, if Run
// spreads the tasks over so many workers: each takes the next task as soon as
// it has done the cost of the one before.
func Balance(workers, tasks int, cost func(task int) float64) (most, mean float64) {
	workers = max(workers, 1)
	done := make([]float64, workers)
	for t := range tasks {
		least := 0
		for w, d := range done {
			if d < done[least] {
				least = w
			}
		}
		c := cost(t)
		done[least] += c
		mean += c / float64(workers)
		most = max(most, done[least])
	}
	return most, mean
}
