package load

import (
	"errors"
	"runtime"
	"slices"
	"time"
)

// A Repeated is something that is done once a second until it is stopped.
type Repeated struct {
	end, ended chan struct{}
	err        error
}

// EverySecond calls do at once and then every second, or when it has returned if that
// takes longer, until an error.
func EverySecond(do func() error) *Repeated {
	r := &Repeated{end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for r.err == nil {
			r.err = do()
			select {
			case <-ticker.C:
			case <-r.end:
				return
			}
		}
	}()
	return r
}

// Stop waits for the last call and returns the error, if there was one.
func (r *Repeated) Stop() error {
	close(r.end)
	<-r.ended
	return r.err
}

// A Comparison is a load with something beside it, and without, in requests per second.
type Comparison struct {
	With, Without, Ratio float64 // medians; Ratio is that of the rounds' ratios
	Stolen               float64 // share of the machine's time that its host gave to others
}

// Beside loads a server with Classic over 256 connections, in some rounds alone and while
// beside is done every second, in turn.
func Beside(address string, rounds int, length time.Duration, beside func() error) (*Comparison, error) {
	var ratios, without, with []float64
	before, begun := Stolen(), time.Now()
	for round := range rounds {
		var alone, accompanied *Result
		measures := []func() error{
			func() (err error) { alone, err = Run(address, Classic, 256, 2*round, length); return err },
			func() (err error) {
				r := EverySecond(beside)
				accompanied, err = Run(address, Classic, 256, 2*round+1, length)
				return errors.Join(err, r.Stop())
			},
		}
		if round%2 == 1 { // the ledger grows, which is nobody's fault
			slices.Reverse(measures)
		}
		for _, measure := range measures {
			if err := measure(); err != nil {
				return nil, err
			}
		}
		ratios = append(ratios, accompanied.Rate()/alone.Rate())
		without, with = append(without, alone.Rate()), append(with, accompanied.Rate())
	}
	stolen := (Stolen() - before) / time.Since(begun).Seconds() / float64(runtime.NumCPU())
	return &Comparison{Median(with), Median(without), Median(ratios), stolen}, nil
}
