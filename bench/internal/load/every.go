package load

import "time"

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
