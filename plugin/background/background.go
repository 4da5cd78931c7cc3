// Package background lets a process that works for a job give way to those that answer
// users. What computes with as many threads as there are cores, and waits for the
// slowest of them at every step, suffers from another of the kind far more than by half.
package background

// Niceness is what processes that give way run with: the scheduler gives one of the usual
// niceness about nine times as much of a core that both want.
const Niceness = 10
